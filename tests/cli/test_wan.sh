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
# the same transformer in two shards: the same film, by index or folder, and its hash is that of all three files
mkdir "$dir/sharded"
"$make_model" --shards "$main" "$dir/sharded" || fail "no shards"
says "Wan 2.1 T2V" "$himmel" info "$dir/sharded" "$@"
hash=$(cat "$dir/sharded/model.safetensors.index.json" "$dir/sharded/model-00001-of-00002.safetensors" "$dir/sharded/model-00002-of-00002.safetensors" | sha256sum)
says "${hash%% *}" "$himmel" info --json "$dir/sharded" "$@"
mv "$dir/sharded/model-00002-of-00002.safetensors" "$dir/away"
says "shard 2 of 2 is missing: model-00002-of-00002.safetensors" "$himmel" "a cat" --model "$dir/sharded" "$@" -o "$dir/no.mp4"
mv "$dir/away" "$dir/sharded/model-00002-of-00002.safetensors"
"$himmel" "a cat on the sea" --model "$dir/sharded/model.safetensors.index.json" "$@" -t 2 -q --seed 5 --steps 3 -s 72x68 --seconds 1 --no-visible-mark -o "$dir/d.mp4" || fail "no film from shards"
alike "$dir/a.mp4" "$dir/d.mp4" 7 || fail "another film from shards"

# in another number format: the printed hash is the file's, and the film is nearly the same
[ "$("$himmel" convert "$main" "$dir/half.safetensors" --to bf16 -q)" = "$(sha256sum "$dir/half.safetensors")" ] || fail "convert prints another hash"
[ "$(stat -c %s "$dir/half.safetensors")" -lt "$(($(stat -c %s "$main") * 6 / 10))" ] || fail "bf16 is not half as large"
"$himmel" "a cat on the sea" --model "$dir/half.safetensors" "$@" -t 2 -q --seed 5 --steps 3 -s 72x68 --seconds 1 --no-visible-mark -o "$dir/h.mp4" || fail "no film in bf16"
alike "$dir/a.mp4" "$dir/h.mp4" 7 || fail "another film in bf16"
[ "$("$himmel" convert "$main" "$dir/q8.gguf" --to q8_0 -q)" = "$(sha256sum "$dir/q8.gguf")" ] || fail "convert prints another hash for GGUF"
[ "$(stat -c %s "$dir/q8.gguf")" -lt "$(($(stat -c %s "$main") * 5 / 10))" ] || fail "Q8_0 is not half as large as f32"
"$himmel" "a cat on the sea" --model "$dir/q8.gguf" "$@" -t 2 -q --seed 5 --steps 3 -s 72x68 --seconds 1 --no-visible-mark -o "$dir/q8.mp4" || fail "no film in Q8_0"
alike "$dir/a.mp4" "$dir/q8.mp4" 7 || fail "another film in Q8_0"
says "int4: no type" "$himmel" convert "$main" "$dir/no.safetensors" --to int4
says "himmel convert IN OUT" "$himmel" convert "$main"
[ ! -e "$dir/no.safetensors" ] || fail "a file of a refused conversion"

memory_of --model "$main" "$@"

# passes that are foreseen are left out, and counted; 0 changes no byte
cached() { "$himmel" "a cat on the sea" --model "$main" "${with[@]}" -t 2 --seed 5 --steps 6 -s 64x64 --seconds 1 --fps 9 --no-visible-mark --json "$@" || fail "cached $*"; }
with=("$@")
cached -o "$dir/c0.mp4" >"$dir/c0.json"
cached --step-cache 0 -o "$dir/c1.mp4" >"$dir/c1.json"
cached --step-cache 1 -o "$dir/c2.mp4" >"$dir/c2.json"
cmp -s "$dir/c0.mp4" "$dir/c1.mp4" || fail "step cache 0 changes bytes"
cmp -s "$dir/c0.mp4" "$dir/c2.mp4" && fail "step cache 1 changes nothing"
grep -q '"passes":12,"passes_skipped":0' "$dir/c1.json" || fail "$(tail -1 "$dir/c1.json")"
grep -q '"passes":[468],"passes_skipped":[468]' "$dir/c2.json" || fail "$(tail -1 "$dir/c2.json")"
says "step cache is 1.5, must be 0..1" "$himmel" "a cat" --model "$main" "$@" --step-cache 1.5 -o "$dir/no.mp4"

# what the encoder said is kept: the second run gives the same bytes without it, --no-cache encodes again and keeps nothing
kept() { "$himmel" "a cat far away" --model "$main" "$@" -t 2 --seed 5 --steps 2 -s 64x64 --seconds 1 -q || fail "kept $*"; }
n=$(ls "$XDG_CACHE_HOME/himmel" | wc -l)
kept "$@" --no-cache -o "$dir/k0.mp4"
[ "$(ls "$XDG_CACHE_HOME/himmel" | wc -l)" = "$n" ] || fail "--no-cache keeps"
kept "$@" -o "$dir/k1.mp4"
kept "$@" -o "$dir/k2.mp4"
[ "$(ls "$XDG_CACHE_HOME/himmel" | wc -l)" = $((n + 1)) ] || fail "the cache has not one entry more"
cmp -s "$dir/k0.mp4" "$dir/k1.mp4" && cmp -s "$dir/k0.mp4" "$dir/k2.mp4" || fail "other bytes with kept words"

# killed in the middle, the film goes on from the step that was saved, to the same bytes
long=("$himmel" "a cat on the sea" --model "$main" "$@" -t 2 --seed 5 --steps 120 -s 64x64 --seconds 1 --json --resume "$dir/saved" -o)
"${long[@]}" "$dir/r0.mp4" >/dev/null || fail "no film to resume"
[ ! -e "$dir/saved.0" ] || fail "a finished film leaves its state"
"${long[@]}" "$dir/r1.mp4" >"$dir/r1.json" &
for _ in $(seq 600); do grep -q '"phase":"sample","step":5,' "$dir/r1.json" && break; sleep 0.05; done
kill -9 $!; wait $! 2>/dev/null
[ -s "$dir/saved.0" ] && [ ! -e "$dir/r1.mp4" ] || fail "killed too late, or nothing was saved"
"${long[@]}" "$dir/r1.mp4" >"$dir/r2.json" || fail "no resumed film"
cmp -s "$dir/r0.mp4" "$dir/r1.mp4" || fail "other bytes after a kill"
grep -q '"phase":"sample","step":[1-4],' "$dir/r2.json" && fail "began again from the start"
[ ! -e "$dir/saved.0" ] || fail "a finished film leaves its state"

# a LoRA: strength 0 changes nothing, a great one does, and the film says what was merged
"$make_model" --lora "$main" head.head "$dir/style.safetensors" || fail "no LoRA"
for n in 0 100; do
    "$himmel" "a cat on the sea" --model "$main" "$@" --lora "$dir/style.safetensors:$n" -t 2 -q --seed 5 --steps 3 -s 72x68 --seconds 1 --no-visible-mark -o "$dir/l$n.mp4" || fail "no film with a LoRA"
done
alike "$dir/a.mp4" "$dir/l0.mp4" 7 || fail "another film with a LoRA of strength 0"
unlike "$dir/a.mp4" "$dir/l100.mp4" 7 || fail "the same film with a LoRA"
hash=$(sha256sum "$dir/style.safetensors")
says "style.safetensors:0.5:${hash%% *}" "$himmel" info "$main" "$@" --lora "$dir/style.safetensors:0.5"
says "wants FILE or FILE:STRENGTH" "$himmel" "a cat" --model "$main" --lora "$dir/style.safetensors:much"
says "3 of its\|tensors change nothing" "$himmel" info "$main" "$@" --lora "$here/fixtures/ltx_rope.safetensors"
"$make_model" "$dir/own.safetensors" || fail "no himmel-1"
says "himmel-1 has none" "$himmel" "dusk" --model "$dir/own.safetensors" --step-cache 0.1 -o "$dir/no.mp4"
says "himmel-1 takes none" "$himmel" "dusk" --model "$dir/own.safetensors" --lora "$dir/style.safetensors" -o "$dir/no.mp4"

# linear layers in int8: nearly the same film, in less memory; other words and himmel-1 give a sentence
make "$@" --precision int8 -s 72x68 --seconds 1 --no-visible-mark -o "$dir/i8.mp4"
alike "$dir/a.mp4" "$dir/i8.mp4" 7 || fail "another film in int8"
cmp -s "$dir/a.mp4" "$dir/i8.mp4" && fail "int8 changes nothing"
says "precision=int8" ffprobe -v error -show_entries format_tags=precision "$dir/i8.mp4"
says "precision  int8" "$himmel" info "$main" "$@" --precision int8
# a file in int8 is computed in int8 without being asked (to the same bits: film/test_convert_int8); no LoRA goes into it
[ "$("$himmel" convert "$main" "$dir/eight.safetensors" --to int8 -q)" = "$(sha256sum "$dir/eight.safetensors")" ] || fail "convert prints another hash for int8"
"$himmel" "a cat on the sea" --model "$dir/eight.safetensors" "$@" -t 2 -q --seed 5 --steps 3 -s 72x68 --seconds 1 --no-visible-mark -o "$dir/e8.mp4" || fail "no film from int8 weights"
alike "$dir/i8.mp4" "$dir/e8.mp4" 7 || fail "int8 weights and --precision int8 are $(psnr "$dir/i8.mp4" "$dir/e8.mp4" 7) dB apart"
says "precision=int8" ffprobe -v error -show_entries format_tags=precision "$dir/e8.mp4"
says "precision  int8" "$himmel" info "$dir/eight.safetensors" "$@"
says "which LoRAs are not merged into" "$himmel" "a cat" --model "$dir/eight.safetensors" "$@" --lora "$dir/style.safetensors" -o "$dir/no.mp4"
says "int8 is for transformers" "$himmel" convert "$here/fixtures/umt5_tiny.safetensors" "$dir/no.safetensors" --to int8

peak() { "$himmel" "a cat" --model "$main" "$@" -s 64x64 --seconds 1 --plan --json | sed -n 's/.*"peak_bytes":\([0-9]*\).*/\1/p'; }
[ "$(peak "$@" --precision int8)" -lt "$(peak "$@")" ] || fail "int8 plans $(peak "$@" --precision int8) bytes, bf16 $(peak "$@")"
says "--precision int4: wants bf16 or int8" "$himmel" "a cat" --model "$main" "$@" --precision int4 -o "$dir/no.mp4"
says "himmel-1 computes in bf16" "$himmel" "dusk" --model "$dir/own.safetensors" --precision int8 -o "$dir/no.mp4"

# pictures: I2V begins with one, FLF2V ends with one too (whole: 17 frames, not 16), T2V takes none
pictures
move() { "$himmel" animate "$@" -t 2 -q --seed 5 --steps 2 --no-visible-mark -s 64x64 --seconds 1 || fail "animate $*"; }
for kind in i2v flf2v ti2v; do
    "$make_model" --wan "$dir/$kind.safetensors" $kind || fail "no transformer of $kind"
done
clip=(--with "$here/fixtures/clip_vision_tiny.safetensors")
move "$dir/p.png" "the sea" --model "$dir/i2v.safetensors" "$@" "${clip[@]}" -o "$dir/p.mp4"
[ "$(size_of "$dir/p.mp4")" = 64,64,16 ] || fail "animate made $(size_of "$dir/p.mp4")"
move "$dir/p.png" --last "$dir/q.png" --model "$dir/flf2v.safetensors" "$@" "${clip[@]}" -o "$dir/f.mp4"
[ "$(size_of "$dir/f.mp4")" = 64,64,17 ] || fail "animate --last made $(size_of "$dir/f.mp4")"
says "one of them is missing" "$himmel" animate "$dir/p.png" "the sea" --model "$dir/flf2v.safetensors" "$@" "${clip[@]}" -s 64x64 --seconds 1 -o "$dir/no.mp4"
says "takes no pictures" "$himmel" animate "$dir/p.png" "the sea" --model "$main" "$@" -s 64x64 --seconds 1 -o "$dir/no.mp4"
shift 2 # the other autoencoder
cp "$dir/p.png" "$dir/again.png"
for k in p q again; do
    move "$dir/$k.png" "the sea" --model "$dir/ti2v.safetensors" --with "$here/fixtures/wan22_vae.safetensors" "$@" -o "$dir/t$k.mp4"
done
unlike "$dir/tp.mp4" "$dir/tq.mp4" 0 || fail "the first frame does not know the picture"
alike "$dir/tp.mp4" "$dir/tagain.mp4" 0 || fail "the same picture, another first frame"
[ ! -e "$dir/no.mp4" ] || fail "a file of a refused job"
[ $bad = 0 ] && echo "wan: ok"
exit $bad
