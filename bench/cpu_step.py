#!/usr/bin/env python3
"""One training step of the tiny models on the CPU: e2eft against the same step in PyTorch and diffusers.

Both train on the golden micro-batches (40x56, batch 4 in groups of 2, fp32), in turns, and print the median seconds per
step of each and their ratio, as a table and one JSON line. Needs torch, diffusers and safetensors.

    LIBTORCH_ROOT=... cmake --workflow --preset release && python3 bench/cpu_step.py
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/data/golden"
MODELS = {"depth": "tiny-marigold", "normals": "tiny-sd2"}


def split_micro_batches(folder):
    from safetensors.torch import load_file, save_file
    import torch

    all_ = load_file(GOLDEN / "train/micro_batches.safetensors")
    groups = []
    for i in range(sum(name.endswith(".rgb") for name in all_)):
        g = {k: all_[f"{i}.{k}"] for k in ("rgb", "metric", "normals")} | {"mask": all_[f"{i}.val_mask"].to(torch.uint8)}
        save_file({k: v.contiguous() for k, v in g.items()}, folder / f"{i:06d}.safetensors")
        groups.append(g)
    return groups


def run_program(binary, task, data, micro_batch, steps, threads, work):
    config = work / "step.yaml"
    config.write_text(f"run: {{device: cpu}}\nmodel: {{path: {GOLDEN}/models/{MODELS[task]}, task: {task}, text: padded}}\n"
                      f"data: [{{kind: batches, root: {data}}}]\nloader: {{workers: 1}}\n"
                      f"optim: {{steps: {steps}, batch: 4, group: 2, micro_batch: {micro_batch}, lr: 3e-4, warmup: 3}}\n")
    out = work / f"run-{time.monotonic_ns()}"
    subprocess.run([binary, "train", config, "-s", f"run.dir={out}"], check=True, stderr=subprocess.DEVNULL,
                   env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    return [json.loads(line)["seconds"] for line in (out / "metrics.jsonl").read_text().splitlines()]


class Peer:
    """The reference's step: micro-batches of whole groups, mean over a group's valid pixels, clip, AdamW."""

    def __init__(self, task, groups, micro_batch):
        import torch
        from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        self.torch, self.task, self.groups, self.micro = torch, task, groups, micro_batch
        path = GOLDEN / "models" / MODELS[task]
        torch.manual_seed(0)
        self.unet = UNet2DConditionModel.from_pretrained(path / "unet").train()
        if self.unet.config.in_channels == 4:
            old = self.unet.conv_in
            new = torch.nn.Conv2d(8, old.out_channels, 3, padding=1)
            new.weight.data, new.bias.data = old.weight.data.repeat(1, 2, 1, 1) / 2, old.bias.data / 2
            self.unet.conv_in = new
        self.vae = AutoencoderKL.from_pretrained(path / "vae").requires_grad_(False)
        tokens = CLIPTokenizer.from_pretrained(path / "tokenizer")([""], padding="max_length", return_tensors="pt").input_ids
        with torch.no_grad():
            self.text = CLIPTextModel.from_pretrained(path / "text_encoder")(tokens)[0]
        self.alpha = DDPMScheduler.from_pretrained(path / "scheduler").alphas_cumprod[999]
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=3e-4, weight_decay=1e-2)

    def error(self, image, g):
        torch = self.torch
        m = g["mask"].bool()
        if self.task == "normals":
            p = (image / (image.norm(dim=1, keepdim=True) + 1e-5)).clamp(-1, 1)
            return torch.acos((p * g["normals"]).sum(1, keepdim=True).clamp(-1, 1))[m].mean()
        p, t, w = image.mean(1).clamp(-1, 1).flatten(1), g["metric"].flatten(1), m.float().flatten(1)
        a00, a01, a11 = (w * p * p).sum(1), (w * p).sum(1), w.sum(1)
        b0, b1 = (w * p * t).sum(1), (w * t).sum(1)
        det = a00 * a11 - a01 * a01
        ok = det > 0
        safe = torch.where(ok, det, torch.ones_like(det))
        s, h = torch.where(ok, (a11 * b0 - a01 * b1) / safe, 0 * det), torch.where(ok, (a00 * b1 - a01 * b0) / safe, 0 * det)
        return ((s[:, None] * p + h[:, None] - t).abs() * w).sum() / w.sum()

    def step(self, first):
        torch, per = self.torch, self.micro // 2
        self.optimizer.zero_grad()
        for at in range(first, first + 2, per):
            part = [self.groups[(at + i) % len(self.groups)] for i in range(per)]
            with torch.no_grad():
                rgb = torch.cat([g["rgb"] for g in part])
                latent = self.vae.quant_conv(self.vae.encoder(rgb)).chunk(2, 1)[0] * self.vae.config.scaling_factor
            t = torch.full((len(latent),), 999)
            out = self.unet(torch.cat((latent, torch.zeros_like(latent)), 1), t, self.text.expand(len(latent), -1, -1))[0]
            z = -((1 - self.alpha) ** 0.5) * out / self.vae.config.scaling_factor
            image = self.vae.decoder(self.vae.post_quant_conv(z))
            losses = [self.error(image[2 * i:2 * i + 2], g) for i, g in enumerate(part) if g["mask"].any()]
            if losses:
                (sum(losses) / 2).backward()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()

    def run(self, steps):
        seconds = []
        for i in range(steps):
            begin = time.perf_counter()
            self.step(2 * i % len(self.groups))
            seconds.append(time.perf_counter() - begin)
        return seconds


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--program", default=ROOT / "build/release/e2eft")
    ap.add_argument("--steps", type=int, default=20, help="a turn")
    ap.add_argument("--turns", type=int, default=3)
    ap.add_argument("--threads", type=int, default=1)
    a = ap.parse_args()
    import torch

    torch.set_num_threads(a.threads)
    rows = []
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)
        (work / "data").mkdir()
        groups = split_micro_batches(work / "data")
        for task in MODELS:
            for micro in (2, 4):
                ours, theirs, peer = [], [], Peer(task, groups, micro)
                peer.run(3)
                for _ in range(a.turns):
                    ours += run_program(a.program, task, work / "data", micro, a.steps + 3, a.threads, work)[3:]
                    theirs += peer.run(a.steps)
                o, t = statistics.median(ours), statistics.median(theirs)
                rows.append({"task": task, "micro_batch": micro, "e2eft_s": round(o, 5), "torch_s": round(t, 5), "ratio": round(o / t, 3)})
                print("{task:8} micro-batch {micro_batch}: e2eft {e2eft_s:.4f} s, torch {torch_s:.4f} s, ratio {ratio:.2f}".format(**rows[-1]), flush=True)
    print(json.dumps({"threads": a.threads, "torch": torch.__version__, "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
