#!/bin/sh
# Longer checks: all tests under ASan + UBSan, the server's long tests and its
# tests under TSan, then every fuzz target for FUZZ_SECONDS (60) with its corpus.
set -eu
: "${FUZZ_SECONDS:=60}"
cmake --preset asan >/dev/null
ninja -C build-asan
ASAN_OPTIONS=detect_leaks=1 ctest --test-dir build-asan --output-on-failure --timeout 1800
for what in kill idle load bodies soak; do
    echo "server: $what"
    python3 tests/server/long_server.py build/himmel build/himmel-make-model "$what" build/himmel-responder
done
cmake --preset tsan >/dev/null
ninja -C build-tsan himmel himmel-make-model
TSAN_OPTIONS="suppressions=$PWD/tests/server/tsan.supp halt_on_error=0 exitcode=66" \
    sh -c 'for t in server bodies people; do python3 tests/server/test_$t.py build-tsan/himmel build-tsan/himmel-make-model || exit 1; done'
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
