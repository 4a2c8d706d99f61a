#!/bin/sh
# gpu.sh - half an hour of a GPU: from a clone to weights, in steps of at most nine minutes.   SPDX-License-Identifier: MIT
#
#   twin/gpu.sh STEP [--rehearse]     STEP: render, train, clips, refine, all (the four after each other)
#   twin/gpu.sh join FILE PART...     afterwards, anywhere: parts -> one weights file, checked
#
# Every step leaves what the next one continues from in $RUN (build/gpu) and copies what is to be brought home (log, weights in
# parts of 16 MiB) to $OUT (build/gpu/out). --rehearse: the same on a CPU at toy scale, minutes in all. docs/twin.md says more.
set -eu
cd "$(dirname "$0")/.."
PY=${PYTHON:-python3}
RUN=${RUN:-build/gpu}
OUT=${OUT:-$RUN/out}

if [ "${1:-}" = join ]; then
    file=$2
    shift 2
    cat "$@" >"$file.part"
    dir=$(dirname "$1")
    want=$(cut -d' ' -f1 "$dir/weights.sha256")
    have=$(sha256sum "$file.part" | cut -d' ' -f1)
    [ "$want" = "$have" ] || { echo "gpu.sh: the parts give $have, $want was written; is one missing?" >&2; exit 1; }
    mv "$file.part" "$file"
    echo "$file: $(wc -c <"$file") bytes, $have"
    exit 0
fi

step=${1:-}
if [ "${2:-}" = --rehearse ]; then
    dev=cpu lib=host scale=1
    pictures=12 short=4 long=2 t_render=60 t_train=40 t_clips=30 t_refine=25
    model_size="--layers 2 --heads 2" tokens=480 every=50
    refiner="--batch 1 --crop 16 --records 8 --width 16 --blocks 1 --width2 16 --convs2 1 --val-every 100000" batch=2 known_args="--warmup 10"
    grids="8x5 5x8" limit=200
else
    dev=cuda lib= scale=32
    pictures=640 short=192 long=96 t_render=440 t_train=500 t_clips=500 t_refine=300
    model_size="--layers 7 --heads 6" tokens=27648 every=2000
    refiner="--batch 16 --crop 64 --records 512" batch=16 known_args="--warmup 200"
    grids="16x9 9x16 12x12 14x11 11x14 18x8" limit=540
fi
model=weights/himmel-1.safetensors

footage() { # kind latent-frames scenes-a-shard shards seed seconds grid [--held-out]
    kind=$1 t=$2 n=$3 shards=$4 seed=$5 seconds=$6 grid=$7
    shift 7
    "$PY" twin/world.py --lib "$RUN/libworld.so" --model $model --out "$RUN/$kind" --grid "$grid" --latent-frames "$t" --scenes "$n" \
        --shards "$shards" --seed "$seed" --seconds "$seconds" --device $dev --batch $batch "$@"
}

# The widest share of the time goes to 10 s clips in 16:9; every other shape is there too. No set starts a shard after its time.
render() {
    sh twin/build.sh "$RUN/libworld.so" $lib
    k=0 others=$(($(echo $grids | wc -w) - 1))
    for g in $grids; do
        many=$scale part=$others
        [ $k = 0 ] || many=$(((scale + 3) / 4))
        [ $k = 0 ] && part=1
        footage data 1 $pictures $many $((50000000 + k * 100000000)) $((t_render / 8 / part)) "$g"
        footage data 4 $short $many $((70000000 + k * 100000000)) $((t_render / 8 / part)) "$g"
        footage data 11 $long $many $((90000000 + k * 100000000)) $((t_render / 5 / part)) "$g"
        k=$((k + 1))
    done
    g=${grids%% *}
    footage val 1 $((pictures / 4)) 1 900000 $t_render "$g" --held-out
    footage val 4 $((short / 4)) 1 950000 $t_render "$g" --held-out
}

bring() { # weights-file
    mkdir -p "$OUT"
    rm -f "$OUT"/weights.*
    split -b 16777216 -d "$1" "$OUT/weights."
    sha256sum "$1" >"$OUT/weights.sha256"
    cp "$RUN/train.log" "$OUT/train.log"
    [ ! -f "$RUN/refine.log" ] || cp "$RUN/refine.log" "$OUT/refine.log"
}

learn() { # fresh stage's own options
    # shellcheck disable=SC2086
    "$PY" twin/train.py --device $dev --model $model --fresh --data "$RUN/data" --val "$RUN/val" --state "$RUN/dit.state" --out "$RUN/dit.st" \
        --log "$RUN/train.log" --batch-tokens $tokens --save-every $every --val-every 1000000 --subject 3 --ema 0.9995 $model_size $known_args "$@"
    bring "$RUN/dit.st"
}

run() {
    case $1 in
    render) render ;;
    train) learn --seconds $t_train --frames 4 --images 0.6 ;;                  # pictures, then short clips among them
    clips) learn --seconds $t_clips --frames 11 --images 0.25 --decay 0.4 ;;    # whole clips; the rate falls to nothing
    refine)
        # shellcheck disable=SC2086
        "$PY" twin/refine.py --device $dev --lib "$RUN/libworld.so" --model "$RUN/dit.st" --state "$RUN/refine.state" --out "$RUN/himmel-1.st" \
            --log "$RUN/refine.log" --seconds $t_refine $refine_start $refiner
        bring "$RUN/himmel-1.st"
        ;;
    *) echo "usage: twin/gpu.sh render|train|clips|refine|all [--rehearse], or join FILE PART..." >&2; exit 2 ;;
    esac
}

refine_start=""
[ $dev = cuda ] || refine_start=--fresh # toy sizes; on a GPU the trained refiner goes on
mkdir -p "$RUN" "$OUT"
steps=$step
[ "$step" != all ] || steps="render train clips refine"
for s in $steps; do
    t0=$(date +%s)
    run "$s"
    t=$(($(date +%s) - t0))
    echo "gpu.sh: $s took $t s of at most $limit" | tee -a "$RUN/steps.log"
    [ $t -le $limit ] || { echo "gpu.sh: $s overran its limit" >&2; exit 1; }
done
ls -l "$OUT"
