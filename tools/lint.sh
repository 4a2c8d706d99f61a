#!/bin/sh
# Layers, file and function sizes, exported symbols, cppcheck where it is installed.
set -eu
sh tools/check_layers.sh
sh tools/check_sizes.sh
sh tools/check_symbols.sh
if command -v cppcheck >/dev/null 2>&1; then
    cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 -j2 \
        --suppress=missingIncludeSystem --suppress=legacyUninitvar -Iinclude -Isrc -D_GNU_SOURCE -DHIMMEL_VERSION='""' '-DAV_STRINGIFY(s)=#s' src
fi
echo "lint: ok"
