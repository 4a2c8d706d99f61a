#!/bin/bash
# test_edit.sh - the editing commands from outside: results, inputs of all kinds, errors.   SPDX-License-Identifier: MIT
# usage: test_edit.sh HIMMEL MAKE_MODEL. Weights are random, so new pictures mean nothing; what is kept does.
himmel=$1 make_model=$2
dir=$(mktemp -d /tmp/himmel-edit-XXXXXX)
io=$(mktemp -d /tmp/himmel-edit-io-XXXXXX)
trap 'rm -rf "$dir" "$io"' EXIT
cd "$dir" || exit 1
unset HIMMEL_MODEL HIMMEL_ISA
passed=0 failed=0
ok() { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); echo "FAILED: $*" >&2; }
check() { local what=$1; shift; if "$@"; then ok; else bad "$what"; fi; }
command -v ffmpeg >/dev/null || { echo "ffmpeg is needed" >&2; exit 1; }
ff() { ffmpeg -nostdin -v error -y "$@"; }

# refuse CODE WORD args...: exit code, one to three lines on stderr that hold WORD, nothing left behind
refuse() {
    local code=$1 word=$2; shift 2
    local before after rc lines err
    before=$(ls -A)
    timeout 100 "$himmel" "$@" >"$io/out" 2>"$io/err" </dev/null
    rc=$? lines=$(wc -l <"$io/err") err=$(cat "$io/err")
    after=$(ls -A)
    check "[$*] exit $rc, not $code" test "$rc" = "$code"
    check "[$*] '$err' does not say '$word'" grep -qF -- "$word" <<<"$err"
    check "[$*] $lines lines of error" test "$lines" -ge 1 -a "$lines" -le 3
    check "[$*] left $after" test "$before" = "$after"
}
# made FILE WxH FRAMES [FPS]: what ffprobe says
made() {
    local got
    got=$(ffprobe -v error -select_streams v -show_entries stream=width,height,nb_frames,r_frame_rate -of csv=p=0 "$1" 2>&1)
    check "$1 is $got: $(cat "$io/err")" test "$got" = "${2/x/,},${4:-24/1},$3"
}
run() { "$himmel" "$@" "${quick[@]}" 2>"$io/err"; check "[$*] exit $?: $(cat "$io/err")" test $? = 0; }
# psnr of two files' first frames, as RGB (their matrices differ)
psnr() {
    ffmpeg -nostdin -v info -i "$1" -i "$2" -frames:v 1 -lavfi "[0:v]format=rgb24[a];[1:v]format=rgb24[b];[a][b]psnr" -f null - 2>&1 |
        sed -n 's/.*average:\([0-9.inf]*\).*/\1/p' | sed 's/inf/99/'
}
at_least() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a >= b) }'; }

"$make_model" tiny.safetensors || exit 1
export HIMMEL_MODEL=$dir/tiny.safetensors HIMMEL_IDENTITY_DIR=$io/identity
quick=(--steps 1 --guidance 1 --seed 5 -q --no-visible-mark)
ff -f lavfi -i testsrc=s=96x64:r=24:d=1.5,gblur=6 -f lavfi -i sine=f=440:d=1.5 -pix_fmt yuv420p -c:a aac a.mp4
ff -f lavfi -i smptebars=s=96x64:r=24:d=1.5 -pix_fmt yuv420p b.mp4
ff -f lavfi -i testsrc=s=96x64,gblur=6 -frames:v 1 p.png
ff -f lavfi -i smptebars=s=96x64 -frames:v 1 q.png
ff -f lavfi -i "color=black:s=96x64,drawbox=20:10:40:30:white:fill" -frames:v 1 m.png

# ---- every command ----
run animate p.png "the sea" --seconds 1 -o animate.mp4; made animate.mp4 96x64 24
check "the first frame is not the picture: $(psnr animate.mp4 p.png)" at_least "$(psnr animate.mp4 p.png)" 25
run animate p.png --last q.png --seconds 1.5 --size 64x64 --fps 12 -o last.mp4; made last.mp4 64x64 18 12/1
run extend a.mp4 --after 1 --before 0.5 -o extend.mp4; made extend.mp4 96x64 72
run loop a.mp4 --seconds 1 -o loop.mp4; made loop.mp4 96x64 59
run loop "dusk" --seconds 2 --size 96x64 -o looped.mp4; made looped.mp4 96x64 47
check "loop leaves its first film" test ! -e looped.mp4.once.mp4
run blend a.mp4 b.mp4 --seconds 1 -o blend.mp4; made blend.mp4 96x64 95
run interpolate p.png q.png p.png --seconds 2 -o interpolate.mp4; made interpolate.mp4 96x64 48
run cut a.mp4@0.5-1 b.mp4@1- a.mp4 -o cut.mp4; made cut.mp4 96x64 60
run cut a.mp4 --from 0.5 --to 1 -o cut.mp4; made cut.mp4 96x64 12
run inpaint a.mp4 --mask m.png "a balloon" -o inpaint.mp4; made inpaint.mp4 96x64 36
run inpaint a.mp4 --box 20,10,40,30@0.5-1 "a balloon" -o box.mp4; made box.mp4 96x64 36
run inpaint p.png --mask m.png -o inpaint.png; check "no picture" test -s inpaint.png
run outpaint a.mp4 --size 128x64 -o outpaint.mp4; made outpaint.mp4 128x64 36
run remix a.mp4 "night" --strength subtle -o remix.mp4; made remix.mp4 96x64 36
run remix p.png "night" -n 2 -o r.png; check "variations" test -s r-1.png -a -s r-2.png
run upscale a.mp4 -o upscale.mp4; made upscale.mp4 192x128 36
run upscale p.png --size 256x170 -o upscale.png; check "no picture" test -s upscale.png
cat >story.json <<'J'
{"seconds": 2, "prompt": "dawn", "cards": [{"at": 0, "picture": "p.png"}, {"at": 1, "prompt": "rain"}, {"at": 1.5, "picture": "q.png"}]}
J
run storyboard story.json -o story.mp4; made story.mp4 96x64 48

# ---- what stays ----
ff -i extend.mp4 -vf select=gte\(n\\,12\),setpts=N/24/TB -frames:v 36 -c:v libx264 -qp 0 kept.mkv
check "extend: the film itself, $(psnr kept.mkv a.mp4)" at_least "$(psnr kept.mkv a.mp4)" 30
outside() { ffmpeg -nostdin -v error -i "$1" -vf crop=20:64:0:0 -f rawvideo -pix_fmt rgb24 - | md5sum; }
check "inpaint: outside the mask" test "$(outside p.png)" = "$(outside inpaint.png)"

# ---- sound ----
streams() { ffprobe -v error -show_entries stream=codec_name -of csv=p=0 "$1" | tr '\n' ' '; }
check "sound of a.mp4 is lost: $(streams extend.mp4)" test "$(streams extend.mp4)" = "h264 aac "
check "a silent film has sound: $(streams interpolate.mp4)" test "$(streams interpolate.mp4)" = "h264 "
run cut b.mp4 --sound -o sound.mp4; check "--sound: $(streams sound.mp4)" test "$(streams sound.mp4)" = "h264 aac "
"$himmel" "a storm" --seconds 1 --size 96x64 "${quick[@]}" --sound -o s1.mp4
"$himmel" "a storm" --seconds 1 --size 96x64 "${quick[@]}" --sound -o s2.mp4
check "--sound: same request, other bytes" cmp -s s1.mp4 s2.mp4
check "--sound: $(streams s1.mp4)" test "$(streams s1.mp4)" = "h264 aac "

# ---- inputs of all kinds ----
ff -display_rotation 90 -i a.mp4 -c copy turned.mp4 2>/dev/null || ff -i a.mp4 -c copy -metadata:s:v rotate=90 turned.mp4
run cut turned.mp4 -o turned2.mp4; made turned2.mp4 64x96 36
ff -i turned.mp4 -frames:v 1 turned.png
check "turned the other way: $(psnr turned2.mp4 turned.png)" at_least "$(psnr turned2.mp4 turned.png)" 28
ff -i a.mp4 -vf setsar=2 -c:v libx264 wide.mp4
run cut wide.mp4 -o wide2.mp4; made wide2.mp4 192x64 36
ff -f lavfi -i testsrc=s=96x64:r=24:d=1 -vf "select='if(lt(t,0.5),1,not(mod(n,3)))'" -vsync vfr -pix_fmt yuv420p vfr.mkv
run cut vfr.mkv --fps 24 -o vfr.mp4
check "variable rate" test "$(ffprobe -v error -show_entries stream=nb_frames -of csv=p=0 vfr.mp4)" -ge 22
ff -f lavfi -i "color=white:s=96x64,format=rgba,colorchannelmixer=aa=0.5" -frames:v 1 half.png
run inpaint half.png --box 0,0,10,10 -o half2.png
check "half transparent white is not grey" test "$(ffmpeg -v error -i half2.png -vf crop=1:1:80:50 -f rawvideo -pix_fmt gray - | od -An -tu1 | tr -d ' ')" = 128
ff -f lavfi -i testsrc=s=96x64:r=24:d=1 -pix_fmt yuv420p10le -c:v libx264 -color_trc smpte2084 -color_primaries bt2020 -colorspace bt2020nc hdr.mp4
run cut hdr.mp4 -o hdr2.mp4; made hdr2.mp4 96x64 24
check "PQ is shown as if it were not" awk -v p="$(psnr hdr2.mp4 hdr.mp4)" 'BEGIN { exit !(p < 25) }'
for kind in avi ts gif; do
    ff -i a.mp4 -an -r 25 x."$kind"
    run extend x."$kind" --after 1 -o x.mp4; check ".$kind" test -s x.mp4
done
run extend a.mp4 --after 1 --size 64x96 --fit pad -o pad.mp4; made pad.mp4 64x96 60
check "pad: no black above" test "$(ffmpeg -v error -i pad.mp4 -frames:v 1 -vf crop=8:8:20:4 -f rawvideo -pix_fmt gray - | od -An -tu1 | awk '{ for (i = 1; i <= NF; i++) if ($i > 6) b = 1 } END { print b + 0 }')" = 0

# ---- bad input ----
: >zero.mp4
echo "this is a text" >text.mp4
head -c 3000 a.mp4 >cut_short.mp4
head -c 5000 /dev/urandom >noise.mp4
ff -f lavfi -i sine=d=1 -vn audio.mp4
ff -f lavfi -i testsrc=s=96x64:r=24 -frames:v 1 -pix_fmt yuv420p one.mp4
ff -f lavfi -i "color=s=7680x4320:r=24:d=0.1" -c:v libx264 -preset ultrafast big.mp4
ff -f lavfi -i "color=black:s=96x64" -frames:v 1 empty.png
ff -f lavfi -i "color=white:s=90x64" -frames:v 1 other.png
for f in zero text cut_short noise audio big none; do refuse 1 "$f.mp4" extend $f.mp4 --after 1 -o x1.mp4; done
for f in zero text audio; do refuse 1 "$f.mp4" inpaint $f.mp4 --box 0,0,9,9 -o x1.mp4; done
for c in "extend one.mp4" "loop one.mp4" "blend one.mp4 a.mp4" "inpaint one.mp4 --box 0,0,9,9" "cut p.png"; do
    # shellcheck disable=SC2086
    refuse 2 "single picture" $c -o x1.mp4
done
refuse 2 "empty" inpaint a.mp4 --mask empty.png -o x1.mp4
refuse 2 "90x64" inpaint a.mp4 --mask other.png -o x1.mp4
refuse 1 "text.mp4" inpaint a.mp4 --mask text.mp4 -o x1.mp4
refuse 2 "does not lie" inpaint a.mp4 --box 90,0,9,9 -o x1.mp4
refuse 2 "--mask FILE or --box" inpaint a.mp4 -o x1.mp4
for b in 1,2,3 a,b,c,d 0,0,0,0 1,1,5,5@3-2 1,1,5,5@x; do refuse 2 "--box" inpaint a.mp4 --box $b -o x1.mp4; done
for s in 0 1.5 huge; do refuse 2 "--strength" remix a.mp4 night --strength $s -o x1.mp4; done
refuse 2 "after is 57" extend a.mp4 --after 57 -o x1.mp4
refuse 2 "--size" outpaint a.mp4 -o x1.mp4
refuse 2 "nothing to paint" outpaint a.mp4 --size 96x64 -o x1.mp4
refuse 2 "larger size" upscale a.mp4 --size 96x64 -o x1.mp4
refuse 2 "nothing from" cut a.mp4@5-6 -o x1.mp4
refuse 2 "film.mp4@2-5" cut a.mp4@x -o x1.mp4
refuse 2 "no option of" cut a.mp4 --mask m.png -o x1.mp4
refuse 2 "wants a film" extend
refuse 2 "for films from words only" cut a.mp4 --plan
refuse 2 ".mp4" cut a.mp4 -o x1.avi
story() { echo "$1" >bad.json; refuse 1 "$2" storyboard bad.json -o x1.mp4; }
story '{' "bad.json: line"
story '[]' "an object"
story '{"cards": []}' "list of cards"
story '{"cards": [{"at": 0, "prompt": 3}]}' "must be a text"
story '{"cards": [{"at": 0, "prompt": "a"}, {"prompt": "b"}]}' '"at"'
story '{"cards": [{"at": 0, "picture": "none.png"}]}' "none.png"
story '{"cards": [{"at": 0, "colour": "red"}]}' "colour"
refuse 1 "none.json" storyboard none.json -o x1.mp4
for c in animate extend inpaint outpaint remix loop blend interpolate storyboard cut upscale; do
    check "himmel help $c" grep -q "^himmel $c" <<<"$("$himmel" help $c)"
done

echo "$passed passed, $failed failed"
test "$failed" = 0 -a "$passed" -gt 100
