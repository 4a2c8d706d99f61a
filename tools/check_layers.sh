#!/bin/sh
# A file includes only what its layer may see (ARCHITECTURE.md). cli: himmel.h and server.h only. One file includes dnnl.h;
# only media (and the visible mark's encoder-free drawing) knows libav; getenv only in main.
set -eu
bad=0
# layer: layers it may include
allow() {
    case $1 in
    base) echo "base" ;;
    tensor) echo "base tensor" ;;
    formats) echo "base tensor formats" ;;
    text) echo "base tensor formats text" ;;
    diffusion) echo "base tensor diffusion" ;;
    models) echo "base tensor formats text diffusion models" ;;
    media) echo "base media" ;;
    provenance) echo "base media provenance" ;;
    world) echo "base world" ;;
    film) echo "base tensor formats text diffusion models media provenance world film" ;;
    train) echo "base tensor formats text diffusion models media provenance world film train" ;;
    server) echo "base server" ;;
    cli) echo "cli server" ;;
    esac
}
for layer in base tensor formats text diffusion models media provenance world film train server cli; do
    ok=$(allow $layer)
    for f in $(find src/$layer -name '*.[ch]'); do
        for inc in $(sed -n 's/^#include "\([a-z0-9_]*\)\/.*/\1/p' "$f"); do
            case " $ok " in
            *" $inc "*) ;;
            *) echo "$f: layer $layer may not include $inc/"; bad=1 ;;
            esac
        done
    done
done
for f in $(grep -rlE '#include <(oneapi/)?dnnl' src | grep -v '^src/tensor/dnnl\.[ch]$'); do echo "$f: only src/tensor/dnnl.c includes oneDNN"; bad=1; done
for f in $(grep -rlE '#include <lib(av|sw)' src | grep -v '^src/media/'); do echo "$f: only src/media includes libav"; bad=1; done
for f in $(grep -rlw 'getenv' src | grep -v '^src/cli/main\.c$'); do echo "$f: getenv belongs in main"; bad=1; done
for f in $(grep -rlE '\b(printf|fprintf\(stderr|exit)\(' src | grep -vE '^src/(cli|server)/'); do
    grep -nE '(^|[^a-z_])(printf|exit)\(|fprintf\((stderr|stdout)' "$f" && { echo "$f: libraries do not print or exit"; bad=1; } || true
done
[ $bad = 0 ] && echo "layers: ok"
exit $bad
