#!/usr/bin/env python3
"""The same work as `e2eft bench` in PyTorch and diffusers, as people run it today: one line of JSON a set-up.

peers.py step SET-UP[:MICRO_BATCH] ...    one optimizer step, batch 32 at 480x640, random weights, affine-invariant L1
    reference    fp32, gradient checkpointing, images encoded in the step, as diffusion-e2e-ft publishes it
    tuned        bf16 autocast, channels last, fused AdamW, latents given
    compiled     tuned, with torch.compile of U-Net and decoder (minutes of compiling come first)
peers.py infer SET-UP ...                 encode, U-Net, decode at 576x768: fp32, fp16, fp16_channels_last, fp16_compiled
"""
import argparse
import gc
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel

UNET = dict(in_channels=8, out_channels=4, block_out_channels=(320, 640, 1280, 1280), layers_per_block=2,
            attention_head_dim=(5, 10, 20, 20), cross_attention_dim=1024, use_linear_projection=True,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3)
VAE = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4,
           down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)
TINY = dict(unet=dict(UNET, block_out_channels=(32, 64, 64, 64), attention_head_dim=(1, 2, 2, 2), cross_attention_dim=32),
            vae=dict(VAE, block_out_channels=(32, 32, 64, 64)))
ALPHA, SIGMA, SCALE = 0.0682, 0.9977, 0.18215  # sqrt(a), sqrt(1 - a) at t = 999; the VAE's scaling factor


def fit_l1(prediction, target, mask):
    """Mean over valid pixels of |s p + t - target|, s and t by least squares for each image."""
    p, y, m = (v.float().flatten(1) for v in (prediction, target, mask))
    n, sp, sy, spp, spy = m.sum(1), (m * p).sum(1), (m * y).sum(1), (m * p * p).sum(1), (m * p * y).sum(1)
    det = spp * n - sp * sp
    good = det > 0
    det = torch.where(good, det, torch.ones_like(det))
    s = torch.where(good, (n * spy - sp * sy) / det, torch.zeros_like(det))
    t = torch.where(good, (spp * sy - sp * spy) / det, torch.zeros_like(det))
    return ((s[:, None] * p + t[:, None] - y).abs() * m).sum() / m.sum().clamp(min=1)


def models(a, device):
    sizes = TINY if a.tiny else dict(unet=UNET, vae=VAE)
    torch.manual_seed(0)
    with torch.device(device):
        return UNet2DConditionModel(**sizes["unet"]), AutoencoderKL(**sizes["vae"]).requires_grad_(False).eval()


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def timed(run, device, warm, n):
    for _ in range(warm):
        run()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(n):
        wait(device)
        start = time.perf_counter()
        run()
        wait(device)
        seconds.append(time.perf_counter() - start)
    return seconds


class Step:
    def __init__(self, a, device, kind, micro_batch):
        self.a, self.device, self.mixed, self.n = a, device, kind != "reference", micro_batch
        self.unet, self.vae = models(a, device)
        self.unet.train()
        torch.backends.cudnn.benchmark = self.mixed
        if self.mixed:
            self.unet.to(memory_format=torch.channels_last)
            self.vae.to(dtype=torch.bfloat16, memory_format=torch.channels_last)
        else:
            self.unet.enable_gradient_checkpointing()
        self.run_unet, self.run_decoder = self.unet.forward, self.decode
        if kind == "compiled":
            self.run_unet = torch.compile(self.run_unet, dynamic=False)
            self.run_decoder = torch.compile(self.run_decoder, dynamic=False)
        fused = dict(fused=True) if self.mixed and device.type == "cuda" else {}
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=3e-5, weight_decay=1e-2, **fused)
        h, w = a.height, a.width
        x = (4, h // 8, w // 8) if self.mixed else (3, h, w)
        self.x = torch.randn(micro_batch, *x, device=device).clamp(-1, 1)
        self.target = 1 + 60 * torch.rand(micro_batch, 1, h, w, device=device)
        self.mask = torch.rand(micro_batch, 1, h, w, device=device) > 0.05
        self.text = torch.randn(1, 77, self.unet.config.cross_attention_dim, device=device)

    def decode(self, z):
        return self.vae.decoder(self.vae.post_quant_conv(z)).mean(1, keepdim=True)

    def micro(self):
        x = self.x
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            if not self.mixed:
                with torch.no_grad():
                    x = self.vae.encode(x).latent_dist.mode() * SCALE
            x = torch.cat((x, torch.zeros_like(x)), 1)
            if self.mixed:
                x = x.contiguous(memory_format=torch.channels_last)
            t = torch.full((self.n,), 999, device=self.device)
            v = self.run_unet(x, t, self.text.expand(self.n, -1, -1), return_dict=False)[0]
        z = (-SIGMA / SCALE * v.float()).to(self.vae.dtype)
        loss = fit_l1(self.run_decoder(z).clamp(-1, 1), self.target, self.mask) * self.n / self.a.batch
        loss.backward()
        return loss.detach()

    def __call__(self):
        for _ in range(self.a.batch // self.n):
            self.loss = self.micro()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def bench_step(a, device, name):
    kind, _, n = name.partition(":")
    start = time.perf_counter()
    step = Step(a, device, kind, int(n or 2))
    step()
    wait(device)
    first = time.perf_counter() - start
    seconds = timed(step, device, a.warm, a.iterations)
    return dict(bench="peer step", set_up=kind, micro_batch=step.n, batch=a.batch, height=a.height, width=a.width,
                seconds_per_step=statistics.median(seconds), seconds=seconds, start_to_first_step_seconds=first,
                loss=float(step.loss))


def bench_infer(a, device, name):
    kind, _, n = name.partition(":")
    n = int(n or 1)
    half = torch.float16 if device.type == "cuda" else torch.bfloat16
    dtype = torch.float32 if kind == "fp32" else half
    unet, vae = (m.to(dtype).eval() for m in models(a, device))
    if kind in ("fp16_channels_last", "fp16_compiled"):
        unet, vae = (m.to(memory_format=torch.channels_last) for m in (unet, vae))
        torch.backends.cudnn.benchmark = True
    run_unet, run_decoder = unet.forward, vae.decode
    if kind == "fp16_compiled":
        run_unet, run_decoder = torch.compile(run_unet, dynamic=False), torch.compile(run_decoder, dynamic=False)
    image = (2 * torch.rand(n, 3, a.height, a.width, device=device) - 1).to(dtype)
    text = torch.randn(n, 2, unet.config.cross_attention_dim, device=device, dtype=dtype)
    t = torch.full((n,), 999, device=device)

    @torch.no_grad()
    def run():
        z = vae.encode(image).latent_dist.mode() * SCALE
        v = run_unet(torch.cat((z, torch.zeros_like(z)), 1), t, text, return_dict=False)[0]
        return run_decoder(-SIGMA / SCALE * v, return_dict=False)[0].mean(1)

    seconds = timed(run, device, a.warm + 1, a.iterations)
    return dict(bench="peer infer", set_up=kind, images_at_once=n, height=a.height, width=a.width,
                ms_per_image=1e3 * statistics.median(seconds) / n)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("step", "infer"))
    p.add_argument("set_ups", nargs="+")
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--height", type=int)
    p.add_argument("--width", type=int)
    p.add_argument("--warm", type=int, default=2)
    p.add_argument("--iterations", type=int, default=5)
    p.add_argument("--tiny", action="store_true", help="small widths, to try this file without a GPU")
    a = p.parse_args()
    a.height = a.height or (480 if a.what == "step" else 576)
    a.width = a.width or (640 if a.what == "step" else 768)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for name in a.set_ups:
        try:
            result = (bench_step if a.what == "step" else bench_infer)(a, device, name)
            result["peak_bytes"] = torch.cuda.max_memory_allocated() if device.type == "cuda" else None
        except torch.OutOfMemoryError as e:
            result = dict(bench="peer " + a.what, set_up=name, error=str(e)[:200])
        result.update(torch=torch.__version__, device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu")
        print(json.dumps(result), flush=True)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        torch._dynamo.reset()


if __name__ == "__main__":
    sys.exit(main())
