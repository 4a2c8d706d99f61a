#!/bin/bash
# test_ltx.sh - himmel with an LTX-Video checkpoint (the fixtures' tiny one), from words to a file: HIMMEL MAKE_MODEL.
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/released.sh"
"$make_model" --tokenizer "$dir/spiece.model" || fail "no tokenizer"
main=$here/fixtures/ltx_pipe_model.safetensors t5=$here/fixtures/ltx_t5.safetensors
set -- --with "$t5" --with "$dir/spiece.model"

says "LTX-Video" "$himmel" info --model "$main" "$@"
says "text encoder is missing" "$himmel" info --model "$main"
says "text encoder is missing" "$himmel" "a cat" --model "$main" -o "$dir/no.mp4"
says "not a model that himmel knows" "$himmel" "a cat" --model "$t5" -o "$dir/no.mp4"
[ ! -e "$dir/no.mp4" ] || fail "a file of a refused job"

make() { "$himmel" "a cat on the sea" --model "$main" "$@" -t 2 -q --seed 5 --steps 3 || fail "$*"; }
make "$@" -s 104x72 --seconds 1 --fps 12 -o "$dir/a.mp4"
make "$@" -s 104x72 --seconds 1 --fps 12 -o "$dir/b.mp4"
cmp -s "$dir/a.mp4" "$dir/b.mp4" || fail "same seed, other bytes"
n=$(ffprobe -v error -count_frames -select_streams v -show_entries stream=nb_read_frames,width,height -of csv=p=0 "$dir/a.mp4" 2>/dev/null)
[ -z "$n" ] || [ "$n" = "104,72,12" ] || fail "the film is $n"
"$himmel" image "a cat" --model "$main" "$@" -t 2 -q --seed 5 --steps 3 -s 96x64 -o "$dir/a.png" || fail "no picture"
[ -s "$dir/a.png" ] || fail "no picture"
says "editing works with himmel-1" "$himmel" remix "$dir/a.png" "a cat" --model "$main" "$@" -o "$dir/no.mp4"
says '"event":"plan"' "$himmel" "a cat" --model "$main" "$@" -s 64x64 --seconds 1 --plan --json
[ $bad = 0 ] && echo "ltx: ok"
exit $bad
