#!/usr/bin/env bash
# Builds the image and runs it, and then the unit below a real systemd, each against a real Kafka and as they are meant to be run.
# Needs root, and a quarter of an hour. The images that the Dockerfile begins with are not pulled: stand-ins of the same names are
# made of Debian's archive and this machine's Rust. All of it lives in target/try, and is gone at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/target/try
kafka=29092
http=29464
broker=

say() { printf '\n== %s\n' "$*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
is() { [ "$2" = "$3" ] || fail "$1 is '$2' and not '$3'"; }
# wait_for SECONDS COMMAND...
wait_for() {
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || fail "waited in vain for: $*"
    sleep 0.5
  done
}
get() { curl --fail --silent --max-time 5 "http://127.0.0.1:$http/$1"; }
metric() { get metrics | awk -v name="$1" '$1 == name { print $2 }'; }
has() { [ "$(metric "$1")" = "$2" ]; }

clean() {
  [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
  # Without its own configuration podman would take the machine's containers for ours.
  if [ -f "$CONTAINERS_STORAGE_CONF" ]; then
    podman rm --all --force --time 0 >/dev/null 2>&1 || true
    buildah rm --all >/dev/null 2>&1 || true
    umount "$work/storage/overlay" 2>/dev/null || true
  fi
  rm -rf "$work"
}

say what this needs
[ "$(id -u)" = 0 ] || fail "only root may do this"
missing=()
for package in buildah curl debootstrap kcat podman runc; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
export BUILDAH_ISOLATION=chroot CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
clean
trap clean EXIT
mkdir -p "$work"
# For machines without a systemd of their own, too, and those that may not raise a limit.
cat >"$CONTAINERS_CONF" <<'CONF'
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
pids_limit = 0
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
cat >"$CONTAINERS_STORAGE_CONF" <<CONF
[storage]
driver = "overlay"
graphroot = "$work/storage"
runroot = "$work/run"
CONF

say stand-ins for the images that the Dockerfile begins with
root=$work/root
debootstrap --variant=minbase bookworm "$root" >"$work/debootstrap.log" || { tail "$work/debootstrap.log"; exit 1; }
# As the stock image has it: security updates, and no caches of apt.
sed -n 's|^deb \(.*\)/debian bookworm main|deb \1/debian-security bookworm-security main|p' "$root/etc/apt/sources.list" \
  >"$root/etc/apt/sources.list.d/security.list"
printf 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n' >"$root/etc/apt/apt.conf.d/docker-clean"
rm -f "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/apt/*.bin
container=$(buildah from scratch)
buildah add --quiet "$container" "$root" / >/dev/null
buildah commit --quiet --rm "$container" docker.io/library/debian:bookworm-slim >/dev/null
rm -rf "$root"
container=$(buildah from --pull-never debian:bookworm-slim)
buildah run "$container" -- sh -c 'apt-get -qq update && apt-get -qq install -y --no-install-recommends gcc libc6-dev' >/dev/null
root=$(buildah mount "$container")
mkdir "$root/usr/local/rust"
tar -C "$(rustc --print sysroot)" --exclude ./share -c . | tar -C "$root/usr/local/rust" -x
# The machine's own: it may see the registry through something that has one more.
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
buildah config --env "PATH=/usr/local/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin" --env CARGO_HOME=/usr/local/cargo "$container"
buildah commit --quiet --rm "$container" "docker.io/library/$(sed -n 's/^FROM \(rust:[^ ]*\).*/\1/p' deploy/Dockerfile)" >/dev/null

say build the image
build() { buildah bud --pull-never --format docker "$@" >"$work/build.log" 2>&1 || { tail -n 50 "$work/build.log"; exit 1; }; }
build --tag localhost/offkey --file deploy/Dockerfile .
size() { podman image inspect --format '{{.Size}}' "$1"; }
more=$((($(size localhost/offkey) - $(size docker.io/library/debian:bookworm-slim)) >> 20))
echo "$more MiB more than its base"
[ $more -lt 50 ] || fail "what else is in the image?"

say a Kafka
OFFKEY_TEST_BROKER_PROPERTIES=auto.create.topics.enable=true \
  tests/kafka/start.sh "$work/kafka" $kafka >"$work/kafka.log" 2>&1 &
broker=$!
wait_for 120 kcat -b 127.0.0.1:$kafka -L
# Of four machines two go off key in the last fifty rows.
awk 'BEGIN {
  srand(1)
  for (t = 0; t < 1300; t++) for (machine = 0; machine < 4; machine++) {
    shape = sin(t / 20 + machine); fault = t >= 1250 && machine % 2 == 0 ? 6 : 0
    printf "pump-%d|{\"ts\":%.0f,\"values\":{\"temp\":%.4f,\"flow\":%.4f,\"speed\":%.4f}}\n", machine,
      1760000000000 + t * 1000, shape + 0.2 * rand() + fault, 2 * shape + 0.2 * rand(), 5 + rand() + fault
  }
}' | kcat -b 127.0.0.1:$kafka -t telemetry -P -K '|'
committed() { kcat -b 127.0.0.1:$kafka -t "$1" -C -e -q -X isolation.level=read_committed; }

say the image, as compose.yaml runs it
run=(podman run --network host --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges
  --env "OFFKEY__KAFKA__BROKERS=127.0.0.1:$kafka" --env OFFKEY__KAFKA__INSTANCE=offkey-1
  --env "OFFKEY__HTTP__LISTEN=127.0.0.1:$http" --env OFFKEY__OUTPUT__SCORES=offkey-scores)
"${run[@]}" --rm localhost/offkey version
"${run[@]}" --rm localhost/offkey check --connect
"${run[@]}" --rm localhost/offkey demo --for 20s --listen 127.0.0.1:$http
"${run[@]}" --detach --name image localhost/offkey >/dev/null
wait_for 60 get healthz
wait_for 120 get readyz
wait_for 60 has offkey_rows_total 5200
podman stop --time 30 image >/dev/null
is "its exit code" "$(podman inspect --format '{{.State.ExitCode}}' image)" 0
is "the number of scores" "$(committed offkey-scores | wc -l)" 5200
committed offkey-alerts | grep -c '"transition":"opened"' || fail "no alert"

say the unit, below systemd
mkdir "$work/unit"
cp deploy/offkey.service "$work/unit"
cat >"$work/unit/Dockerfile" <<UNIT
FROM localhost/offkey
USER root
RUN userdel offkey \\
 && apt-get -qq update \\
 && apt-get -qq install -y --no-install-recommends systemd systemd-sysv dbus
COPY offkey.service /etc/systemd/system/
RUN printf '[kafka]\nbrokers = ["localhost:$kafka"]\n[http]\nlisten = "127.0.0.1:$http"\n' >/etc/offkey/offkey.toml \\
 && sed 's/offkey run/offkey check/' /etc/systemd/system/offkey.service >/etc/systemd/system/check.service
ENTRYPOINT ["/sbin/init"]
CMD []
UNIT
build --tag localhost/unit "$work/unit"
podman run --detach --name unit --systemd always --network host --cap-add SYS_ADMIN --security-opt seccomp=unconfined localhost/unit >/dev/null
inside() { podman exec unit "$@"; }
show() { inside systemctl show --property "$1" --value offkey; }
wait_for 60 inside systemctl is-system-running
inside systemctl start offkey check
wait_for 120 get readyz
[ "$(show UID)" -ge 61184 ] || fail "user $(show UID) is no dynamic one"
wait_for 30 inside sh -c "journalctl -u check -o cat | grep 'group .* as $(inside hostname),'"
inside systemctl reload offkey
wait_for 30 has 'offkey_config_reloads_total{outcome="ok"}' 1
inside systemctl kill --signal KILL offkey
restarted() { [ "$(show NRestarts)" = 1 ] && get readyz; }
wait_for 60 restarted
inside systemctl stop offkey
is "the state" "$(show ActiveState), $(show Result), $(show ExecMainStatus)" "inactive, success, 0"
inside sh -c 'echo "[winow]" >>/etc/offkey/offkey.toml && systemctl start offkey'
sleep 5
is "the state with a bad config" "$(show ActiveState), $(show ExecMainStatus), $(show NRestarts)" "failed, 78, 0"

say all of it holds
