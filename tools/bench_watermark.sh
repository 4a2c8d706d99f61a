#!/bin/bash
# Robustness of the invisible watermark: clips are marked, coded as himmel codes its films, attacked, read.
#   tools/bench_watermark.sh BUILD WORK [LARGE SMALL FILMS IMAGES BASELINE [CLEAN]]
# LARGE and SMALL clips of LENGTH (2) s from the renderer (1920x1080, 854x480), FILMS that himmel made and marked itself (854x480,
# prompts of the gallery), IMAGES single pictures (854x480); the first BASELINE of each kind also with DWT-DCT; CLEAN unmarked
# pictures (854x480): what is found in them is a false alarm. Results: WORK/log, a line each; a run that was stopped goes on
# from there, and larger numbers add to it. Without numbers: the tables of the log, as docs/watermark.md has them.
# ATTACKS="crf30 crop71" in the environment runs those only.
set -eu
build=$1 work=$2 large=${3:-0} small=${4:-0} films=${5:-0} images=${6:-0} baseline=${7:-0} clean=${8:-0}
length=${LENGTH:-2} bench=$build/bench_watermark prompts=$(dirname "$0")/../docs/gallery/prompts.txt
mkdir -p "$work/clips"
touch "$work/log"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=passive
ff() { ffmpeg -nostdin -v error -y "$@"; }
raw() { ffmpeg -nostdin -v error -i "$1" "${@:2}" -pix_fmt yuv420p -strict -1 -f yuv4mpegpipe -; }
crop71=crop=trunc\(iw*0.71/2\)*2:trunc\(ih*0.71/2\)*2:iw*0.17:ih*0.09
crop55=crop=trunc\(iw*0.55/2\)*2:trunc\(ih*0.55/2\)*2:iw*0.31:ih*0.13
size() { echo "scale=trunc(iw*$1/2)*2:trunc(ih*$1/2)*2:flags=bicubic"; }

# ---- material ----

render() { # name size seed seconds
    [ -s "$work/clips/$1.mkv" ] || "$build/himmel-world" clip --seed "$3" --size "$2" --fps 24 --seconds "$4" |
        ffmpeg -v error -y -i - -pix_fmt yuv420p -c:v libx264 -preset ultrafast -qp 4 "$work/clips/$1.mkv"
}

film() { # number: WORK/clips/filmN.mp4 by himmel
    local f=$work/clips/film$1.mp4
    [ -s "$f" ] || "$build/himmel" "$(sed -n "$1p" "$prompts")" -o "$f" --seconds "$length" --size 854x480 --seed "$1" >/dev/null
}

payload_of() { "$build/himmel" verify --json "$1" | sed -n 's/.*"signed":"\([0-9a-f]*\)".*/\1/p'; }

# ---- attacks: marked file -> Y4M on stdout ----

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
video="none crf23 crf30 crf35 crf40 crf50 h265 vp9 resize55 resize71 dark bright contrast05 contrast15 saturation05
    saturation15 crop71 crop55 jpeg40 drop50 speed2 combined rotate10 flip blur9"
picture="none jpeg40 resize55 resize71 dark bright contrast05 contrast15 crop71 crop55 flip"

# ---- one clip, all attacks ----

have() { grep -q "^$* " "$work/log"; }

run() { # scheme kind name seed-or-payload marked-file attacks...
    local scheme=$1 kind=$2 name=$3 who=$4 m=$5 a
    for a in "${@:6}"; do
        have "$scheme" "$kind" "$name" "$a" ||
            echo "$scheme $kind $name $a $(attack "$m" "$a" | "$bench" read "$scheme" "$who")" >>"$work/log"
    done
}

mark() { # scheme kind name seed source: WORK/marked.mkv
    raw "$5" | "$bench" mark "$1" "$4" 2>"$work/mark.txt" | ff -i - $(coded "$2") "$work/marked.mkv"
    have "$1" "$2" "$3" MARK || echo "$1 $2 $3 MARK $(cat "$work/mark.txt")" >>"$work/log"
}
coded() { if [ "$1" = image ]; then echo "-c:v ffv1"; else echo "-c:v libx264 -preset veryfast -crf 19"; fi; }

whole() { # scheme kind name: are all results there?
    local a
    for a in ${ATTACKS:-$4}; do have "$1" "$2" "$3" "$a" || return 1; done
}

one() { # kind name number size seconds attacks
    local scheme
    for scheme in himmel dwtdct; do
        [ "$scheme" = himmel ] || [ "$3" -le "$baseline" ] || continue
        whole "$scheme" "$1" "$2" "$6" && continue
        render "$2" "$4" "$((${#1} * 1000 + $3))" "$5"
        mark "$scheme" "$1" "$2" "$((1000 + $3))" "$work/clips/$2.mkv"
        run "$scheme" "$1" "$2" "$((1000 + $3))" "$work/marked.mkv" ${ATTACKS:-$6}
    done
}

own() { # number: a film that himmel made
    local name=film$1
    if ! whole himmel film "$name" "$video"; then
        film "$1"
        run himmel film "$name" "$(payload_of "$work/clips/$name.mp4")" "$work/clips/$name.mp4" ${ATTACKS:-$video}
    fi
    if [ "$1" -le "$baseline" ] && ! whole dwtdct film "$name" "$video"; then
        film "$1"
        mark dwtdct film "$name" "$((1000 + $1))" "$work/clips/$name.mp4"
        run dwtdct film "$name" "$((1000 + $1))" "$work/marked.mkv" ${ATTACKS:-$video}
    fi
}

unmarked() { # number: a block of 50 pictures
    local i
    have clean image "block$1" ||
        echo "clean image block$1 $(for i in $(seq $((50 * $1)) $((50 * $1 + 49))); do
            "$build/himmel-world" frame --seed $((20000 + i)) --size 854x480 --t 1; done | "$bench" clean)" >>"$work/log"
}

for i in $(seq 1 200); do
    [ "$i" -gt "$large" ] || one 1080p large$i "$i" 1920x1080 "$length" "$video"
    [ "$i" -gt "$small" ] || one 480p small$i "$i" 854x480 "$length" "$video"
    [ "$i" -gt "$films" ] || own "$i"
    [ "$i" -gt "$images" ] || one image image$i "$i" 854x480 0.04 "$picture"
    [ "$((50 * i))" -gt "$clean" ] || unmarked "$i"
done

# ---- tables ----

awk '
function share(k) { return n[k] ? sprintf("%d of %d (%.1f %%)", r[k], n[k], 100 * r[k] / n[k]) : "" }
$1 == "clean" { for (i = 4; i < NF; i++) { if ($i == "pictures") pictures += $(i+1); if ($i == "found") found += $(i+1); if ($i == "bound" && $(i+1) > bound) bound = $(i+1) } next }
$4 == "MARK" { k = $1 " " $2; for (i = 5; i < NF; i++) { if ($i == "psnr") { q[k] += $(i+1); m[k]++ } if ($i == "ms") ms[k] += $(i+1); if ($i == "worst" && (!(k in w) || $(i+1) < w[k])) w[k] = $(i+1) } marks[k]; next }
{ k = $1 " " ($2 == "image" ? "image" : "film") " " $4; if (!($2 == "image" ? ni[$4]++ : nf[$4]++)) order[++c] = ($2 == "image" ? "image " : "film ") $4
  n[k]++; for (i = 5; i < NF; i++) { if ($i == "right") r[k] += $(i+1); if ($i == "bits") b[k] += $(i+1) } }
END {
  print "| clips | scheme | number | PSNR, mean | PSNR, worst frame | ms a frame, one thread |\n|---|---|---|---|---|---|"
  for (k in marks) { split(k, p, " "); printf "| %s | %s | %d | %.2f dB | %.2f dB | %.1f |\n", p[2], p[1], m[k], q[k] / m[k], w[k], ms[k] / m[k] | "sort" }
  close("sort")
  for (kind = 0; kind < 2; kind++) {
    what = kind ? "image" : "film"
    print "\n| " (kind ? "pictures" : "films") ", attack | himmel: payload right | DWT-DCT: payload right | DWT-DCT: bits right |\n|---|---|---|---|"
    for (i = 1; i <= c; i++) { split(order[i], p, " "); if (p[1] != what) continue
      d = "dwtdct " order[i]; printf "| %s | %s | %s | %s |\n", p[2], share("himmel " order[i]), share(d), n[d] ? sprintf("%.3f", b[d] / n[d]) : "" }
  }
  if (pictures) printf "\nUnmarked pictures: %d, watermark found in %d, stated bound at most %.1g a picture.\n", pictures, found, bound
}' "$work/log"
