#!/usr/bin/env bash
# Passes every test on a fresh Debian with cargo, Java and Maven; installs the rest.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

say what the tests need
missing=()
for package in g++ make libssl-dev pkg-config python3-venv prometheus kcat systemd; do
  dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
tests/kafka/fetch.sh 4.4.0
tests/kafka/fetch.sh 4.0.0

say format and lints
cargo fmt --all -- --check
cargo clippy --locked --all-targets -- -D warnings
cargo clippy --locked --all-targets --no-default-features -- -D warnings
cargo clippy --locked --all-targets --features planted-bugs -- -D warnings

say the core without the shell
cargo test --locked --no-default-features --lib

say documents
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
deploy/check.sh

# OFFKEY_LONG=1: many more kills, three nodes, long outages; with --features planted-bugs, bugs that have to be found.
say everything, on a real Kafka
cargo test --locked --features "${OFFKEY_TEST_FEATURES:-failpoints}" -- --test-threads 2
