#!/usr/bin/env bash
# bench/save_rate.sh [GB] [DIR]: how long saving holds training up, and how fast it writes beside dd: GB (4), in turns with
# dd, ROUNDS (3) times, below DIR (the working folder). Needs three times GB of memory, GB of disk for each round and two
# more, and build/release/tests/ck_saver. dd writes random bytes, for some disks do not store zeros, and its files stay to the
# end: a disk that is allocated as it fills is several times faster where something lay before.
# OMP_NUM_THREADS: threads that take the snapshot.
set -uo pipefail
gb=${1:-4}
dir=$(mktemp -d "${2:-.}/save_rate.XXXXXX") || exit 1
here=$(cd "$(dirname "$0")/.." && pwd)
saver=${CK_SAVER:-$here/build/release/tests/ck_saver}
source=$(mktemp "/dev/shm/save_rate.XXXXXX") || exit 1
trap 'rm -rf "$dir" "$source"' EXIT
openssl enc -aes-128-ctr -pass pass:x -nosalt -pbkdf2 </dev/zero 2>/dev/null | head -c "${gb}000000000" >"$source"

for i in $(seq "${ROUNDS:-3}"); do
  dd if="$source" of="$dir/dd$i" bs=4M conv=fsync 2>&1 | tail -n1 | sed 's/^/dd: /'
  "$saver" "$dir/run" "${gb}e9" 1 "$i" "${PAUSE:-5}" 2>&1 | grep -v '^from'
done
