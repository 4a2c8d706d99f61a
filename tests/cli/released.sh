# released.sh - what the tests of released models share, sourced by them: HIMMEL MAKE_MODEL.   SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
set -u
himmel=$1 make_model=$2
here=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export HIMMEL_IDENTITY_DIR=$dir/identity
bad=0
fail() { echo "FAILED: $*"; bad=1; }
pictures() { # p.png and q.png, unlike each other
    ffmpeg -nostdin -v error -y -f lavfi -i testsrc=s=96x64,gblur=6 -frames:v 1 "$dir/p.png" &&
        ffmpeg -nostdin -v error -y -f lavfi -i smptebars=s=96x64 -frames:v 1 "$dir/q.png" || fail "no pictures"
}
frame() { # FILM NUMBER: a hash of one frame's pixels
    ffmpeg -nostdin -v error -i "$1" -vf "select=eq(n\\,$2)" -frames:v 1 -f rawvideo -pix_fmt yuv420p - | sha256sum
}
size_of() { ffprobe -v error -count_frames -select_streams v -show_entries stream=nb_read_frames,width,height -of csv=p=0 "$1"; }
says() { # command's words are there
    local words=$1; shift
    local out; out=$("$@" 2>&1)
    echo "$out" | grep -q -- "$words" || fail "$* does not say \"$words\" but: $out"
}
