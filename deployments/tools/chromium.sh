#!/usr/bin/env bash
# Makes sure there is a Chromium for the console's browser test: the machine's own, else Debian's package (as root, with
# apt). Without one the browser test says that it was skipped. With --print it only prints the path.
set -euo pipefail
find_one() { [ -n "${FORESHADOW_CHROMIUM:-}" ] && { echo "$FORESHADOW_CHROMIUM"; return; }; command -v chromium chromium-browser google-chrome | head -n 1; }

if [ "${1:-}" = --print ]; then find_one || true; exit 0; fi
if [ -n "$(find_one || true)" ]; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing Chromium (Debian's package) ..."
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; then exit 0; fi
fi
echo "No Chromium found and none could be installed: the browser test will be skipped." >&2
