#!/bin/sh
# tests/dump_reference_test.sh BIN_DIR: our dumps of the golden networks and diffusers' do not part anywhere.
# Skipped (77) where the Python of scripts/peer-python.sh is missing; $E2EFT_PEER_PYTHON names another.
set -eu
bin=$1
here=$(dirname "$0")
golden=$here/data/golden
python=${E2EFT_PEER_PYTHON:-$here/../build/deps/peer/bin/python}
"$python" -c 'import diffusers, torch' 2>/dev/null || { echo "skipped: $python has no diffusers"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for net in unet vae; do
  model=$golden/models/tiny-marigold inputs=$golden/nets/tiny-marigold.${net}_activations.safetensors
  "$python" "$here/dump_reference.py" "$model" "$inputs" "$tmp/$net.ref" 2>/dev/null
  "$bin/md_dump" "$model" "$inputs" "$tmp/$net.ours"
  # both ways: each side has what the other has
  "$bin/tdiff" "$tmp/$net.ref" "$tmp/$net.ours" 2e-5 >"$tmp/log" || { tail -n 3 "$tmp/log"; exit 1; }
  "$bin/tdiff" "$tmp/$net.ours" "$tmp/$net.ref" 2e-5 >"$tmp/log" || { tail -n 3 "$tmp/log"; exit 1; }
  tail -n 1 "$tmp/log"
done
