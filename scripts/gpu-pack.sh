#!/usr/bin/env bash
# scripts/gpu-pack.sh: builds what a machine with a GPU, a driver and torch 2.11 needs, into build/gpu (stripped) and
# build/gpu.tar.xz (to be carried): the installed program with its small libraries and kernels, the GPU tests, and the wheels that the peers of
# bench/peers.py need there. bench/on_gpu.sh runs it. Needs nvcc here.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/release out=build/gpu most_mib=30
tests="kn_blocks_gpu_test kn_losses_gpu_test kn_adamw_gpu_test tchc_gpu_test"

cmake --preset release -DE2EFT_CUDA=ON >/dev/null
# shellcheck disable=SC2086
ninja -C $build e2eft e2eft_kernels tchc_cuda $tests
rm -rf $out
cmake --install $build --prefix $out --strip >/dev/null
[ -e $out/lib/libe2eft_kernels.so ] || { echo "no CUDA kernels were built: is nvcc there?" >&2; exit 1; }
mkdir -p $out/tests
for t in $tests; do
  cp $build/tests/"$t" $out/tests/
  strip $out/tests/"$t"
done
cp -L "$(ldd $build/tests/tchc_gpu_test | awk '/libcmocka/ { print $3 }')" $out/lib/ # the tests' own
if [ "${1:-}" != --no-wheels ]; then
  python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --platform any -d $out/wheels \
    diffusers==0.42.1 importlib_metadata==8.7.0 || echo "no wheels: the peers need diffusers on the other machine" >&2
fi
tar -cJf $out.tar.xz -C build gpu
size=$(du -m $out.tar.xz | cut -f1)
echo "$out.tar.xz: $size MiB"
[ "$size" -le $most_mib ] || { echo "more than $most_mib MiB: too much to carry" >&2; exit 1; }
