#!/usr/bin/env bash
# tests/peer.sh SCRIPT ARGUMENT...: runs a Python test beside PyTorch and diffusers, or exits 77 where they are not.
here=$(cd "$(dirname "$0")/.." && pwd)
python=${E2EFT_PEER_PYTHON:-$here/build/deps/peer/bin/python}
command -v "$python" >/dev/null || {
  echo "skipped: no $python; scripts/peer-python.sh makes it, or name one with PyTorch and diffusers in E2EFT_PEER_PYTHON"
  exit 77
}
HF_HUB_OFFLINE=1 exec "$python" "$@"
