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
pictures
move() { "$himmel" animate "$@" -t 2 -q --seed 5 --steps 2 --no-visible-mark || fail "animate $*"; }
move "$dir/p.png" "the sea" --model "$main" "$@" -s 64x64 --seconds 1 --fps 12 -o "$dir/p.mp4"
move "$dir/q.png" "the sea" --model "$main" "$@" -s 64x64 --seconds 1 --fps 12 -o "$dir/q.mp4"
[ "$(size_of "$dir/p.mp4")" = 64,64,12 ] || fail "animate made $(size_of "$dir/p.mp4")"
unlike "$dir/p.mp4" "$dir/q.mp4" 0 || fail "the first frame does not know the picture"
cp "$dir/p.png" "$dir/again.png"
move "$dir/again.png" "the sea" --model "$main" "$@" -s 64x64 --seconds 1 --fps 12 -o "$dir/again.mp4"
alike "$dir/p.mp4" "$dir/again.mp4" 0 || fail "the same picture, another first frame"
move "$dir/p.png" "the sea" --last "$dir/q.png" --model "$main" "$@" -s 64x64 --seconds 1 --fps 12 -o "$dir/pq.mp4"
says "p.png, q.png" ffprobe -v error -show_entries format_tags=inputs "$dir/pq.mp4"
says "p.png" "$himmel" verify --json "$dir/p.mp4"
"$himmel" interpolate "$dir/p.png" "$dir/q.png" "$dir/p.png" --model "$main" "$@" -s 64x64 --seconds 1 -t 2 -q --steps 1 -o "$dir/i.mp4" || fail "interpolate"
echo '{"seconds": 1, "cards": [{"at": 0, "prompt": "dawn"}, {"at": 0.5, "picture": "p.png"}]}' >"$dir/one.json"
echo '{"seconds": 1, "cards": [{"at": 0, "prompt": "dawn"}, {"at": 0.5, "prompt": "rain"}]}' >"$dir/two.json"
"$himmel" storyboard "$dir/one.json" --model "$main" "$@" -s 64x64 -t 2 -q --steps 1 -o "$dir/s.mp4" || fail "storyboard"
"$himmel" storyboard "$dir/two.json" --model "$main" "$@" -s 64x64 -t 2 -q --steps 1 -o "$dir/s2.mp4" || fail "storyboard of two prompts"
[ "$(size_of "$dir/s2.mp4")" = 64,64,25 ] || fail "storyboard made $(size_of "$dir/s2.mp4")"
says "no.png" "$himmel" animate "$dir/no.png" "a cat" --model "$main" "$@" -o "$dir/no.mp4"
says "upscaling is done by himmel-1" "$himmel" upscale "$dir/a.png" --model "$main" "$@" -o "$dir/no.png"

# linear layers in int8: nearly the same film
make "$@" --precision int8 -s 104x72 --seconds 1 --fps 12 -o "$dir/i8.mp4"
alike "$dir/a.mp4" "$dir/i8.mp4" 7 || fail "another film in int8"
cmp -s "$dir/a.mp4" "$dir/i8.mp4" && fail "int8 changes nothing"
says "precision=int8" ffprobe -v error -show_entries format_tags=precision "$dir/i8.mp4"
says "precision  int8" "$himmel" info --precision int8 --model "$main" "$@"

says '"event":"plan"' "$himmel" "a cat" --model "$main" "$@" -s 64x64 --seconds 1 --plan --json
memory_of --model "$main" "$@"
[ $bad = 0 ] && echo "ltx: ok"
exit $bad
