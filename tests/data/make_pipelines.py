#!/usr/bin/env python3
"""Writes tests/data/pipelines/: three images of odd sizes, and what diffusers' MarigoldDepthPipeline and
MarigoldNormalsPipeline and the reference's MarigoldPipeline make of them with tests/data/golden/models/tiny-marigold.

    make_pipelines.py REFERENCE      a checkout of VisualComputingInstitute/diffusion-e2e-ft, commit 4ff5aad

results.safetensors: IMAGE.PEER.TASK.STEPS, depth [H,W], normals [3,H,W], trailing; 1 step with zeros, 4 steps with
IMAGE.PEER.noise [1,4,h,w]; and c.diffusers.TASK.ensemble, 2 steps, three members with c.diffusers.ensemble.noise. Made
with torch 2.11.0, torchvision 0.26.0, diffusers 0.42.1, scipy 1.17.1 on the CPU.
"""
import os, sys
from pathlib import Path

import numpy as np, torch
from diffusers import AutoencoderKL, DDIMScheduler, MarigoldDepthPipeline, MarigoldNormalsPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.numpy import save_file
from transformers import CLIPTextModel, CLIPTokenizer

HERE = Path(__file__).resolve().parent
MODEL, OUT = HERE / "golden/models/tiny-marigold", HERE / "pipelines"
SIZES = {"a": (27, 45), "b": (50, 38), "c": (35, 61)}
sys.path.insert(0, str(Path(sys.argv[1]) / "Marigold"))
from marigold.marigold_pipeline import MarigoldPipeline as Reference
import marigold.marigold_pipeline as reference_module

g = torch.Generator().manual_seed(7)
parts = dict(unet=UNet2DConditionModel.from_pretrained(MODEL / "unet"), vae=AutoencoderKL.from_pretrained(MODEL / "vae"),
             scheduler=DDIMScheduler.from_pretrained(MODEL / "scheduler", timestep_spacing="trailing"),
             text_encoder=CLIPTextModel.from_pretrained(MODEL / "text_encoder"), tokenizer=CLIPTokenizer.from_pretrained(MODEL / "tokenizer"))
reference = Reference(**parts)
pipes = {"depth": MarigoldDepthPipeline(prediction_type="depth", **parts),
         "normals": MarigoldNormalsPipeline(prediction_type="normals", use_full_z_range=True, **parts)}
for p in [reference, *pipes.values()]:
    p.set_progress_bar_config(disable=True)
OUT.mkdir(exist_ok=True)
out = {}


def image(H, W):
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 7, generator=g), (H, W), mode="bicubic")[0]
    rgb = (smooth + 0.1 * torch.rand(3, H, W, generator=g)).clamp(0, 1)
    return Image.fromarray((rgb.permute(1, 2, 0) * 255).byte().numpy())


def diffusers(task, pil, steps, latents, ensemble=1):
    p = pipes[task](pil, num_inference_steps=steps, ensemble_size=ensemble, processing_resolution=0, latents=latents).prediction[0]
    return np.ascontiguousarray(p[..., 0] if task == "depth" else p.transpose(2, 0, 1))


def run_reference(task, pil, steps, latents):
    reference_module.torch.randn, drawn = (lambda *a, **k: latents), reference_module.torch.randn
    r = reference(pil, denoising_steps=steps, ensemble_size=1, processing_res=0, batch_size=1, color_map=None, show_progress_bar=False,
                  noise="zeros" if latents is None else "gaussian", normals=task == "normals")
    reference_module.torch.randn = drawn
    return r.depth_np if task == "depth" else r.normal_np


for name, (H, W) in SIZES.items():
    pil = image(H, W)
    pil.save(OUT / f"{name}.png")
    up, down = (-(-H // 8), -(-W // 8)), (H // 8, W // 8)
    noise = {"diffusers": torch.randn(1, 4, *up, generator=g), "reference": torch.randn(1, 4, *down, generator=g)}
    for peer, n in noise.items():
        out[f"{name}.{peer}.noise"] = n.numpy()
    for task in pipes:
        for steps in [1, 4]:
            zeros = torch.zeros(1, 4, *up) if steps == 1 else noise["diffusers"]
            out[f"{name}.diffusers.{task}.{steps}"] = diffusers(task, pil, steps, zeros)
            out[f"{name}.reference.{task}.{steps}"] = run_reference(task, pil, steps, None if steps == 1 else noise["reference"])
    if name == "c":
        three = torch.randn(3, 4, *up, generator=g)
        out["c.diffusers.ensemble.noise"] = three.numpy()
        for task in pipes:
            out[f"c.diffusers.{task}.ensemble"] = diffusers(task, pil, 2, three, 3)
save_file({k: np.ascontiguousarray(v, dtype=np.float32) for k, v in out.items()}, OUT / "results.safetensors",
          {"reference": "VisualComputingInstitute/diffusion-e2e-ft 4ff5aad00f686e08d49e5ee55054e161dd0a7458"})
os.chmod(OUT / "results.safetensors", 0o644)
