#!/bin/sh
# gpu.sh - a quarter of an hour of a GPU: from a clone to weights, in steps of at most ten minutes.   SPDX-License-Identifier: MIT
#
#   twin/gpu.sh STEP [--rehearse]     STEP: render, smoke, train, refine, all (the four after each other); probe (apart: it scores)
#   twin/gpu.sh join FILE PART...     afterwards, anywhere: parts -> one weights file, checked
#
# smoke may run beside render, before train; probe beside anything. Every step leaves what the next one continues from in $RUN
# (build/gpu) and copies what is to be brought home (log, weights in parts of 16 MiB) to $OUT (build/gpu/out). --rehearse: the same
# on a CPU at toy scale, minutes in all. docs/twin.md says more.
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
    dev=cpu lib=host shards=1
    pictures=12 short=4 long=2 t_most=20 t_few=5 t_smoke=20 t_train=60 t_refine=25
    model_size="--layers 2 --heads 2" tokens=480 every=50
    refiner="--batch 1 --crop 16 --records 8 --width 16 --blocks 1 --width2 16 --convs2 1 --val-every 100000" batch=2 known_args="--warmup 10"
    probe="--clips 48 --render-seconds 10 --seconds 20 --batch 8 --test 16"
    grids="5x8" limit=200
else
    dev=cuda lib= shards=1000
    pictures=640 short=192 long=96 t_most=${T_MOST:-65} t_few=${T_FEW:-25} t_smoke=${T_SMOKE:-60} t_train=${T_TRAIN:-430} t_refine=${T_REFINE:-80}
    model_size="--layers 8 --heads 6" tokens=27648 every=4000
    refiner="--batch 16 --crop 64 --records 384 --val-every 100000" batch=16 known_args="--warmup 200"
    probe="--clips 40000 --render-seconds 20 --seconds ${T_PROBE:-50} --test 1000"
    grids="9x16 12x12 14x11 11x14 18x8" limit=600
fi
model=weights/himmel-1.safetensors
wide=16x9
[ $dev = cuda ] || wide=8x5
export OMP_WAIT_POLICY=PASSIVE TORCHINDUCTOR_CACHE_DIR="${TORCHINDUCTOR_CACHE_DIR:-$PWD/$RUN/inductor}"

footage() { # kind latent-frames scenes-a-shard shards seed seconds grid [--held-out]
    kind=$1 t=$2 n=$3 many=$4 seed=$5 seconds=$6 grid=$7
    shift 7
    OMP_NUM_THREADS=3 "$PY" twin/world.py --lib "$RUN/libworld.so" --model $model --out "$RUN/$kind" --grid "$grid" --latent-frames "$t" --scenes "$n" \
        --shards "$many" --seed "$seed" --seconds "$seconds" --device $dev --batch $batch "$@" >>"$RUN/render.log" 2>&1
}

library() { [ -f "$RUN/libworld.so" ] || sh twin/build.sh "$RUN/libworld.so" $lib; }

# All sets side by side: composition is the host's work, pixels the device's. No set starts a shard after its time.
render() {
    library
    footage smoke 1 $((pictures / 4)) 1 30000000 $t_most $wide &
    footage smoke 4 $((short / 4)) 1 31000000 $t_most $wide &
    footage smoke 11 $(((long + 3) / 4)) 1 32000000 $t_most $wide &
    footage val 1 $((pictures / 4)) 1 900000 $t_most $wide --held-out &
    footage val 4 $((short / 4)) 1 950000 $t_most $wide --held-out &
    footage data 1 $pictures $shards 50000000 $t_most $wide &
    footage data 4 $short $shards 1070000000 $t_most $wide &
    footage data 4 $short $shards 2070000000 $t_most $wide &
    footage data 11 $long $shards 3090000000 $t_most $wide &
    footage data 11 $long $shards 4090000000 $t_most $wide &
    footage data 11 $long $shards 5090000000 $t_most $wide &
    k=6000000000
    for g in $grids; do
        footage data 1 $pictures $shards $k $t_few "$g" &
        footage data 4 $short $shards $((k + 100000000)) $t_few "$g" &
        case $g in 9x16|12x12) footage data 11 $long $shards $((k + 200000000)) $t_few "$g" & ;; esac
        k=$((k + 1000000000))
    done
    wait
    cat "$RUN/render.log"
}

bring() { # weights-file
    mkdir -p "$OUT"
    rm -f "$OUT"/weights.*
    split -b 16777216 -d "$1" "$OUT/weights."
    sha256sum "$1" >"$OUT/weights.sha256"
    cp "$RUN/train.log" "$OUT/train.log"
    [ ! -f "$RUN/refine.log" ] || cp "$RUN/refine.log" "$OUT/refine.log"
}

learn() { # its own options
    # shellcheck disable=SC2086
    "$PY" twin/train.py --device $dev --lib "$RUN/libworld.so" --model $model --fresh --log "$RUN/train.log" --batch-tokens $tokens --save-every $every \
        --val-every 1000000 --subject 3 --t-mean 1.2 --images 0.5 --frames 11 --decay 0.9 --ema 0.9995 --graph 1 $model_size $known_args "$@"
}

run() {
    case $1 in
    render) render ;;
    smoke) # a minute on little footage, also beside render: kernels are compiled, and what is wrong shows
        n=0
        until [ "$(ls "$RUN/smoke"/*.st 2>/dev/null | wc -l)" -ge 3 ] || [ $n -ge 40 ]; do sleep 1; n=$((n + 1)); done
        learn --data "$RUN/smoke" --state "$RUN/smoke.state" --out "$RUN/smoke.st" --seconds $t_smoke
        ;;
    train)
        learn --data "$RUN/data" --val "$RUN/val" --state "$RUN/dit.state" --out "$RUN/dit.st" --seconds $t_train
        bring "$RUN/dit.st"
        ;;
    refine)
        # shellcheck disable=SC2086
        "$PY" twin/refine.py --device $dev --lib "$RUN/libworld.so" --model "$RUN/dit.st" --state "$RUN/refine.state" --out "$RUN/himmel-1.st" \
            --log "$RUN/refine.log" --seconds $t_refine --noise 0.8 --lr 3e-4 --lr-muon 3e-3 --detail 12 $refine_start $refiner
        bring "$RUN/himmel-1.st"
        ;;
    probe)
        library
        # shellcheck disable=SC2086
        "$PY" twin/probe.py --device $dev --lib "$RUN/libworld.so" --out "$OUT/probe.safetensors" $probe
        ;;
    *) echo "usage: twin/gpu.sh render|smoke|train|refine|all|probe [--rehearse], or join FILE PART..." >&2; exit 2 ;;
    esac
}

refine_start=""
[ $dev = cuda ] || refine_start=--fresh # toy sizes; on a GPU the trained refiner goes on
mkdir -p "$RUN" "$OUT"
steps=$step
[ "$step" != all ] || steps="render smoke train refine"
for s in $steps; do
    t0=$(date +%s)
    run "$s"
    t=$(($(date +%s) - t0))
    echo "gpu.sh: $s took $t s of at most $limit" | tee -a "$RUN/steps.log"
    [ $t -le $limit ] || { echo "gpu.sh: $s overran its limit" >&2; exit 1; }
done
ls -l "$OUT"
