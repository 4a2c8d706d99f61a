#!/bin/sh
# Files of at most 800 lines, headers 400, functions 120 (tables of data are files named *_data.c).
set -eu
bad=0
for f in $(find src include tests fuzz tools bench -name '*.[ch]' | grep -v '_data\.c$'); do
    n=$(wc -l <"$f")
    case $f in *.h) max=400 ;; *) max=800 ;; esac
    [ "$n" -le $max ] || { echo "$f: $n lines, at most $max"; bad=1; }
    awk -v f="$f" '/^[a-zA-Z].*\)[^;]*$|^[a-zA-Z].*[,(]$/ { name = $0; at = NR } /^\{/ { start = NR }
        /^\}/ { if (start && NR - start > 120) { print f ":" start ": function of " NR - start " lines (" name ")"; e = 1 } start = 0 }
        END { exit e }' "$f" || bad=1
done
[ $bad = 0 ] && echo "sizes: ok"
exit $bad
