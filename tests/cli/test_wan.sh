#!/bin/bash
# test_wan.sh - himmel with Wan (tiny random transformers, the fixtures' other networks), from words to a file:
# HIMMEL MAKE_MODEL.   SPDX-License-Identifier: MIT
. "$(dirname "$0")/released.sh"
"$make_model" --tokenizer "$dir/words.model" || fail "no tokenizer"
main=$dir/wan.safetensors
"$make_model" --wan "$main" t2v || fail "no transformer"
set -- --with "$here/fixtures/wan21_vae.safetensors" --with "$here/fixtures/umt5_tiny.safetensors" --with "$dir/words.model"

says "Wan 2.1 T2V" "$himmel" info "$main" "$@"
says "autoencoder is missing" "$himmel" info "$main"
says "one model" "$himmel" info "$main" --model "$main"
says "autoencoder is missing" "$himmel" "a cat" --model "$main" -o "$dir/no.mp4"
[ ! -e "$dir/no.mp4" ] || fail "a file of a refused job"

make() { "$himmel" "a cat on the sea" --model "$main" "$@" -t 2 -q --seed 5 --steps 3 || fail "$*"; }
make "$@" -s 72x68 --seconds 1 --no-visible-mark -o "$dir/a.mp4"
make "$@" -s 72x68 --seconds 1 --no-visible-mark -o "$dir/b.mp4"
cmp -s "$dir/a.mp4" "$dir/b.mp4" || fail "same seed, other bytes"
n=$(ffprobe -v error -count_frames -select_streams v -show_entries stream=nb_read_frames,width,height -of csv=p=0 "$dir/a.mp4" 2>/dev/null)
[ -z "$n" ] || [ "$n" = "72,68,16" ] || fail "the film is $n"
"$himmel" image "a cat" --model "$main" "$@" -t 2 -q --seed 5 --steps 3 -s 96x64 -o "$dir/a.png" || fail "no picture"
says "himmel" "$himmel" verify "$dir/a.mp4"
says '"event":"plan"' "$himmel" "a cat" --model "$main" "$@" -s 64x64 --seconds 1 --plan --json
says '"phase":"sample","step":2' "$himmel" "a cat" --model "$main" "$@" -t 2 --steps 3 -s 64x64 --seconds 1 --json -o "$dir/c.mp4"
# pictures: I2V begins with one, FLF2V ends with one too (whole: 17 frames, not 16), T2V takes none
pictures
move() { "$himmel" animate "$@" -t 2 -q --seed 5 --steps 2 --no-visible-mark -s 64x64 --seconds 1 || fail "animate $*"; }
for kind in i2v flf2v ti2v; do
    "$make_model" --wan "$dir/$kind.safetensors" $kind || fail "no transformer of $kind"
done
clip=(--with "$here/fixtures/clip_vision_tiny.safetensors")
move "$dir/p.png" "the sea" --model "$dir/i2v.safetensors" "$@" "${clip[@]}" -o "$dir/p.mp4"
move "$dir/q.png" "the sea" --model "$dir/i2v.safetensors" "$@" "${clip[@]}" -o "$dir/q.mp4"
[ "$(size_of "$dir/p.mp4")" = 64,64,16 ] || fail "animate made $(size_of "$dir/p.mp4")"
[ "$(frame "$dir/p.mp4" 0)" != "$(frame "$dir/q.mp4" 0)" ] || fail "the first frame does not know the picture"
move "$dir/p.png" --last "$dir/q.png" --model "$dir/flf2v.safetensors" "$@" "${clip[@]}" -o "$dir/f.mp4"
[ "$(size_of "$dir/f.mp4")" = 64,64,17 ] || fail "animate --last made $(size_of "$dir/f.mp4")"
says "one of them is missing" "$himmel" animate "$dir/p.png" "the sea" --model "$dir/flf2v.safetensors" "$@" "${clip[@]}" -s 64x64 --seconds 1 -o "$dir/no.mp4"
says "takes no pictures" "$himmel" animate "$dir/p.png" "the sea" --model "$main" "$@" -s 64x64 --seconds 1 -o "$dir/no.mp4"
shift 2 # the other autoencoder
move "$dir/p.png" "the sea" --model "$dir/ti2v.safetensors" --with "$here/fixtures/wan22_vae.safetensors" "$@" -o "$dir/t.mp4"
[ ! -e "$dir/no.mp4" ] || fail "a file of a refused job"
[ $bad = 0 ] && echo "wan: ok"
exit $bad
