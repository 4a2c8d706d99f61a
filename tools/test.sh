#!/bin/sh
# All tests. The last line is "N passed, N failed": programs of CTest (each prints its own count of checks).
set -u
ctest --test-dir build --output-on-failure --timeout 600 "$@" | tee build/test.log | grep -vE '^ *Start |^Test project|^Internal ctest'
passed=$(grep -cE '^ *[0-9]+/[0-9]+ Test .* Passed' build/test.log)
total=$(grep -cE '^ *[0-9]+/[0-9]+ Test ' build/test.log)
echo "$passed passed, $((total - passed)) failed"
[ "$total" -gt 0 ] && [ "$passed" = "$total" ]
