#!/usr/bin/env bash
# tests/package.sh BUILD CMAKE LIBTORCH: what is installed runs from any folder, with its small libraries beside it and
# the torch that it is told of, and brings nothing of torch along.
set -uo pipefail
build=${1:?usage: package.sh BUILD CMAKE LIBTORCH} cmake=$2 torch=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0
fail() {
  echo "$*"
  bad=1
}

"$cmake" --install "$build" --prefix "$tmp/first" >"$tmp/log" || { cat "$tmp/log" && exit 1; }
mv "$tmp/first" "$tmp/moved to here" # no path of the installation is baked in
cd "$tmp/moved to here" || exit 1
for f in bin/e2eft libexec/e2eft configs/paper.yaml configs/depth_sd2.yaml configs/bench.yaml configs/models/sd2/unet/config.json README.md LICENSE; do [ -e $f ] || fail "$f is not installed"; done
[ ! -e configs/quickstart.yaml ] || fail "configs/quickstart.yaml needs demo/model"
[ -z "$(find . -name 'libtorch*' -o -name 'libc10*' -o -name 'libcuda*' -o -name 'libcupti*' -o -name 'libc.so*')" ] || fail "a library of the machine or of torch is installed"

env -i PATH=/usr/bin:/bin HOME="$tmp" LIBTORCH_ROOT="$torch" ./bin/e2eft --version || fail "bin/e2eft --version failed"
ln -s "$PWD/bin/e2eft" "$tmp/link"
env -i PATH=/usr/bin:/bin HOME="$tmp" LIBTORCH_ROOT="$torch" "$tmp/link" --help >/dev/null || fail "bin/e2eft failed through a link"
env -i PATH=/usr/bin:/bin HOME="$tmp" LIBTORCH_ROOT="$tmp" ./bin/e2eft --version 2>"$tmp/err"
{ [ $? -eq 6 ] && grep -q "set LIBTORCH_ROOT" "$tmp/err"; } || fail "without torch: wants exit status 6 and a hint, found: $(cat "$tmp/err")"

# the small libraries come from lib/, not from the system
libraries=$(LD_LIBRARY_PATH=$torch/lib ldd libexec/e2eft)
for l in yaml jansson xxhash png turbojpeg hdf5 curl sz; do
  case $libraries in
  *"lib$l"*" => $PWD/libexec/../lib/lib$l"*) ;;
  *"lib$l"*) fail "lib$l comes from outside" ;;
  esac
done
case $libraries in *"not found"*) fail "a library is missing: $libraries" ;; esac
exit $bad
