#!/usr/bin/env bash
# Builds the Kubernetes control plane of the tests from public Go modules, once, and prints the path of the binary.
#   --print   only say where it is, nothing when it was not built
# It takes some 10 minutes of CPU and 4 GB of Go's build cache the first time; the binary has about 136 MB.
set -euo pipefail
cd "$(dirname "$0")/../.."
module=integration/controlplane
version=$(sed -n 's/^require k8s.io\/kubernetes //p; s/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' $module/go.mod | head -1)
sum=$(cat $module/go.mod $module/go.sum $module/*.go | sha256sum | cut -c1-12)
binary=$PWD/.cache/controlplane-$version-$sum

if [ "${1:-}" = --print ]; then
  if [ -x "$binary" ]; then echo "$binary"; fi
  exit 0
fi
if [ ! -x "$binary" ]; then
  echo "building a Kubernetes $version control plane for the tests; this takes minutes, once" >&2
  mkdir -p .cache
  # Clients that check the version of the API server refuse one without.
  v=k8s.io/component-base/version minor=${version#v1.}
  (cd $module && go build -trimpath -ldflags "-s -w -X $v.gitVersion=$version -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*}" -o "$binary.new" .) >&2
  mv "$binary.new" "$binary"
fi
echo "$binary"
