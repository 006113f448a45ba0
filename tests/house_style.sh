#!/usr/bin/env bash
# tests/house_style.sh ROOT: what a reader should never meet in our sources. Prints every finding.
set -uo pipefail
cd "${1:?usage: house_style.sh ROOT}" || exit 2
bad=0
find_all() { # all files that we write by hand
  find base configs datasets kernels tchc models losses checkpoints eval trainer cmake scripts tests quickstart run-tests CMakeLists.txt \
    -path tests/data -prune -o -type f \( "$@" \) -print | sort
}
report() {
  while IFS= read -r hit; do
    echo "$hit: $1"
    bad=1
  done
}
code=(-name '*.[ch]' -o -name '*.cpp' -o -name '*.hpp' -o -name '*.cu' -o -name '*.cuh')
every=("${code[@]}" -o -name '*.sh' -o -name '*.cmake' -o -name '*.txt' -o -name quickstart -o -name run-tests)
tab=$'\t'

report "unfinished work belongs in an issue" < <(find_all "${code[@]}" | xargs grep -HnE '\b(TO''DO|FIX''ME|XX''X|HA''CK)\b')
report "a tab" < <(find_all "${every[@]}" | xargs grep -Hn "$tab" | cut -d: -f1,2)
report "a blank at the line's end" < <(find_all "${every[@]}" | xargs grep -HnE ' +$' | cut -d: -f1,2)
report "no line's end at the file's end" < <(find_all "${every[@]}" | while read -r f; do [[ -s $f && -n $(tail -c1 "$f") ]] && echo "$f"; done)
report "too many lines for one file" < <(find_all "${code[@]}" | xargs wc -l |
  awk '$2 != "total" && $1 > ($2 ~ /^tests\// ? 900 : 600) {print $2 ":" $1}')
report "code that is switched off" < <(find_all "${code[@]}" | xargs grep -HnE '^#[[:space:]]*if[[:space:]]+0')
exit $bad
