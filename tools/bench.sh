#!/bin/sh
# The figures of README and docs: times himmel end to end, prints where the time goes, writes docs/bench.md.
# Median of RUNS (3) runs; the machine's measured peak (bf16 matrix multiplication) stands beside every figure, since bars in
# seconds scale with peak / 400 GFLOPS.
set -eu
: "${RUNS:=3}"
out=docs/bench.md
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
prompt="two red hot-air balloons above a calm sea at sunset"

# one NAME ARGS...: median wall seconds, peak RSS in MiB
one() {
    name=$1
    shift
    : >"$dir/times"
    i=0
    while [ $i -lt "$RUNS" ]; do
        /usr/bin/env bash -c 'TIMEFORMAT="%R"; time "$@" >/dev/null 2>"$0"' "$dir/err" "$@" 2>>"$dir/times" || { cat "$dir/err" >&2; exit 1; }
        i=$((i + 1))
    done
    sort -n "$dir/times" | sed -n "$((RUNS / 2 + 1))p" >"$dir/median"
    echo "| $name | $(cat "$dir/median") s |" | tee -a "$dir/rows"
}

build/bench_ops >"$dir/ops"
one "film, 10 s, 1920x1080, 24 fps" build/himmel "$prompt" -o "$dir/a.mp4" --size 1920x1080 --seconds 10
one "film, 10 s, 854x480, 24 fps" build/himmel "$prompt" -o "$dir/b.mp4" --size 854x480 --seconds 10
one "film, 3 s, 512x288, 24 fps" build/himmel "$prompt" -o "$dir/d.mp4" --size 512x288 --seconds 3
one "picture, 1024x576" build/himmel image "$prompt" -o "$dir/c.png" --size 1024x576
build/himmel "$prompt" -o "$dir/a.mp4" --json >"$dir/events"
# Training as it really runs, optimiser and batches included, and the renderer that feeds it.
export OMP_WAIT_POLICY=active
build/himmel train cache --model weights/himmel-1.safetensors --out "$dir/data" --scenes 96 --shards 1 --seed 1 >/dev/null 2>&1
build/himmel train cache --model weights/himmel-1.safetensors --out "$dir/data" --scenes 16 --shards 1 --seed 1 --latent-frames 4 >/dev/null 2>&1
build/himmel train dit --model weights/himmel-1.safetensors --data "$dir/data" --state "$dir/dit.state" --out "$dir/dit.st" \
    --steps 50 --batch-tokens 3456 --log "$dir/dit.log" >/dev/null 2>&1
build/himmel train refiner --model weights/himmel-1.safetensors --state "$dir/ref.state" --out "$dir/ref.st" \
    --minutes 1 --log "$dir/ref.log" >/dev/null 2>&1
build/himmel-world bench >"$dir/world" 2>&1
{
    echo "# Speed"
    echo
    echo "Written by \`make bench\` on $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) cores; median of $RUNS runs, weights $(sha256sum weights/himmel-1.safetensors | cut -c1-12)."
    echo
    echo "| what | wall time |"
    echo "|---|---|"
    cat "$dir/rows"
    echo
    echo "Where the time of the first row goes (\`himmel ... --json\`, last line):"
    echo
    echo '```'
    tail -1 "$dir/events" | sed 's,"output":"[^"]*","output":"film.mp4",'
    echo '```'
    echo
    echo "Training steps and their share of the machine's peak (\`build/bench_ops\`):"
    echo
    echo '```'
    cat "$dir/ops"
    echo '```'
    echo
    echo "The same as training runs it, with optimiser and batches (last line of the logs of \`himmel train dit --batch-tokens 3456 --steps 50\` and \`himmel train refiner --minutes 1\`), and the renderer (\`himmel-world bench\`):"
    echo
    echo '```'
    grep "of peak" "$dir/dit.log" | tail -1
    grep "of peak" "$dir/ref.log" | tail -1
    cat "$dir/world"
    echo '```'
} >"$out"
echo "wrote $out"
