#!/usr/bin/env bash
# Makes sure there is an nginx for the test of the mirror and the replicator's benchmark: the machine's own, else Debian's
# package (as root, with apt). Without one both say what they skipped. With --print it only prints the path.
set -euo pipefail
find_one() { command -v nginx || { [ -x /usr/sbin/nginx ] && echo /usr/sbin/nginx; }; }

if [ "${1:-}" = --print ]; then find_one || true; exit 0; fi
if find_one >/dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing nginx (Debian's package) ..."
  # A policy that forbids it keeps Debian from starting the server on port 80.
  policy=/usr/sbin/policy-rc.d; [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; trap 'rm -f "$policy"' EXIT; }
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nginx-light >/dev/null; then exit 0; fi
fi
echo "No nginx found and none could be installed: its tests will be skipped." >&2
