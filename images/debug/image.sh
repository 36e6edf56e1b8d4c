#!/usr/bin/env bash
# Makes the debug image, without any image registry: the agent, and Debian's static busybox.
#
# Usage: images/debug/image.sh TAG AGENT, where AGENT is the static binary.
set -euo pipefail

tag=${1:?usage: image.sh TAG AGENT}
agent=${2:?usage: image.sh TAG AGENT}
here=$(cd "$(dirname "$0")" && pwd)

is_static() {
  command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1
}

if ! is_static; then
  if [ "$(id -u)" != 0 ]; then
    echo "image.sh: no static busybox is installed, and only root can do that: apt-get install busybox-static" >&2
    exit 1
  fi
  apt-get update -q && apt-get install -qy busybox-static
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
cp "$here/Dockerfile" "$context"
cp "$agent" "$context/kale-agent"
cp "$(command -v busybox)" "$context/busybox"
docker build --quiet --network none --tag "$tag" "$context"
