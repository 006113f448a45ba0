#!/usr/bin/env python3
"""Writes tests/data/adamw.safetensors: 20 updates of torch.optim.AdamW and Adam (single-tensor loop, f32, CPU) on random
gradients, with torch.nn.utils.clip_grad_norm_, diffusers' EMA formula and the bf16 copy. Made with torch 2.11.0.

Tensors of case C: C.options f64 [lr, beta1, beta2, eps, weight_decay, decoupled, clip, ema_decay]; C.lr f64 [steps] (the
rate of each update); C.p0 f32 [n]; C.g f32 [steps,n] before clipping; C.norm f32 [steps]; C.p, C.m, C.v, C.ema f32
[steps,n] after each update; C.bf16 [steps,n] of p.
"""
import os

import torch
from safetensors.torch import save_file

STEPS, N = 20, 33
CASES = {
    "adamw": dict(lr=3e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, decoupled=True, clip=1.0, ema=0.99),
    "noclip": dict(lr=1e-2, betas=(0.4, 0.95), eps=1e-6, weight_decay=0.0, decoupled=True, clip=0.0, ema=0.9),
    "adam": dict(lr=3e-3, betas=(0.9, 0.99), eps=1e-8, weight_decay=1e-1, decoupled=False, clip=2.5, ema=0.5),
}


def run(seed, o):
    gen = torch.Generator().manual_seed(seed)
    p = torch.randn(N, generator=gen).requires_grad_()
    scale = 10.0 ** torch.linspace(-6, 1, N)  # gradients of many sizes
    grads = torch.randn(STEPS, N, generator=gen) * scale
    kind = torch.optim.AdamW if o["decoupled"] else torch.optim.Adam
    opt = kind([p], lr=o["lr"], betas=o["betas"], eps=o["eps"], weight_decay=o["weight_decay"], foreach=False)
    ema = p.detach().clone()
    rec = {k: [] for k in ("lr", "norm", "p", "m", "v", "ema", "bf16")}
    p0 = p.detach().clone()
    for s in range(STEPS):
        lr = o["lr"] * min(1.0, s / 3)  # the first update has rate 0
        opt.param_groups[0]["lr"] = lr
        p.grad = grads[s].clone()
        norm = torch.nn.utils.clip_grad_norm_([p], o["clip"] if o["clip"] else float("inf"), foreach=False)
        opt.step()
        st = opt.state[p]
        with torch.no_grad():
            ema.sub_((1 - o["ema"]) * (ema - p))
        rec["lr"].append(torch.tensor(lr, dtype=torch.float64))
        for k, t in dict(norm=norm, p=p, m=st["exp_avg"], v=st["exp_avg_sq"], ema=ema, bf16=p.bfloat16()).items():
            rec[k].append(t.detach().clone())
    out = {k: torch.stack(v) for k, v in rec.items()}
    out["p0"], out["g"] = p0, grads
    out["options"] = torch.tensor([o["lr"], *o["betas"], o["eps"], o["weight_decay"], float(o["decoupled"]), o["clip"], o["ema"]],
                                  dtype=torch.float64)
    return out


tensors = {f"{c}.{k}": t.contiguous() for i, (c, o) in enumerate(CASES.items()) for k, t in run(i + 1, o).items()}
save_file(tensors, os.path.join(os.path.dirname(os.path.abspath(__file__)), "adamw.safetensors"))
