#!/usr/bin/env bash
# scripts/fuzz.sh [-n RUNS] [TARGET...]: runs the fuzz targets of tests/fuzz under clang's libFuzzer with the address and
# undefined sanitizers, 1,000,000 executions each unless -n says otherwise. The builds and what was found go to build/fuzz.
# Exits 77 where there is no clang with libFuzzer. A finding is a file crash-*, leak-*, timeout-* or oom-* there: put it into
# the target's corpus with its fix.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=1000000
[ "${1:-}" != -n ] || { runs=${2:?-n needs a number} && shift 2; }
all="csv manifest cache_index npy png jpeg safetensors config"
out=build/fuzz
flags="-g -O1 -std=gnu17 -D_GNU_SOURCE -I. -ffp-contract=off -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
packages="yaml-0.1 jansson libxxhash libcrypto libpng libturbojpeg hdf5 zlib"

clang=
for c in ${CLANG:-clang clang-19 clang-18 clang-17 clang-16 clang-15 clang-14}; do
  command -v "$c" >/dev/null || continue
  echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }' | "$c" -xc - -fsanitize=fuzzer,address -o /dev/null 2>/dev/null || continue
  clang=$c
  break
done
[ -n "$clang" ] || { echo "skipped: no clang with libFuzzer (apt-get install clang libclang-rt-14-dev)"; exit 77; }

mkdir -p $out/obj
objects=()
for source in base/*.c configs/*.c datasets/*.c; do
  object=$out/obj/$(basename "$source" .c).o
  objects+=("$object")
  [ "$object" -nt "$source" ] && [ -z "$(find base configs datasets -name '*.h' -newer "$object" -print -quit)" ] && continue
  # shellcheck disable=SC2046,SC2086
  $clang $flags $(pkg-config --cflags $packages) -fsanitize=fuzzer-no-link -c "$source" -o "$object"
done
st=0
for target in ${*:-$all}; do
  # shellcheck disable=SC2046,SC2086
  $clang $flags $(pkg-config --cflags $packages) -fsanitize=fuzzer "tests/fuzz/fuzz_$target.c" "${objects[@]}" $(pkg-config --libs $packages) -lm \
    -o "$out/$target"
  mkdir -p "$out/corpus-$target"
  if (cd $out && ASAN_OPTIONS=allocator_may_return_null=1 "./$target" -runs="$runs" -max_len=4096 -timeout=10 -rss_limit_mb=3000 \
    -print_final_stats=1 -artifact_prefix="$target-" "corpus-$target" "../../tests/fuzz/corpus/$target") >"$out/$target.log" 2>&1; then
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$target.log") executions, nothing found, $(sed -n 's/^Done .* in //p' "$out/$target.log")"
  else
    echo "$target: FOUND SOMETHING, see $out/$target.log"
    st=1
  fi
done
exit $st
