#!/bin/bash
# Robustness of the invisible watermark: clips are marked, coded as himmel codes its films, attacked, read.
#   tools/bench_watermark.sh BUILD WORK LARGE SMALL BASELINE [FILM...]
# LARGE and SMALL clips of 2 s from the renderer (1920x1080, 854x480) and the first 2 s of each FILM; the first
# BASELINE clips of each kind also with DWT-DCT. Results: WORK/log; a table of it at the end. Clips stay in WORK/clips.
# ATTACKS="crf30 crop71" in the environment runs those only.
set -eu
build=$1 work=$2 large=$3 small=$4 baseline=$5
shift 5
bench=$build/bench_watermark
mkdir -p "$work/clips"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=passive
ff() { ffmpeg -nostdin -v error -y "$@"; }
raw() { ffmpeg -nostdin -v error -i "$1" "${@:2}" -pix_fmt yuv420p -strict -1 -f yuv4mpegpipe -; }
crop71=crop=trunc\(iw*0.71/2\)*2:trunc\(ih*0.71/2\)*2:iw*0.17:ih*0.09
crop55=crop=trunc\(iw*0.55/2\)*2:trunc\(ih*0.55/2\)*2:iw*0.31:ih*0.13
size() { echo "scale=trunc(iw*$1/2)*2:trunc(ih*$1/2)*2:flags=bicubic"; }

render() { # name size seed
    [ -s "$work/clips/$1.mkv" ] || "$build/himmel-world" clip --seed "$3" --size "$2" --fps 24 --seconds 2 |
        ffmpeg -v error -y -i - -pix_fmt yuv420p -c:v libx264 -preset ultrafast -qp 4 "$work/clips/$1.mkv"
}

# marked file -> Y4M on stdout
attack() {
    local m=$1 t=$work/tmp.mkv x264="-c:v libx264 -preset veryfast" rgb=format=gbrp
    case $2 in
    none) raw "$m" ;;
    crf*) ff -i "$m" $x264 -crf "${2#crf}" "$t" && raw "$t" ;;
    h265) ff -i "$m" -c:v libx265 -preset superfast -x265-params log-level=none -crf 30 "$t" && raw "$t" ;;
    vp9) ff -i "$m" -c:v libvpx-vp9 -deadline realtime -cpu-used 7 -b:v 0 -crf 36 "$t" && raw "$t" ;;
    resize55) raw "$m" -vf "$(size 0.55)" ;;
    resize71) raw "$m" -vf "$(size 0.71)" ;;
    dark) raw "$m" -vf "$rgb,lutrgb=r=val*0.5:g=val*0.5:b=val*0.5" ;;
    bright) raw "$m" -vf "$rgb,lutrgb=r=clipval*1.5:g=clipval*1.5:b=clipval*1.5" ;;
    contrast05) raw "$m" -vf "$rgb,lutrgb=r=val*0.5+64:g=val*0.5+64:b=val*0.5+64" ;;
    contrast15) raw "$m" -vf "$rgb,lutrgb=r=clip(val*1.5-64\,0\,255):g=clip(val*1.5-64\,0\,255):b=clip(val*1.5-64\,0\,255)" ;;
    saturation05) raw "$m" -vf hue=s=0.5 ;;
    saturation15) raw "$m" -vf hue=s=1.5 ;;
    crop71) raw "$m" -vf "$crop71" ;;
    crop55) raw "$m" -vf "$crop55" ;;
    jpeg40) ff -i "$m" -c:v mjpeg -q:v 9 -pix_fmt yuvj420p "$t" && raw "$t" ;;
    drop50) raw "$m" -vf "select=gt(random(1)\,0.5),setpts=N/24/TB" ;;
    speed2) raw "$m" -vf setpts=0.5*PTS -r 24 ;;
    combined) ff -i "$m" -vf "$crop71,$rgb,lutrgb=r=val*0.5:g=val*0.5:b=val*0.5" -pix_fmt yuv420p $x264 -crf 30 "$t" && raw "$t" ;;
    rotate10) raw "$m" -vf rotate=10*PI/180 ;;
    flip) raw "$m" -vf hflip ;;
    blur9) raw "$m" -vf gblur=sigma=1.7 ;;
    esac
}
attacks=${ATTACKS:-none crf23 crf30 crf35 crf40 crf50 h265 vp9 resize55 resize71 dark bright contrast05 contrast15 saturation05
    saturation15 crop71 crop55 jpeg40 drop50 speed2 combined rotate10 flip blur9}

run() { # scheme kind name seed
    local scheme=$1 kind=$2 name=$3 seed=$4 m=$work/marked.mkv a
    raw "$work/clips/$name.mkv" | "$bench" mark "$scheme" "$seed" 2>"$work/mark.txt" |
        ff -i - -c:v libx264 -preset veryfast -crf 19 "$m"
    echo "$scheme $kind $name MARK $(cat "$work/mark.txt")" >>"$work/log"
    for a in $attacks; do
        echo "$scheme $kind $name $a $(attack "$m" "$a" | "$bench" read "$scheme" "$seed")" >>"$work/log"
    done
}

n=0
one() { # kind name: himmel's, and for the first ones the baseline's
    n=$((n + 1))
    run himmel "$1" "$2" $((1000 + n))
    [ "$3" -gt "$baseline" ] || run dwtdct "$1" "$2" $((1000 + n))
}
for i in $(seq 1 "$(( large > small ? large : small ))"); do
    [ "$i" -gt "$large" ] || { render large$i 1920x1080 $((100 + i)); one 1080p large$i "$i"; }
    [ "$i" -gt "$small" ] || { render small$i 854x480 $((500 + i)); one 480p small$i "$i"; }
done
i=0
for f in "$@"; do
    i=$((i + 1))
    ff -i "$f" -t 2 -an -pix_fmt yuv420p -c:v libx264 -preset ultrafast -qp 4 "$work/clips/film$i.mkv"
    one film film$i "$i"
done

table() {
    awk '$4 == "MARK" { for (i = 5; i < NF; i++) if ($i == "psnr") { q[$1] += $(i+1); m[$1]++ } else if ($i == "worst" && (!($1 in w) || $(i+1) < w[$1])) w[$1] = $(i+1); next }
        { k = $1 " " $4; if (!(k in n)) order[++c] = k; n[k]++; for (i = 5; i < NF; i++) { if ($i == "right") r[k] += $(i+1); if ($i == "bits") b[k] += $(i+1) } }
        END { for (s in q) printf "%s: %d clips, PSNR mean %.2f dB, worst frame %.2f dB\n", s, m[s], q[s] / m[s], w[s]
              for (i = 1; i <= c; i++) printf "%-8s %-13s %3d of %3d = %5.1f %%   bits %.3f\n", substr(order[i], 1, index(order[i], " ")), substr(order[i], index(order[i], " ") + 1), r[order[i]], n[order[i]], 100 * r[order[i]] / n[order[i]], b[order[i]] / n[order[i]] }' "$work/log"
}
table
