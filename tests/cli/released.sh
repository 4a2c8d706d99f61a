# released.sh - what the tests of released models share, sourced by them: HIMMEL MAKE_MODEL.   SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
set -u
himmel=$1 make_model=$2
here=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export HIMMEL_IDENTITY_DIR=$dir/identity XDG_CACHE_HOME=$dir/cache
bad=0
fail() { echo "FAILED: $*"; bad=1; }
pictures() { # p.png and q.png, unlike each other
    ffmpeg -nostdin -v error -y -f lavfi -i testsrc=s=96x64,gblur=6 -frames:v 1 "$dir/p.png" &&
        ffmpeg -nostdin -v error -y -f lavfi -i smptebars=s=96x64 -frames:v 1 "$dir/q.png" || fail "no pictures"
}
psnr() { # FILM FILM NUMBER: how alike their frames of that number are; the watermark alone leaves more than 31
    ffmpeg -nostdin -v info -i "$1" -i "$2" -lavfi "[0:v]select=eq(n\\,$3)[a];[1:v]select=eq(n\\,$3)[b];[a][b]psnr" -f null - 2>&1 |
        sed -n 's/.*average:\([0-9.inf]*\).*/\1/p' | sed 's/inf/99/'
}
alike() { awk -v v="$(psnr "$@")" 'BEGIN { exit !(v != "" && v > 31) }'; }
unlike() { awk -v v="$(psnr "$@")" 'BEGIN { exit !(v != "" && v < 28) }'; }
# A film that memory is too small for is refused with both figures; the estimate is 1 to 2.5 times what a run has at most.
memory_of() { # himmel's arguments
    says "MiB of memory beside the weights, 100 are available" "$himmel" "a cat" "$@" -s 256x256 --seconds 1 --max-memory 100 -o "$dir/no.mp4"
    says "does not fit" "$himmel" info "$@" --max-memory 100
    says '"film":{"width":.*"available_bytes":' "$himmel" info --json "$@"
    "$himmel" "a cat" "$@" -t 2 --steps 1 -s 256x256 --seconds 1 --json -o "$dir/mem.mp4" >"$dir/mem.json" || fail "no film to measure"
    python3 - "$dir/mem.json" <<'END' || fail "memory: the estimate is not 1 to 2.5 times what was used"
import json, sys
e = {d["event"]: d for d in map(json.loads, open(sys.argv[1]))}
ratio = e["plan"]["peak_bytes"] / 2**20 / e["done"]["peak_rss_mib"]
print("planned %.0f MiB, measured %.0f" % (e["plan"]["peak_bytes"] / 2**20, e["done"]["peak_rss_mib"]), file=sys.stderr)
sys.exit(not 1 <= ratio <= 2.5)
END
}
size_of() { ffprobe -v error -count_frames -select_streams v -show_entries stream=nb_read_frames,width,height -of csv=p=0 "$1"; }
says() { # command's words are there
    local words=$1; shift
    local out; out=$("$@" 2>&1)
    echo "$out" | grep -q -- "$words" || fail "$* does not say \"$words\" but: $out"
}
