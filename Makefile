# himmel: the front door. Everything real is in CMakeLists.txt.
#   make          build/himmel and build/himmel-parity       make demo       a film from a sentence
#   make test     all tests, up to 15 minutes                make test-long  sanitizers, fuzzing, long checks
#   make bench    the figures of README and docs             make lint       layers, sizes, symbols, cppcheck
#   make world    the renderer alone, one compiler call      make install    PREFIX=/usr/local
#   make test-twin    the PyTorch twin (docs/twin.md)
.DEFAULT_GOAL := all
.PHONY: all deps test test-long bench bench-edit lint demo world test-twin install clean
PREFIX ?= /usr/local
PROMPT ?= two red hot-air balloons above a calm sea at sunset, the camera pans left

all: build/build.ninja
	@ninja -C build

build/build.ninja: | deps
	@cmake --preset release -DCMAKE_INSTALL_PREFIX=$(PREFIX) >/dev/null

deps:
	@sh tools/install_deps.sh

demo: all
	@build/himmel "$(PROMPT)" -o demo.mp4 --seed 7
	@echo "demo.mp4 is ready: $(PROMPT)"

test: all
	@sh tools/test.sh

test-long: all
	@sh tools/test_long.sh

bench: all
	@sh tools/bench.sh

bench-edit: all
	@bash tools/bench_edit.sh build build/bench-edit 6

lint: all
	@sh tools/lint.sh

# Needs a compiler and libm, nothing else: footage can be made on any machine.
WORLD = $(wildcard src/base/*.c src/world/*.c) $(shell cat tools/world_sources.txt)
world: himmel-world
himmel-world: $(WORLD) $(wildcard src/base/*.h src/world/*.h src/train/*.h src/text/*.h src/models/himmel/*.h)
	$(CC) -std=c11 -O3 -D_GNU_SOURCE -fopenmp -Iinclude -Isrc -o $@ $(WORLD) -lm

# The PyTorch twin against the C code (installs python3-torch); not part of make test.
test-twin: all
	@sh tests/twin/test.sh

install: all
	@cmake --install build

clean:
	rm -rf build build-*
