#!/usr/bin/env bash
# scripts/peer-python.sh: build/deps/peer, a Python with PyTorch, diffusers and the other programs that the slow tests
# compare with. Does nothing when it is there already. The network is used; nothing else on the machine changes.
# The torch wheel is the CUDA build. Of the libraries that it asks for, only those are taken without which it cannot be
# imported: 4.1 GB in all instead of 5.4.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
python="" dir=build/deps/peer
die() {
  printf 'peer-python: %s\n' "$*" >&2
  rm -rf "$dir.new"
  exit 1
}

# Versions are pinned: another diffusers or scipy is another peer. The libraries of CUDA 13.0 that torch 2.11.0 names.
alone="torch==2.11.0 accelerate==1.15.0
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85 nvidia-cublas==13.1.0.3 nvidia-cudnn-cu13==9.19.0.56
  nvidia-cufft==12.0.0.61 nvidia-cufile==1.15.1.6 nvidia-curand==10.4.0.35 nvidia-cusparse==12.6.3.3
  nvidia-cusparselt-cu13==0.8.0 nvidia-nccl-cu13==2.28.9 nvidia-nvjitlink==13.0.88 nvidia-nvshmem-cu13==3.4.5"
with_needs="diffusers==0.42.1 transformers==5.23.0 safetensors==0.8.0 numpy==2.4.6 scipy==1.17.1 pillow==13.0.0
  h5py==3.16.0 tensorboard==2.21.0 filelock fsspec jinja2 networkx psutil sympy typing-extensions"
wanted="$(tr -s ' \n' '  ' <<<"$alone $with_needs")"

[ "$(cat "$dir/installed" 2>/dev/null)" = "$wanted" ] && exit 0
for candidate in python3 /usr/bin/python3; do
  "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$candidate && break
done
[ -n "$python" ] || die "wants python3 of version 3.11 or newer, with venv (Debian: apt-get install python3-venv)"
rm -rf "$dir.new"
mkdir -p "$(dirname "$dir")"
"$python" -m venv "$dir.new" || die "no virtual environment could be made"
install() {
  "$dir.new/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: "$@" ||
    die "pip could not install all packages; is there a network?"
}
# shellcheck disable=SC2086 # one word a package
install $with_needs
# shellcheck disable=SC2086
install --no-deps $alone
"$dir.new/bin/python" -W ignore -c 'import torch, diffusers, transformers, scipy, h5py' || die "what was installed cannot be imported"
printf '%s\n' "$wanted" >"$dir.new/installed"
rm -rf "$dir"
mv "$dir.new" "$dir" || die "cannot be renamed"
