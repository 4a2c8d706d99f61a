#!/bin/bash
# test_cli.sh - the program from outside: films, images, errors, signals.   SPDX-License-Identifier: MIT
# usage: test_cli.sh HIMMEL MAKE_MODEL. Weights are random, so pictures mean nothing; files and manners do.
himmel=$1 make_model=$2
dir=$(mktemp -d /tmp/himmel-cli-XXXXXX)
io=$(mktemp -d /tmp/himmel-cli-io-XXXXXX)
trap 'rm -rf "$dir" "$io"' EXIT
cd "$dir" || exit 1
unset HIMMEL_MODEL HIMMEL_ISA
passed=0 failed=0

ok() { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); echo "FAILED: $*" >&2; }
check() { local what=$1; shift; if "$@"; then ok; else bad "$what"; fi; } # check "what" command...

# refuse CODE WORD args...: exit code, one to three lines on stderr that hold WORD, nothing left behind
refuse() {
    local code=$1 word=$2; shift 2
    local before after rc lines
    before=$(ls -A)
    timeout 100 "$himmel" "$@" >"$io/out" 2>"$io/err" </dev/null
    rc=$? lines=$(wc -l <"$io/err")
    local err; err=$(cat "$io/err")
    after=$(ls -A)
    check "[${*:0:60}] exit $rc, not $code" test "$rc" = "$code"
    check "[${*:0:60}] '$err' does not say '$word'" grep -qF -- "$word" <<<"$err"
    check "[${*:0:60}] $lines lines of error" test "$lines" -ge 1 -a "$lines" -le 3
    check "[${*:0:60}] left $after" test "$before" = "$after"
}

"$make_model" tiny.safetensors || exit 1
export HIMMEL_MODEL=$dir/tiny.safetensors HIMMEL_IDENTITY_DIR=$io/identity
quick=(--size 96x64 --seconds 1 --steps 2 --seed 5)
small=(--size 96x64 --steps 2 --seed 5) # images

# ---- films ----
"$himmel" "sunset over a calm sea" "${quick[@]}" -o film.mp4 2>err.txt
check "film: $(cat err.txt)" test $? = 0 -a -s film.mp4 -a ! -e film.mp4.part
check "where the time goes is not said" grep -q "refine .* of peak" err.txt
if command -v ffprobe >/dev/null; then
    ffprobe -v error -show_streams -show_format film.mp4 >probe.txt
    for want in codec_name=h264 width=96 height=64 pix_fmt=yuv420p color_range=tv color_space=bt709 color_transfer=bt709 \
        color_primaries=bt709 r_frame_rate=24/1 nb_frames=24 "TAG:prompt=sunset over a calm sea" TAG:seed=5 TAG:model_sha256= \
        "TAG:software=himmel" "TAG:model=himmel-tiny"; do
        check "ffprobe does not show $want" grep -qF "$want" probe.txt
    done
    check "index is not in front" test "$(grep -aob -m1 moov film.mp4 | head -1 | cut -d: -f1)" -lt \
        "$(grep -aob -m1 mdat film.mp4 | head -1 | cut -d: -f1)"
    "$himmel" "dusk" "${quick[@]}" --fps 30000/1001 --seconds 1.5 --size 64x130 -q -o fps.mp4
    check "other fps" test "$(ffprobe -v error -show_entries stream=r_frame_rate,nb_frames,width,height -of csv=p=0 fps.mp4)" \
        = 64,130,30000/1001,45
fi
for s in 5 35; do "$himmel" "dusk" "${quick[@]}" --crf $s -q -o crf$s.mp4; done
check "a lower rate factor makes no larger file" test "$(stat -c %s crf5.mp4)" -gt "$(stat -c %s crf35.mp4)"
MALLOC_PERTURB_=85 "$himmel" "sunset over a calm sea" "${quick[@]}" -q -o again.mp4 2>err.txt
check "quiet is not quiet: $(cat err.txt)" test ! -s err.txt
check "same request, other bytes" cmp -s film.mp4 again.mp4
"$himmel" "sunset over a calm sea" "${quick[@]}" -q --seed 6 -o again.mp4
check "other seed, same bytes" test -n "$(cmp film.mp4 again.mp4)"
"$himmel" "sunset over a calm sea" "${quick[@]}" -q --no-visible-mark -o again.mp4
check "the mark makes no difference" test -n "$(cmp film.mp4 again.mp4)"
"$himmel" sunset over a calm sea "${quick[@]}" -q -o words.mp4 -n 2
check "variations" test -s words-1.mp4 -a -s words-2.mp4 -a ! -e words.mp4
check "first variation is the film itself" cmp -s film.mp4 words-1.mp4
(mkdir free && cd free && "$himmel" dusk "${quick[@]}" -q && "$himmel" dusk "${quick[@]}" -q)
check "names without -o: $(ls free)" test -s free/film.mp4 -a -s free/film-2.mp4

# ---- images ----
for ending in png jpg jpeg webp; do
    "$himmel" image "aurora" "${small[@]}" -q -o picture.$ending
    check "image .$ending" test -s picture.$ending
done
check "PNG" test "$(head -c 4 picture.png | tail -c 3)" = PNG
check "prompt in the picture" grep -qa aurora picture.png

# ---- events, previews, prompts ----
"$himmel" "dusk with a piano" "${quick[@]}" --json --expand -o events.mp4 >events.txt 2>err.txt
check "json: $(cat err.txt)" test $? = 0 -a ! -s err.txt
check "every line an object" test "$(grep -c '^{.*}$' events.txt)" = "$(wc -l <events.txt)"
for e in plan progress unknown_words expanded done; do check "no event $e" grep -q "\"event\":\"$e\"" events.txt; done
if command -v python3 >/dev/null; then
    check "events are not JSON" python3 -c 'import json,sys; [json.loads(l) for l in open("events.txt")]'
fi
"$himmel" "dusk with a piano and a cat" "${quick[@]}" -o x.mp4 2>err.txt
check "unknown words are not named" grep -q "has never seen: piano, cat. It knows skies.*himmel help models" err.txt
"$himmel" image "dusk" "${small[@]}" --preview -o p.png 2>err.txt
check "no preview" grep -q "38;2;" err.txt
"$himmel" "dusk" --plan 2>err.txt
check "no plan" grep -q "240 frames from 11 x 9 x 16" err.txt
check "plan made a file" test ! -e film-2.mp4
for c in help version info "help image" "help models" "help train" --help --version; do
    # shellcheck disable=SC2086
    check "himmel $c" test -n "$("$himmel" $c)"
done

# ---- bad input ----
refuse 2 "no prompt" -o x.mp4
refuse 2 "empty" "" -o x.mp4
refuse 2 "empty" "   " -o x.mp4
refuse 2 "4096" "$(head -c 100000 /dev/zero | tr '\0' a)" -o x.mp4
refuse 2 "UTF-8" $'caf\xe9' -o x.mp4
refuse 2 "UTF-8" "dusk" --negative $'\xff' -o x.mp4
refuse 2 "--frobnicate" "dusk" --frobnicate
refuse 2 "unknown option -x" "dusk" -x
refuse 2 "wants a value" "dusk" -o
refuse 2 "takes no value" "dusk" --preview=yes
refuse 2 ".mp4" "dusk" -o x.avi
refuse 2 ".mp4" "dusk" -o x
refuse 2 "himmel image" "dusk" -o x.png
refuse 2 ".png" image "dusk" -o x.mp4
for s in 0x0 63x64 65x64 2050x64 100000x100000 64 x 64x -64x64 64x64x64 1e3x64 ""; do refuse 2 "size" "dusk" --size "$s" -o x.mp4; done
for s in 0 0.5 60.5 -1 nan inf abc ""; do refuse 2 "seconds" "dusk" --seconds "$s" -o x.mp4; done
for s in 0 -24 121 24/0 abc 1/2/3; do refuse 2 "fps" "dusk" --fps "$s" -o x.mp4; done
for s in -1 1.5 99999999999999999999 abc; do refuse 2 "seed" "dusk" --seed "$s" -o x.mp4; done
for s in 0 -3 201 2.5 abc; do refuse 2 "steps" "dusk" --steps "$s" -o x.mp4; done
for s in 0 -1 41 2.5 abc; do refuse 2 "crf" "dusk" --crf "$s" -o x.mp4; done
for s in 0 0.9 21 abc; do refuse 2 "guidance" "dusk" --guidance "$s" -o x.mp4; done
for s in 0 -2 abc 1025; do refuse 2 "threads" "dusk" --threads "$s" -o x.mp4; done
for s in 0 -1 x; do refuse 2 "variations" "dusk" -n "$s" -o x.mp4; done

refuse 1 "none.safetensors" "dusk" --model none.safetensors -o x.mp4
refuse 1 "not a regular file" "dusk" --model "$dir" -o x.mp4
size=$(stat -c %s tiny.safetensors)
for n in 0 4 8 100 $((size / 2)) $((size - 1)); do
    head -c "$n" tiny.safetensors >cut.safetensors
    refuse 1 "cut.safetensors" "dusk" --model cut.safetensors "${quick[@]}" -o x.mp4
done
head -c 100000 /dev/urandom >noise.safetensors
refuse 1 "noise.safetensors" "dusk" --model noise.safetensors -o x.mp4
cp film.mp4 foreign.safetensors
refuse 1 "foreign.safetensors" "dusk" --model foreign.safetensors -o x.mp4
printf '\x3a\0\0\0\0\0\0\0{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}      12345678' >other.safetensors
refuse 1 "other.safetensors" "dusk" --model other.safetensors -o x.mp4
HIMMEL_ISA=mmx refuse 1 "mmx" "dusk" "${quick[@]}" -o x.mp4

refuse 1 "nowhere/x.mp4" "dusk" "${quick[@]}" -o nowhere/x.mp4
mkdir taken.mp4
refuse 1 "taken.mp4" "dusk" "${quick[@]}" -o taken.mp4
refuse 1 "/proc/x.png" image "dusk" "${small[@]}" -o /proc/x.png
if [ "$(id -u)" != 0 ]; then
    mkdir closed && chmod 555 closed
    refuse 1 "closed/x.mp4" "dusk" "${quick[@]}" -o closed/x.mp4
fi
# a full disk: files may not grow beyond 1 kB, then a real one if this may be mounted here
(ulimit -f 1; "$himmel" "dusk" "${quick[@]}" -q -o full.mp4 2>err2.txt) 2>/dev/null
check "full disk: exit" test $? = 1
check "full disk leaves something" test ! -e full.mp4 -a ! -e full.mp4.part
mkdir tiny_disk
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=16k tmpfs tiny_disk 2>/dev/null; then
    "$himmel" "dusk" "${quick[@]}" --size 512x288 -q -o tiny_disk/full.mp4 2>err.txt
    check "full disk: exit" test $? = 1
    check "full disk: $(cat err.txt)" grep -qi "no space" err.txt
    check "full disk leaves $(ls tiny_disk)" test -z "$(ls -A tiny_disk)"
    umount tiny_disk
fi
echo old >keep.mp4
(ulimit -f 1; "$himmel" "dusk" "${quick[@]}" -q -o keep.mp4 2>/dev/null)
check "an older film is lost" test "$(cat keep.mp4)" = old

# ---- signals ----
for sig in INT TERM; do
    rm -f err.txt # what the last round said is no sign of this one
    "$himmel" "dusk" --size 512x288 --seconds 10 --steps 200 -o stopped.mp4 2>err.txt &
    pid=$!
    for _ in $(seq 100); do grep -q sample err.txt 2>/dev/null && break; sleep 0.1; done
    kill -$sig $pid
    wait $pid
    check "exit code after SIG$sig" test $? = $((128 + $(kill -l $sig)))
    check "SIG$sig leaves something" test ! -e stopped.mp4 -a ! -e stopped.mp4.part
    check "SIG$sig: $(cat err.txt)" grep -q "himmel: stopped" err.txt
done

# ---- the other subcommands speak ----
refuse 2 "himmel: train" train
refuse 2 "nonsense" train nonsense
refuse 2 "himmel: " eval
refuse 2 "himmel: " world
refuse 2 "look like" train dit 3
refuse 2 "no help on" help nonsense

echo "$passed passed, $failed failed"
test "$failed" = 0 -a "$passed" -gt 100
