#!/bin/sh
# The gallery: 24 uncurated films, prompts of docs/gallery/prompts.txt, seeds 1-24, 3 s at 512x288: docs/gallery/01.mp4 to 24.mp4,
# one sheet of their first, middle and last pictures, sheet.jpg, and the first six together, sample.webp.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
i=0
while read -r prompt; do
    i=$((i + 1))
    n=$(printf %02d $i)
    build/himmel "$prompt" -o "$dir/$n.mp4" --seed $i --seconds 3 --size 512x288 --quiet </dev/null
    cp "$dir/$n.mp4" "docs/gallery/$n.mp4"
    ffmpeg -loglevel error -y -i "$dir/$n.mp4" -vf "select='eq(n,0)+eq(n,35)+eq(n,71)',scale=256:-1,tile=3x1:margin=1" \
        -frames:v 1 "$dir/$n.png"
done <docs/gallery/prompts.txt
ffmpeg -loglevel error -y -pattern_type glob -i "$dir/*.png" -vf "tile=2x12" -frames:v 1 -q:v 4 docs/gallery/sheet.jpg
ffmpeg -loglevel error -y -i "$dir/01.mp4" -i "$dir/02.mp4" -i "$dir/03.mp4" -i "$dir/04.mp4" -i "$dir/05.mp4" -i "$dir/06.mp4" \
    -filter_complex "xstack=inputs=6:layout=0_0|w0_0|0_h0|w0_h0|0_h0+h1|w0_h0+h1,fps=12,scale=640:-2:flags=lanczos" \
    -loop 0 -quality 60 -compression_level 5 docs/gallery/sample.webp
echo "wrote docs/gallery/sheet.jpg, sample.webp and 24 films, $(du -sk docs/gallery | cut -f1) KiB"
