#!/usr/bin/env python3
"""Writes tests/data/resample.safetensors: torch.nn.functional.interpolate of one image [2,13,18] (`in`) to several
sizes; MODE.ANTIALIAS.HxW each; and in8, out8: torchvision's resize of
8-bit pixels. Made with torch 2.11.0 and torchvision 0.26.0 on the CPU."""
import os

import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torchvision.transforms.functional import resize

x = torch.rand(1, 2, 13, 18, generator=torch.Generator().manual_seed(1))
out = {"in": x[0].numpy()}
for mode, antialias in [("bilinear", 1), ("bilinear", 0), ("bicubic", 1), ("bicubic", 0), ("nearest-exact", 0)]:
    for size in [(13, 18), (7, 5), (29, 40), (13, 9), (26, 18), (1, 1), (5, 31)]:
        options = {"antialias": True} if antialias else {}
        out[f"{mode}.{antialias}.{size[0]}x{size[1]}"] = F.interpolate(x, size, mode=mode, **options)[0].numpy()
y = torch.randint(0, 256, (3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
out["in8"], out["out8"] = y.numpy(), resize(y, [45, 64], antialias=True).numpy()
save_file(out, os.path.join(os.path.dirname(__file__), "resample.safetensors"))
