#!/usr/bin/env bash
# tests/own_images.sh E2EFT ROOT: the README's example of a user's own images, word for word, on rendered frames.
set -euo pipefail
e2eft=${1:?usage: own_images.sh E2EFT ROOT} root=${2:?usage: own_images.sh E2EFT ROOT}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() {
  echo "$*" >&2
  exit 1
}
# the indented lines below a line of the README that holds TEXT, up to the next blank line
example() { # TEXT
  awk -v text="$1" 'index($0, text) {on = 1; next} on && /^    / {print substr($0, 5); some = 1; next} on && some {exit}' "$root/README.md"
}

cd "$dir"
"$e2eft" synth -o rendered --rooms 0 --streets 1 --size 64x96 >/dev/null
mkdir -p my-images/photos my-images/depth
frames=rendered/virtual_kitti_2
i=1
for rgb in $(find $frames/vkitti_2.0.3_rgb -name 'rgb_*.jpg' | sort | head -n 2); do
  depth=${rgb/vkitti_2.0.3_rgb/vkitti_2.0.3_depth}
  depth=${depth/frames\/rgb/frames\/depth}
  depth=${depth%/*}/depth_${depth##*_}
  cp "$rgb" my-images/photos/000$i.jpg
  cp "${depth%.jpg}.png" my-images/depth/000$i.png
  i=$((i + 1))
done
example 'Write a table with one line an image' >my-images/manifest.csv
example 'and in the config:' >my.yaml
[ "$(wc -l <my-images/manifest.csv)" -eq 3 ] || fail "the table in README.md has not 3 lines"
grep -q 'kind: manifest' my.yaml || fail "no data set in README.md's example of a config"
cat >>my.yaml <<END
model: {path: $root/tests/data/golden/models/tiny-marigold}
optim: {steps: 2, batch: 2, group: 2}
run: {device: cpu}
loader: {workers: 1}
END
# Virtual KITTI stores centimetres and sees farther than a room; the model is tiny
set -- -s data.0.depth_unit=0.01 -s data.0.far=80 -s 'data.0.size=[64, 96]'
"$e2eft" inspect my.yaml "$@" >listing
"$e2eft" inspect my.yaml "$@" --sheet sheet.png --count 2 >rows
grep -q '^row 2: data.0 photos/000' rows && [ "$(head -c 4 sheet.png | tail -c 3)" = PNG ] || fail "$(cat rows)"
grep -q 'samples  2' listing || fail "$(cat listing)"
"$e2eft" inspect my.yaml "$@" --dump dump --count 2
[ "$(ls dump)" = "$(printf '000000.safetensors\n000001.safetensors')" ] || fail "dump: $(ls dump)"
"$e2eft" train my.yaml "$@" -s run.dir=run
[ "$(wc -l <run/metrics.jsonl)" -eq 2 ] && [ -f run/model/unet/diffusion_pytorch_model.safetensors ] || fail "no trained weights"
# a typing error in the table: every bad line is named
printf 'rgb,depth\nphotos/0001.jpg,\n,depth/0001.png\n' >my-images/manifest.csv
st=0
"$e2eft" train my.yaml "$@" -s run.dir=run2 2>errors || st=$?
[ $st -eq 3 ] && grep -q 'manifest.csv:2: depth' errors && grep -q 'manifest.csv:3: rgb' errors || fail "status $st: $(cat errors)"
