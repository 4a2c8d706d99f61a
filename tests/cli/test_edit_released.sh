#!/bin/bash
# test_edit_released.sh - the editing commands of docs/editing.md with tiny released models, LTX-Video and Wan's VACE, from
# files to files: HIMMEL MAKE_MODEL.   SPDX-License-Identifier: MIT
. "$(dirname "$0")/released.sh"
cd "$dir" || exit 1
pictures
"$make_model" --tokenizer words.model || fail "no tokenizer"
"$make_model" --wan vace.safetensors vace || fail "no VACE"
"$make_model" --wan t2v.safetensors t2v || fail "no T2V"
ff() { ffmpeg -nostdin -v error -y "$@" || fail "ffmpeg $*"; }
ff -f lavfi -i testsrc=s=96x64:r=24:d=1,gblur=6 -f lavfi -i sine=f=440:d=1 -pix_fmt yuv420p -c:a aac a.mp4
ff -f lavfi -i smptebars=s=96x64:r=24:d=1 -pix_fmt yuv420p b.mp4
ff -f lavfi -i "color=black:s=96x64,drawbox=48:0:48:64:white:fill" -frames:v 1 m.png
echo '{"seconds": 1, "cards": [{"at": 0, "prompt": "dawn", "picture": "p.png"}, {"at": 0.5, "prompt": "rain"}]}' >story.json

quick=(-t 2 -q --seed 5 --steps 2 --guidance 1 --no-visible-mark --crf 2)
run() { # OUTPUT SIZE,FRAMES COMMAND...
    local out=$1 want=$2; shift 2
    "$himmel" "$@" "${model[@]}" "${quick[@]}" -o "$out" || fail "$*"
    [ "$(size_of "$out")" = "$want" ] || fail "$* made $(size_of "$out"), not $want"
}
part() { ffmpeg -nostdin -v error -i "$1" -vf "crop=$2" -f rawvideo -pix_fmt rgb24 - | md5sum; }
psnr() { # as released.sh has it, in RGB: inputs and results have other matrices
    ffmpeg -nostdin -v info -i "$1" -i "$2" -lavfi "[0:v]select=eq(n\\,$3),format=rgb24[a];[1:v]select=eq(n\\,$3),format=rgb24[b];[a][b]psnr" -f null - 2>&1 |
        sed -n 's/.*average:\([0-9.inf]*\).*/\1/p' | sed 's/inf/99/'
}
shown() { # FILM AT: it shows the 24 frames of a.mp4 from frame AT on
    ff -i "$1" -vf "trim=start_frame=$2:end_frame=$(($2 + 24)),setpts=N/24/TB" -an -c:v libx264 -qp 0 kept.mkv
    for n in 0 12 23; do alike kept.mkv a.mp4 $n || fail "$1: frame $n of the input is $(psnr kept.mkv a.mp4 $n) dB away"; done
}

all_modes() { # FRAMES of two seconds that end with a picture
    run animate.mp4 96,64,24 animate p.png "the sea" -s 96x64 --fps 24 --seconds 1
    run last.mp4 96,64,25 animate p.png "the sea" --last q.png -s 96x64 --fps 24 --seconds 1.04
    run extend.mp4 96,64,60 extend a.mp4 "the sea" --after 1 --before 0.5
    shown extend.mp4 12
    says "h264.aac" bash -c "ffprobe -v error -show_entries stream=codec_name -of csv=p=0 extend.mp4 | tr '\n' ' '"
    run inpaint.mp4 96,64,24 inpaint a.mp4 "a balloon" --mask m.png
    run box.mp4 96,64,24 inpaint a.mp4 "a balloon" --box 10,10,40,40@0.5-1
    alike box.mp4 a.mp4 5 || fail "inpaint: before the box's time $(psnr box.mp4 a.mp4 5) dB"
    unlike box.mp4 a.mp4 20 || fail "inpaint: in the box's time $(psnr box.mp4 a.mp4 20) dB"
    run inpaint.png 96,64,1 inpaint p.png "a balloon" --mask m.png
    [ "$(part inpaint.png 48:64:0:0)" = "$(part p.png 48:64:0:0)" ] || fail "inpaint: outside the mask pixels change"
    [ "$(part inpaint.png 40:64:56:0)" != "$(part p.png 40:64:56:0)" ] || fail "inpaint: inside the mask nothing changes"
    run outpaint.mp4 128,64,24 outpaint a.mp4 -s 128x64
    run remix.mp4 96,64,24 remix a.mp4 "at night" --strength mild
    unlike remix.mp4 a.mp4 12 || fail "remix changes nothing"
    run remix.png 96,64,1 remix p.png "at night"
    run loop.mp4 96,64,47 loop a.mp4 --seconds 1
    shown loop.mp4 0
    run looped.mp4 96,64,47 loop "dusk" --seconds 2 -s 96x64 --fps 24
    run blend.mp4 96,64,71 blend a.mp4 b.mp4 --seconds 1
    shown blend.mp4 0
    run interpolate.mp4 "96,64,$1" interpolate p.png q.png p.png -s 96x64 --fps 24 --seconds 2
    run films.mp4 96,64,71 interpolate a.mp4 b.mp4
    run story.mp4 96,64,24 storyboard story.json -s 96x64 --fps 24
    run cut.mp4 96,64,24 cut a.mp4@0.5-1 b.mp4@0.5-1
    says "upscaling is done by himmel-1" "$himmel" upscale a.mp4 "${model[@]}" -o no.mp4
}

model=(--model "$here/fixtures/ltx_pipe_model.safetensors" --with "$here/fixtures/ltx_t5.safetensors" --with words.model)
all_modes 48
says "takes no reference picture" "$himmel" inpaint a.mp4 --mask m.png --reference q.png "${model[@]}" -o no.mp4

wan=(--with "$here/fixtures/wan21_vae.safetensors" --with "$here/fixtures/umt5_tiny.safetensors" --with words.model)
model=(--model vace.safetensors "${wan[@]}")
all_modes 49 # a last picture stands in the last of 1 + 4 k frames
run with_q.mp4 96,64,24 inpaint a.mp4 "a balloon" --mask m.png --reference q.png
unlike inpaint.mp4 with_q.mp4 12 || fail "the reference changes nothing: $(psnr inpaint.mp4 with_q.mp4 12) dB"
says "q.png" "$himmel" verify --json with_q.mp4
says "none.png" "$himmel" inpaint a.mp4 --mask m.png --reference none.png "${model[@]}" -o no.mp4

model=(--model t2v.safetensors "${wan[@]}")
run t2v.mp4 96,64,24 inpaint a.mp4 "a balloon" --mask m.png
run t2v.mp4 128,64,24 outpaint a.mp4 -s 128x64
run t2v.mp4 96,64,24 remix a.mp4 "at night" --strength mild
says "makes films from words alone" "$himmel" extend a.mp4 "${model[@]}" -o no.mp4
[ ! -e no.mp4 ] || fail "a file of a refused job"
[ $bad = 0 ] && echo "edits with released models: ok"
exit $bad
