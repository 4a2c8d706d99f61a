#!/bin/sh
# Install the Debian packages that building and testing himmel needs; say which when that is not possible.
set -eu
need="build-essential cmake ninja-build pkg-config libdnnl-dev libavcodec-dev libavformat-dev libavutil-dev
      libswscale-dev libswresample-dev libjansson-dev libssl-dev libmicrohttpd-dev libsqlite3-dev libcurl4-openssl-dev ffmpeg python3
      chromium"
missing=""
for p in $need; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q "install ok installed" || missing="$missing $p"
done
command -v npm >/dev/null 2>&1 || missing="$missing nodejs npm" # for tests; other sources' nodejs brings its own npm
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ]; then as=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as="sudo"
else
    echo "himmel needs these packages: apt-get install$missing" >&2
    exit 1
fi
echo "installing:$missing"
$as apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $as apt-get install -y -qq --no-install-recommends $missing >/dev/null
