# himmel: the front door. Everything real is in CMakeLists.txt.
#   make          build/himmel and build/himmel-parity       make demo       a film from a sentence
#   make test     all tests, up to 15 minutes                make test-long  sanitizers, fuzzing, long checks
#   make bench    the figures of README and docs             make lint       layers, sizes, symbols, cppcheck
#   make world    the renderer alone, one compiler call      make install    PREFIX=/usr/local
.DEFAULT_GOAL := all
.PHONY: all deps test test-long bench bench-edit lint demo world install clean
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
world: himmel-world
himmel-world: $(wildcard src/base/*.[ch] src/world/*.[ch]) tools/himmel_world.c
	$(CC) -std=c11 -O3 -D_GNU_SOURCE -fopenmp -Iinclude -Isrc -o $@ $(wildcard src/base/*.c src/world/*.c) tools/himmel_world.c -lm

install: all
	@cmake --install build

clean:
	rm -rf build build-*
