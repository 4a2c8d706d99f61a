#!/bin/sh
# train.sh - the twin's trainers on the CPU: a resumed run is an uninterrupted one, and himmel opens what they write.
# SPDX-License-Identifier: MIT
# usage: train.sh PYTHON, after make world, himmel-make-model and twin/build.sh build/twin/libworld.so
set -eu
py=$1 d=build/twin/run
rm -rf $d
mkdir -p $d
tiny=build/twin/tiny.safetensors
tensors() { n=$(od -An -tu8 -N8 "$1"); tail -c +$((n + 9)) "$1" | sha256sum; }
quiet() { "$@" >/dev/null 2>&1; }
check() { what=$1; shift; if "$@"; then echo "| trainer                  | $what | ok |"; else echo "| trainer | $what | FAILED |"; exit 1; fi; }
./himmel-world cache --model $tiny --out $d/data --grid 4x4 --scenes 8 --seed 5 --captions 2 2>/dev/null
./himmel-world cache --model $tiny --out $d/data --grid 4x4 --scenes 4 --seed 50 --latent-frames 4 --captions 2 2>/dev/null
./himmel-world cache --model $tiny --out $d/val --grid 4x4 --scenes 4 --seed 900 --held-out --captions 2 2>/dev/null
dit="twin/train.py --device cpu --f32 --model $tiny --data $d/data --batch-tokens 128 --warmup 2 --lr 0.002 --seed 3 --subject 3"
# shellcheck disable=SC2086
{
    "$py" $dit --steps 8 --val $d/val --state $d/a.state --out $d/a.st --log $d/a.log >/dev/null
    "$py" $dit --steps 5 --state $d/b.state --out $d/b.st >/dev/null
    check "5 steps are not 8" [ "$(tensors $d/a.st)" != "$(tensors $d/b.st)" ]
    "$py" $dit --steps 8 --state $d/b.state --out $d/b.st >/dev/null
    check "resumed = uninterrupted, weights" [ "$(tensors $d/a.st)" = "$(tensors $d/b.st)" ]
    check "resumed = uninterrupted, state" [ "$(tensors $d/a.state)" = "$(tensors $d/b.state)" ]
    check "log in the C trainer's form" grep -q '^step 8 loss [0-9.]* grad [0-9.]* lr [0-9.]* samples/s [0-9.]* GFLOPS' $d/a.log
    check "validation" grep -q '^validation [0-9.]* at step 8' $d/a.log
    ref="twin/refine.py --device cpu --f32 --lib build/twin/libworld.so --batch 1 --crop 16 --records 4 --warmup 2"
    "$py" $ref --model $d/a.st --steps 4 --state $d/r.state --out $d/r.st >/dev/null
    "$py" $ref --model $d/a.st --steps 2 --state $d/s.state --out $d/s.st >/dev/null
    "$py" $ref --model $d/a.st --steps 4 --state $d/s.state --out $d/s.st >/dev/null
}
check "refiner: resumed = uninterrupted" [ "$(tensors $d/r.state)" = "$(tensors $d/s.state)" ]
check "the C trainer goes on from the twin's state" quiet build/himmel train dit --model $tiny --data $d/data --state $d/a.state --out $d/c.st \
    --batch-tokens 64 --steps 10 --f32
check "himmel makes a picture" quiet build/himmel image dusk --model $d/r.st --size 64x64 --steps 2 -o $d/dusk.png
check "the picture is there" test -s $d/dusk.png
