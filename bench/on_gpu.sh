#!/usr/bin/env bash
# bench/on_gpu.sh [PART ...]: all that needs a GPU, on what scripts/gpu-pack.sh packed (build/gpu, or build/gpu.tar.xz).
#   tests      kernels against their references, tchc's own; then under compute-sanitizer (memory, races, barriers)
#   check      loss and gradient at full size against fp32
#   train      seconds a step: default, 60, 38 and 22 GiB, 9:1 mix, deterministic, plain operators
#   predict    inference, one image and eight
#   small      200 steps of a tiny model on real files: fp32, bf16, and two exact runs
#   peers      bench/peers.py but for torch.compile
#   compiled   bench/peers.py with torch.compile, micro-batch 16: at most 7 minutes
# Without a part: tests train, at most 16 minutes by their limits; then `predict check small peers`, at most 12. What matters
# most comes first. Each command has a time limit, and its result is written at once: a run that is cut off leaves what it
# had. Into $OUT (default bench/results), after what is there: summary.txt, a line a command, printed at the end as well;
# results.jsonl, everything; logs.txt, the ends of their messages.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
out=${OUT:-bench/results}
gpu=$PWD/build/gpu
work=${TMPDIR:-/tmp}/e2eft-gpu
python=${PYTHON:-python3}
parts=${*:-tests train}
mkdir -p "$out" "$work"
if [ ! -x "$gpu/bin/e2eft" ] && [ -e build/gpu.tar.xz ]; then # carried alone
  gpu=$work/gpu
  "$python" -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' build/gpu.tar.xz "$work" || exit 1
fi
[ -x "$gpu/bin/e2eft" ] || { echo "build/gpu is not there: run scripts/gpu-pack.sh first" >&2; exit 1; }

# the tests link the CUDA runtime, which torch's wheel brings
site=$("$python" -c 'import importlib.util as u, os; print(os.path.dirname(os.path.dirname(u.find_spec("torch").origin)))') || exit 1
cuda_libraries=$(printf '%s:' "$site"/nvidia/*/lib)
echo "== $(date -u +%FT%TZ) $parts" | tee -a "$out/logs.txt" >>"$out/summary.txt" # after what earlier calls left

# limited SECONDS NAME COMMAND...
limited() {
  local limit=$1 name=$2 from=$SECONDS status
  shift 2
  timeout -k 5 "$limit" "$@" >"$work/$name.out" 2>"$work/$name.err"
  status=$?
  { echo "== $name: status $status"; tail -n 30 "$work/$name.err"; } >>"$out/logs.txt"
  "$python" bench/figures.py "$name" $status $((SECONDS - from)) "$work/$name.out" "$work/$name.err" "$out/results.jsonl" |
    tee -a "$out/summary.txt"
}

bench() { # SECONDS NAME ARGUMENTS...
  limited "$1" "$2" "$gpu/bin/e2eft" bench "$gpu/configs/bench.yaml" -s run.device=cuda "${@:3}"
}

tests() {
  local sanitizer t tool
  export E2EFT_KERNELS_DIR=$gpu/lib
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)
  for t in kn_losses kn_adamw kn_blocks tchc; do
    limited 40 "test_$t" env LD_LIBRARY_PATH="$gpu/lib:$site/torch/lib:$cuda_libraries" "$gpu/tests/${t}_gpu_test"
  done
  [ -n "$sanitizer" ] || return
  for t in kn_losses kn_adamw kn_blocks; do
    for tool in memcheck racecheck synccheck; do
      limited 30 "${tool}_$t" env E2EFT_NO_RATES=1 LD_LIBRARY_PATH="$gpu/lib:$cuda_libraries" \
        "$sanitizer" --tool "$tool" --error-exitcode 9 "$gpu/tests/${t}_gpu_test"
    done
  done
}

check() { bench 200 check --check -s optim.batch=2; }

train() {
  bench 90 train --warm 3 --steps 5
  bench 60 train_60gib --warm 2 --steps 5 -s run.memory_limit=60
  bench 150 train_mix --warm 10 --steps 10 --shape 480x640:9 --shape 352x1216:1
  bench 60 train_38gib --warm 2 --steps 5 -s run.memory_limit=38
  bench 60 train_22gib --warm 2 --steps 3 -s run.memory_limit=22
  bench 60 train_deterministic --warm 2 --steps 5 -s run.deterministic=true
  bench 60 train_plain --warm 2 --steps 3 -s run.kernels=plain
}

predict() {
  bench 40 predict_1 --predict --warm 5 --steps 20
  bench 40 predict_8 --predict --warm 3 --steps 10 -s optim.micro_batch=8
}

small_run() { # NAME ARGUMENTS...
  limited 40 "small_$1" "$gpu/bin/e2eft" train bench/small.yaml -s run.device=cuda -s run.dir="$work/small_$1" \
    -s optim.steps=200 -s checkpoint.every=100 "${@:2}"
}

small() {
  rm -rf "$work"/small_*
  small_run fp32 -s run.precision=fp32 -s run.kernels=plain
  small_run bf16 -s run.precision=bf16
  small_run exact1 -s run.precision=bf16 -s run.deterministic=true -s optim.steps=20
  small_run exact2 -s run.precision=bf16 -s run.deterministic=true -s optim.steps=20
  limited 10 small_compare "$python" bench/figures.py --compare "$work/small_fp32" "$work/small_bf16" "$work/small_exact1" "$work/small_exact2"
}

with_diffusers() {
  "$python" -c 'import diffusers' 2>/dev/null && return
  "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$work/site" "$gpu"/wheels/*.whl
  export PYTHONPATH=$work/site
}

peers() {
  with_diffusers
  limited 100 peer_tuned "$python" bench/peers.py step tuned:8 --iterations 3
  limited 60 peer_infer "$python" bench/peers.py infer fp16 fp16_channels_last:8
  limited 60 peer_reference "$python" bench/peers.py step reference:2 --warm 0 --iterations 2
}

compiled() {
  with_diffusers
  limited 420 peer_compiled "$python" bench/peers.py step compiled:16 --iterations 3
}

for part in $parts; do
  case $part in
  tests | check | train | predict | small | peers | compiled) "$part" ;;
  *) echo "no part is called $part: see the head of this file" >&2 && exit 2 ;;
  esac
done
echo
cat "$out/summary.txt"
