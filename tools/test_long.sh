#!/bin/sh
# Longer checks: all tests under ASan + UBSan, then every fuzz target for FUZZ_SECONDS (60) with its corpus.
set -eu
: "${FUZZ_SECONDS:=60}"
cmake --preset asan >/dev/null
ninja -C build-asan
ASAN_OPTIONS=detect_leaks=1 ctest --test-dir build-asan --output-on-failure --timeout 1800
command -v clang >/dev/null || { echo "clang is missing: apt-get install clang"; exit 1; }
cmake --preset fuzz >/dev/null
for f in fuzz/fuzz_*.c; do
    n=$(basename "$f" .c)
    ninja -C build-fuzz "$n"
    mkdir -p "build-fuzz/corpus/$n"
    seeds="fuzz/corpus/$n"
    # shellcheck disable=SC2086
    "build-fuzz/$n" -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=2048 "build-fuzz/corpus/$n" $( [ -d "$seeds" ] && echo "$seeds" )
done
echo "test-long: ok"
