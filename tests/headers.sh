#!/usr/bin/env bash
# tests/headers.sh ROOT CC CXX [FLAG...]: every header compiles alone, as C17 and as C++17, without a warning.
# .hpp is C++ only and needs libtorch's headers: it is compiled with the library that it belongs to.
set -uo pipefail
root=${1:?usage: headers.sh ROOT CC CXX [FLAG...]} cc=$2 cxx=$3
shift 3
cd "$root" || exit 2
bad=0 n=0
unit=$(mktemp -t header-XXXXXX)
trap 'rm -f "$unit" "$unit.c"' EXIT
strict=(-fsyntax-only -Wall -Wextra -Wpedantic -Werror -D_GNU_SOURCE -I. "$@")
while read -r h; do
  n=$((n + 1))
  printf '#include "%s"\n#include "%s"\n' "$h" "$h" >"$unit.c" # twice: the guard works
  "$cc" -std=c17 "${strict[@]}" -x c "$unit.c" || { echo "$h: not C17 by itself" && bad=1; }
  "$cxx" -std=c++17 "${strict[@]}" -x c++ "$unit.c" || { echo "$h: not C++17 by itself" && bad=1; }
done < <(find base configs datasets kernels tchc models losses checkpoints eval trainer -name '*.h' | sort)
echo "$n headers"
[[ $n -gt 0 ]] || bad=1
exit $bad
