#!/bin/bash
# test_train.sh - the trainer from outside: footage, steps, exact resume, joined weights, evaluation.   SPDX-License-Identifier: MIT
# usage: test_train.sh HIMMEL MAKE_MODEL. A tiny model and a few steps: what is checked is bytes, logs and manners.
himmel=$1 make_model=$2
dir=$(mktemp -d /tmp/himmel-train-XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
unset HIMMEL_MODEL HIMMEL_ISA
passed=0 failed=0
check() { local what=$1; shift; if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $what" >&2; fi; }
run() { timeout 200 "$himmel" "$@" >out.txt 2>err.txt </dev/null; }

# The tensors of a safetensors file without its header, which tells seconds.
tensors() { local n; n=$(od -An -tu8 -N8 "$1"); tail -c +$((n + 9)) "$1"; }
same() { cmp -s <(tensors "$1") <(tensors "$2"); }

"$make_model" tiny.safetensors || exit 1

# ---- footage ----
small=(--model tiny.safetensors --grid-width 4 --grid-height 4)
check "cache: pictures" run train cache "${small[@]}" --out data --scenes 8 --shards 1 --seed 5
check "cache: clips" run train cache "${small[@]}" --out data --scenes 4 --shards 1 --seed 50 --latent-frames 2
check "cache: held-out" run train cache "${small[@]}" --out val --scenes 4 --shards 1 --seed 900 --held-out
check "cache: again" run train cache "${small[@]}" --out data2 --scenes 8 --shards 1 --seed 5
check "the same seeds give other footage" cmp -s data/4x4-1-*.st data2/4x4-1-*.st

# ---- transformer: 6 steps are 3 and 3 ----
dit=(--model tiny.safetensors --data data --val val --batch-tokens 64 --warmup 2 --lr 0.002 --threads 1 --seed 3)
check "dit: 6 steps" run train dit "${dit[@]}" --steps 6 --val-every 6 --log six.log --out six.st --state six.state
check "dit: 3 steps" run train dit "${dit[@]}" --steps 3 --out three.st --state three.state
check "3 steps are 6 steps" test -n "$(cmp <(tensors three.st) <(tensors six.st))"
check "dit: 3 more" run train dit "${dit[@]}" --steps 6 --val-every 6 --log three.log --out three.st --state three.state
check "a resumed run has other weights" same six.st three.st
check "a resumed run has other moments" same six.state three.state
check "a resumed run validates otherwise" cmp -s <(grep -o 'validation [0-9.]*' six.log) <(grep -o 'validation [0-9.]*' three.log)
check "no validation in the log" grep -q 'validation [0-9]' six.log
check "the manifest's hash is not in the weights" grep -q himmel.data_manifest_sha256 <(head -c 65536 six.st)
head -c 1000 three.state >cut.state
run train dit "${dit[@]}" --steps 6 --out cut.st --state cut.state
check "a cut state is accepted" test $? != 0 -a ! -e cut.st
check "a cut state is not named: $(cat err.txt)" grep -q cut.state err.txt

# ---- refiner: the same ----
ref=(--model tiny.safetensors --batch 1 --crop 16 --records 2 --threads 1 --warmup 2 --val-every 100)
check "refiner: 4 steps" run train refiner "${ref[@]}" --steps 4 --out r4.st --state r4.state
check "refiner: 2 steps" run train refiner "${ref[@]}" --steps 2 --out r2.st --state r2.state
check "refiner: 2 more" run train refiner "${ref[@]}" --steps 4 --out r2.st --state r2.state
check "a resumed refiner has other weights" same r4.st r2.st

# ---- joined, used, evaluated ----
check "join" run train join --model six.st --from r4.st --part refiner. --out joined.st
check "image by the joined weights" run image dusk --model joined.st --size 64x64 --steps 2 -o dusk.png
check "no picture" test -s dusk.png
check "eval recon: $(cat err.txt)" run eval recon --model joined.st --clips 1 --report recon.json
check "recon.json holds no PSNR" grep -qi psnr recon.json

# ---- bad words ----
run train dit --model tiny.safetensors --data nowhere --out x.st --state x.state
check "a missing folder is not named: $(cat err.txt)" grep -q nowhere err.txt
run train dit --model tiny.safetensors --data data --out x.st --state x.state --lr much
check "a bad number is not named: $(cat err.txt)" grep -q much err.txt
check "something is left" test ! -e x.st -a ! -e x.state

echo "$passed passed, $failed failed"
test "$failed" = 0
