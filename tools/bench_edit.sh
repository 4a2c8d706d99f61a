#!/bin/bash
# The editing tools on held-out scenes: measures, and writes the table of docs/editing.md and its sheet.
#   tools/bench_edit.sh BUILD WORK SCENES       WORK/log has a line for every figure, films stay in WORK
set -eu
build=$1 work=$2 scenes=$3
mkdir -p "$work"
[ "$scenes" = 0 ] || "$build/bench_edit" weights/himmel-1.safetensors eval/probe.safetensors "$work" "$scenes" >"$work/log"

# figure TOOL NAME: "mean worst-low worst-high count"
figure() { awk -v t="$1" -v f="$2" '$1 == t && $2 == f { s += $4; n++; if (n == 1 || $4 < lo) lo = $4; if (n == 1 || $4 > hi) hi = $4; v[n] = $4 }
    END { if (!n) exit; for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (v[j] < v[i]) { x = v[i]; v[i] = v[j]; v[j] = x }
          printf "%.2f %.2f %.2f %d %.2f", s / n, lo, hi, n, (v[int((n + 1) / 2)] + v[int((n + 2) / 2)]) / 2 }' "$work/log"; }
mean() { figure "$1" "$2" | cut -d' ' -f1; }
share() { figure "$1" "$2" | awk '{ printf "%d of %d", $1 * $4 + 0.5, $4 }'; }
spread() { figure "$1" "$2" | awk '{ printf "median %s, %s to %s", $5, $2, $3 }'; }
{
    echo "| tool | measured | bar | figure |"
    echo "|---|---|---|---|"
    echo "| animate | first frame against the picture, dB | ≥ 30 | $(spread animate psnr) |"
    echo "| animate | flow relative to footage | 0.7 to 1.3 | $(spread animate flow) |"
    echo "| extend | step across the seam relative to its neighbours | ≤ 1.2 | $(spread extend seam) |"
    echo "| extend | flow of the new part relative to footage | 0.7 to 1.3 | $(spread extend flow) |"
    echo "| extend | the probe sees the same time, weather, place, subject, side before and after | all | $(share extend time), $(share extend weather), $(share extend place), $(share extend subject), $(share extend side) |"
    echo "| loop | step from the last to the first frame relative to its neighbours | ≤ 1.2 | $(spread loop seam) |"
    echo "| loop | step where the new part begins | ≤ 1.2 | $(spread loop start) |"
    echo "| loop | flow of the new part relative to footage | 0.7 to 1.3 | $(spread loop flow) |"
    echo "| blend | step where it leaves the first and where it meets the second film, relative to their neighbours | ≤ 1.2 | $(spread blend leaves); $(spread blend arrives) |"
    echo "| blend | the last frame of the first and the first of the second film against the footage, dB | ≥ 30 | $(spread blend first); $(spread blend second) |"
    echo "| blend | flow of the new part relative to the mean of both films' | 0.7 to 1.3 | $(spread blend flow) |"
    echo "| storyboard | flow relative to the mean of both scenes' | 0.7 to 1.3 | $(spread board flow) |"
    echo "| storyboard | frames at the cards' seconds against the cards, dB | ≥ 30 | $(spread board first); $(spread board second) |"
    echo "| inpaint | largest difference outside the mask, before the mark, of 255 | 0 | $(spread inpaint outside) |"
    echo "| inpaint | the probe finds the balloon (in footage: $(share footage found)) | ≥ 70 % | $(share inpaint found) |"
    echo "| inpaint | flow inside the mask relative to footage of the balloon | 0.7 to 1.3 | $(spread inpaint flow) |"
    echo "| inpaint | the balloon is gone (in footage without: $(share footage gone)) | ≥ 80 % | $(share remove gone) |"
    echo "| remix | distance to the source: subtle, mild, strong | rising | $(mean subtle distance), $(mean mild distance), $(mean strong distance) |"
    echo "| remix | flow relative to footage of what was asked for: mild, strong | 0.7 to 1.3 | $(spread mild flow); $(spread strong flow) |"
    echo "| remix | of time, weather and place asked for, the probe sees: subtle, mild, strong | rising | $(mean subtle agrees), $(mean mild agrees), $(mean strong agrees) of 3 |"
} >"$work/table.md"
cat "$work/table.md"
awk -v t="$work/table.md" '/<!-- table -->/ { print; while ((getline l < t) > 0) print l; skip = 1; next } /<!-- end -->/ { skip = 0 } !skip' docs/editing.md >"$work/editing.md"
cp "$work/editing.md" docs/editing.md

# rows of four frames: the footage, then what each tool made of it
rows=""
for i in 0 1 2 3; do
    [ -s "$work/$i-strong.mp4" ] || continue
    for f in with animate extend loop blend board remove inpaint mild strong; do
        ffmpeg -nostdin -v error -y -i "$work/$i-$f.mp4" -vf "trim=start=$(case $f in extend | blend) echo 2.6 ;; *) echo 0.4 ;; esac),fps=1.6,scale=192:-1,tile=4x1" -frames:v 1 "$work/row-$i-$f.png"
        rows="$rows $work/row-$i-$f.png"
    done
done
if [ -n "$rows" ]; then
    n=0 in="" pads=""
    for r in $rows; do in="$in -i $r"; pads="$pads[$n:v]"; n=$((n + 1)); done
    # shellcheck disable=SC2086
    ffmpeg -nostdin -v error -y $in -filter_complex "${pads}vstack=inputs=$n" -frames:v 1 -q:v 4 docs/editing.jpg
fi
