#!/usr/bin/env python3
"""The real tensorboard reads what a run wrote: a training of the tiny model that is stopped, resumed twice and read back. Each
step once, equal to metrics.jsonl; the loss of each data set; skipped with 77 where tensorboard is missing."""
import json, os, subprocess, sys, tempfile
from pathlib import Path

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

DATA = Path(__file__).resolve().parent / "data"
CONFIG = f"""
run: {{dir: DIR, device: cpu}}
model: {{task: depth, path: {DATA}/golden/models/tiny-marigold}}
data:
  - {{kind: hypersim, layout: raw, root: {DATA}/synth/hypersim, size: [48, 64]}}
  - {{kind: vkitti2, root: {DATA}/synth/virtual_kitti_2, size: [48, 64]}}
loader: {{workers: 1}}
optim: {{steps: 9, batch: 4, lr: 1e-3}}
checkpoint: {{every: 2}}
log: {{tensorboard: true}}
"""


def train(config, *more):
    return subprocess.run([os.environ["E2EFT"], "train", config, *more], capture_output=True, text=True)


def main():
    with tempfile.TemporaryDirectory() as folder:
        config, run = Path(folder) / "run.yaml", Path(folder) / "run"
        config.write_text(CONFIG.replace("DIR", str(run)))
        first = subprocess.Popen([os.environ["E2EFT"], "train", config], stderr=subprocess.DEVNULL)
        lines = run / "metrics.jsonl"
        while first.poll() is None and (not lines.exists() or lines.read_text().count("\n") < 4):
            pass
        first.kill(), first.wait()  # steps since the checkpoint are done again and must not be seen twice
        done = train(config, "--resume=auto")
        assert done.returncode == 0, done.stderr
        metrics = [json.loads(line) for line in lines.read_text().splitlines()]
        board = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
        board.Reload()
        for key in ("loss", "grad_norm", "lr", "samples_per_second"):
            seen = {e.step: e.value for e in board.Scalars(key)}
            assert [e.step for e in board.Scalars(key)] == list(range(1, 10)), (key, board.Scalars(key))
            for m in metrics:
                assert abs(seen[m["step"]] - m[key]) <= 1e-6 * abs(m[key]), (key, m, seen)
        for m in metrics:
            mine = [board.Scalars(tag) for tag in ("loss/0-hypersim", "loss/1-vkitti2")]
            values = [e.value for tag in mine for e in tag if e.step == m["step"]]
            assert values and min(m["micro_losses"]) - 1e-4 <= min(values) <= max(values) <= max(m["micro_losses"]) + 1e-4
    print("tensorboard reads 9 steps, each once")


main()
