#!/usr/bin/env bash
# tests/layers.sh ROOT: which folder may include which, and what may appear only in one place. Prints every breach.
set -uo pipefail
cd "${1:?usage: layers.sh ROOT}" || exit 2
bad=0
breach() {
  echo "$*"
  bad=1
}

declare -A may=(
  [base]="" [configs]="base" [datasets]="base" [kernels]="base" [tchc]="base"
  [models]="base tchc kernels" [losses]="base tchc kernels" [checkpoints]="base tchc"
  [eval]="base configs datasets tchc checkpoints models"
  [trainer]="base configs datasets kernels tchc models losses checkpoints eval"
)
folders=$(printf '%s\n' "${!may[@]}" | sort)

sources() { # the files of one folder, as git would list them but without git
  find "$1" -type f \( -name '*.[ch]' -o -name '*.cpp' -o -name '*.hpp' -o -name '*.cu' -o -name '*.cuh' \) | sort
}

for folder in $folders; do
  allowed=" $folder ${may[$folder]} "
  while IFS=: read -r file line text; do
    target=${text#*\"}
    target=${target%%\"*}
    case $target in
    */*) [[ $allowed == *" ${target%%/*} "* ]] || breach "$file:$line: $folder may not include $target" ;;
    *) breach "$file:$line: $target: includes name the folder" ;;
    esac
  done < <(sources "$folder" | xargs -r grep -HnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"')
done

# only_in FOLDER WHAT REGEX [FILE...]: the regex may match in FOLDER alone
only_in() {
  local home=$1 what=$2 regex=$3 folder
  for folder in $folders; do
    [[ $folder == "$home" ]] && continue
    while IFS= read -r hit; do breach "$hit: $what belongs in $home/"; done < <(sources "$folder" | xargs -r grep -HnE "$regex")
  done
}
only_in tchc "libtorch" '#[[:space:]]*include[[:space:]]*<(ATen|torch|c10|caffe2)/'
for folder in $folders; do
  [[ $folder == kernels ]] || while read -r f; do breach "$f: CUDA belongs in kernels/"; done < <(find "$folder" -name '*.cu' -o -name '*.cuh')
  [[ $folder == tchc ]] || while read -r f; do breach "$f: C++ belongs in tchc/"; done < <(find "$folder" -name '*.cpp' -o -name '*.hpp')
  # a comment may speak of exit(); code may not call it
  while IFS= read -r hit; do breach "$hit: only main ends the program"; done < <(
    sources "$folder" | grep -v '^trainer/main\.c$' | xargs -r grep -HnE '^[^*/"]*\b(exit|quick_exit|abort|_Exit)[[:space:]]*\(')
done

# one name, one file: `grep -r name` and a debugger's breakpoints find one place; kinds.c is each folder's table
while read -r name; do breach "$name: more than one source file has this name"; done < <(
  for folder in $folders; do sources "$folder"; done | grep -v CMakeLists | sed 's!.*/!!' | sort | uniq -d | grep -vx kinds.c)
for folder in utils util common misc helpers; do
  while read -r f; do breach "$f: a folder or file of this name says nothing"; done < <(
    find . \( -path ./build -o -path ./.git \) -prune -o \( -name "$folder" -o -name "$folder.*" \) -print)
done
exit $bad
