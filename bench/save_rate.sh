#!/usr/bin/env bash
# bench/save_rate.sh [GB] [DIR]: how long saving holds training up, and how fast it writes beside dd: GB (4), in turns with dd,
# ROUNDS (3) times, below DIR (the working folder). Needs twice GB of memory, three times GB of disk, and
# build/release/tests/ck_saver. OMP_NUM_THREADS: threads that take the snapshot.
set -euo pipefail
gb=${1:-4}
dir=$(mktemp -d "${2:-.}/save_rate.XXXXXX")
here=$(cd "$(dirname "$0")/.." && pwd)
saver=${CK_SAVER:-$here/build/release/tests/ck_saver}
trap 'rm -rf "$dir"' EXIT

for i in $(seq "${ROUNDS:-3}"); do
  dd if=/dev/zero of="$dir/dd" bs=4M count=$((gb * 1000 / 4)) conv=fsync 2>&1 | tail -n1 | sed 's/^/dd: /'
  rm "$dir/dd"
  "$saver" "$dir/run" "${gb}e9" 1 "$i" "${PAUSE:-5}" 2>&1 | grep -v '^from'
done
