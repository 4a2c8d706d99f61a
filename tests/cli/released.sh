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
says() { # command's words are there
    local words=$1; shift
    local out; out=$("$@" 2>&1)
    echo "$out" | grep -q -- "$words" || fail "$* does not say \"$words\" but: $out"
}
