#!/usr/bin/env bash
# cmake/fetch-libtorch.sh DIR: the pinned torch wheel's headers and CPU libraries into DIR/torch (about 500 MB).
# The wheel is the CUDA 13.0 build: its libtorch_cpu asks for libcudart and libcupti, two small wheels, even
# where no GPU is. Nothing is installed into the python that runs pip.
set -euo pipefail
dir=${1:?usage: fetch-libtorch.sh DIR}
torch=2.11.0 cudart=13.0.96 cupti=13.0.85
command -v python3 >/dev/null || { echo "fetch-libtorch: python3 with pip is needed to download the wheel" >&2; exit 1; }
mkdir -p "$dir/wheels"
fetch() {
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: -d "$dir/wheels" "$1" ||
    { echo "fetch-libtorch: pip could not download $1; set LIBTORCH_ROOT to an installed torch $torch" >&2; exit 1; }
}
fetch "torch==$torch"
fetch "nvidia-cuda-runtime==$cudart"
fetch "nvidia-cuda-cupti==$cupti"
rm -rf "$dir/unpack"
python3 - "$dir" <<'PY'
import glob, os, sys, zipfile
root = sys.argv[1]
out = os.path.join(root, "unpack")
def take(pattern, keep):
    for wheel in glob.glob(os.path.join(root, "wheels", pattern)):
        with zipfile.ZipFile(wheel) as z:
            for n in z.namelist():
                if keep(n):
                    z.extract(n, out)
libs = ("libc10.so", "libtorch_cpu.so", "libgomp", "libshm")
take("torch-*.whl", lambda n: n.startswith("torch/include/") or (n.startswith("torch/lib/") and os.path.basename(n).startswith(libs)))
take("nvidia_cuda_*.whl", lambda n: ".so" in n)
for so in glob.glob(os.path.join(out, "nvidia", "**", "*.so*"), recursive=True):
    os.replace(so, os.path.join(out, "torch", "lib", os.path.basename(so)))
PY
rm -rf "$dir/torch"
mv "$dir/unpack/torch" "$dir/torch"
rm -rf "$dir/unpack" "$dir/wheels"
