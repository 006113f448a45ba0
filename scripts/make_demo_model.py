#!/usr/bin/env python3
"""Makes demo/model, the small base model that ./quickstart fine-tunes, from nothing but rendered scenes.

1. `e2eft synth` renders rooms and streets of this script's own seeds; `e2eft inspect --dump` hands them over as training sees them.
2. An autoencoder (AutoencoderKL) learns to rebuild their colours, depth maps and normal maps.
3. A U-Net learns, as Marigold's, to denoise depth latents beside the RGB latent: v-prediction at all timesteps. Not to its end:
   fine-tuning is to have something left to do.

Needs a Python with torch, diffusers, transformers and safetensors, and 45 minutes on two cores; each stage is kept under --work
and skipped when it is there. The result is written in f16.
"""
import argparse, json, math, shutil, subprocess, time
from pathlib import Path

import numpy as np, torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.numpy import load_file

H, W = 96, 128
ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "tests/data/golden/models/tiny-marigold"  # its text encoder and tokenizer serve: the prompt is always empty


# ---- scenes ----

def run(*command):
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)


def dump(a, kind, root, task, count, out):
    config = a.work / "dump.yaml"
    config.write_text(f"model: {{task: {task}}}\noptim: {{group: 1, batch: 1}}\n"
                      f"data: [{{kind: {kind}, root: {root}, size: [{H}, {W}], flip: 0, shuffle: false}}]\n")
    shutil.rmtree(out, ignore_errors=True)
    run(a.program, "inspect", config, "--dump", out, "--count", count)
    return [load_file(f) for f in sorted(out.glob("*.safetensors"))]


def depth_image(sample):
    """Depth in [-1,1] between the 2nd and 98th percentile, which `metric` is clamped to; the sky lies at the far end."""
    z, valid = sample["metric"][0, 0], sample["mask"][0, 0] > 0
    lo, hi = z[valid].min(), z[valid].max()
    return (z - lo) / max(hi - lo, 1e-6) * 2 - 1


def render(a, kind, seed):
    scenes, planes = a.work / f"scenes-{kind}", {"rgb": [], "depth": [], "normals": []}
    shutil.rmtree(scenes, ignore_errors=True)
    rooms, streets = (250, 0) if kind == "hypersim" else (0, 5)
    run(a.program, "synth", "-o", scenes, "--seed", seed, "--size", f"{H}x{W}", "--rooms", rooms, "--frames", 4,
        "--streets", streets, "--street-frames", 3, "--weathers", 5)
    root = scenes / ("hypersim" if kind == "hypersim" else "virtual_kitti_2")
    count = rooms * 4 * 7 // 8 if rooms else streets * 3 * 5 * 2
    for s in dump(a, kind, root, "depth", count, a.work / "dump"):
        if not s["mask"].any():
            continue
        planes["rgb"].append(np.rint((s["rgb"][0] + 1) * 127.5).astype(np.uint8))
        planes["depth"].append(depth_image(s).astype(np.float16)[None])
    if kind == "hypersim" and seed == a.first_seed:
        planes["normals"] = [s["normals"][0].astype(np.float16) for s in dump(a, kind, root, "normals", count, a.work / "dump")]
    shutil.rmtree(scenes)
    return {k: np.stack(v) for k, v in planes.items() if v}


def scenes(a, kind, seeds):
    """All planes of a kind, rendered once."""
    path = a.work / f"{kind}.npz"
    if not path.exists():
        parts = [render(a, kind, a.first_seed + s) for s in range(seeds)]
        np.savez(path, **{k: np.concatenate([p[k] for p in parts if k in p]) for k in parts[0]})
        print(kind, len(np.load(path)["rgb"]), "frames", flush=True)
    data = np.load(path)
    return {k: torch.from_numpy(data[k]) for k in data.files}


def as_image(plane, index):
    x = plane[index]
    x = x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x.float()
    return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x


def mirrored(x):
    flip = torch.rand(len(x)) < 0.5
    return torch.where(flip[:, None, None, None], x.flip(-1), x)


# ---- training ----

def cosine(step, steps, warmup=200):
    return min(1, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-3


def train(a, name, net, loss_of, steps, lr):
    """Trains net for `steps`, saving its average of weights; goes on where a stopped run was."""
    path, opt = a.work / f"{name}.pt", torch.optim.AdamW(net.parameters(), lr, weight_decay=1e-3, betas=(0.9, 0.99))
    ema, begin, t0, seen = {k: v.clone() for k, v in net.state_dict().items()}, 0, time.time(), []
    if path.exists():
        state = torch.load(path)
        begin, ema = state["step"], state["ema"]
        net.load_state_dict(state["net"]), opt.load_state_dict(state["opt"])
    for step in range(begin, steps):
        torch.manual_seed(step)
        np.random.seed(step)
        opt.param_groups[0]["lr"] = lr * cosine(step, steps)
        loss = loss_of()
        opt.zero_grad(), loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0), opt.step()
        with torch.no_grad():
            for k, v in net.state_dict().items():
                ema[k].lerp_(v, 1 - min(0.999, (step + 1) / (step + 10)))
        seen.append(loss.item())
        if (step + 1) % 250 == 0 or step + 1 == steps:
            torch.save({"step": step + 1, "net": net.state_dict(), "ema": ema, "opt": opt.state_dict()}, path)
            print(f"{name} {step + 1}/{steps} loss {np.mean(seen[-250:]):.4f} {(time.time() - t0) / len(seen):.3f} s a step", flush=True)
    net.load_state_dict(ema)
    return net


def new_vae():
    blocks = (8, 16, 32)
    return AutoencoderKL(block_out_channels=blocks, down_block_types=("DownEncoderBlock2D",) * len(blocks),
                         up_block_types=("UpDecoderBlock2D",) * len(blocks), layers_per_block=1, norm_num_groups=4,
                         latent_channels=4, sample_size=W)


def new_unet():
    blocks = (32, 64, 80, 80)
    return UNet2DConditionModel(
        sample_size=W // 4, in_channels=8, out_channels=4, block_out_channels=blocks, layers_per_block=1,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 3, up_block_types=("CrossAttnUpBlock2D",) * 3 + ("UpBlock2D",),
        attention_head_dim=[2, 4, 5, 5], cross_attention_dim=32, norm_num_groups=8, use_linear_projection=True)


def edges(x):
    return torch.cat([(x[..., 1:] - x[..., :-1]).flatten(1), (x[..., 1:, :] - x[..., :-1, :]).flatten(1)], 1)


def vae_loss(vae, rooms, streets):
    pick = lambda plane, n: as_image(plane, torch.from_numpy(np.random.choice(len(plane), n)))
    x = mirrored(torch.cat([pick(rooms["rgb"], 4), pick(streets["rgb"], 2), pick(rooms["depth"], 5), pick(streets["depth"], 3),
                            pick(rooms["normals"], 2)]))
    posterior = vae.encode(x).latent_dist
    y = vae.decode(posterior.sample()).sample
    kl = posterior.mean.pow(2).mean() + (posterior.var - posterior.logvar - 1).mean()
    return F.l1_loss(y, x) + F.l1_loss(edges(y), edges(x)) + 1e-4 * kl


def unet_loss(unet, schedule, rooms, streets, text, batch=16):
    def pick(data, n):
        i, side = torch.from_numpy(np.random.choice(len(data[0][0]), n)), np.random.randint(2)
        return torch.stack([data[side][0][i], data[side][1][i]])
    rgb, z = torch.cat([pick(rooms, batch * 3 // 4), pick(streets, batch - batch * 3 // 4)], 1)
    noise, t = torch.randn_like(z), torch.randint(0, 1000, (len(z),))
    out = unet(torch.cat([rgb, schedule.add_noise(z, noise, t)], 1), t, text.expand(len(z), -1, -1)).sample
    return F.mse_loss(out, schedule.get_velocity(z, noise, t))


@torch.no_grad()
def latents(a, name, vae, data):
    """Of both sides: ((rgb, depth), (rgb mirrored, depth mirrored)), means, not scaled; encoded once."""
    path = a.work / f"latents-{name}.pt"
    if path.exists() and path.stat().st_mtime > (a.work / "vae.pt").stat().st_mtime:
        return torch.load(path)
    side = lambda plane, turn: torch.cat([vae.encode(turn(as_image(plane, slice(i, i + 64)))).latent_dist.mean
                                          for i in range(0, len(plane), 64)])
    both = [[side(data[k], turn) for k in ("rgb", "depth")] for turn in (lambda x: x, lambda x: x.flip(-1))]
    torch.save(both, path)
    return both


# ---- the folder ----

def empty_prompt():
    from transformers import CLIPTextModel, CLIPTokenizer
    ids = CLIPTokenizer.from_pretrained(TINY / "tokenizer")("", return_tensors="pt").input_ids
    with torch.no_grad():
        return CLIPTextModel.from_pretrained(TINY / "text_encoder")(ids)[0]


def save(a, vae, unet, schedule):
    out = a.out
    vae.half().save_pretrained(out / "vae")
    unet.half().save_pretrained(out / "unet")
    schedule.save_pretrained(out / "scheduler")
    for part in ("text_encoder", "tokenizer"):
        shutil.copytree(TINY / part, out / part, dirs_exist_ok=True)
    index = json.loads((TINY / "model_index.json").read_text())
    index.update(default_processing_resolution=W)
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    print(out, sum(f.stat().st_size for f in out.rglob("*") if f.is_file()), "bytes")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", type=Path, default=ROOT / "build/release/e2eft")
    p.add_argument("--work", type=Path, default=Path("demo-work"), help="scenes and unfinished networks")
    p.add_argument("--out", type=Path, default=ROOT / "demo/model")
    p.add_argument("--first-seed", type=int, default=9000)
    p.add_argument("--vae-steps", type=int, default=3000)
    p.add_argument("--unet-steps", type=int, default=400)
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    rooms, streets = scenes(a, "hypersim", 6), scenes(a, "vkitti2", 16)
    torch.manual_seed(0)
    vae, unet = new_vae(), new_unet()
    train(a, "vae", vae, lambda: vae_loss(vae, rooms, streets), a.vae_steps, 2e-3)
    vae.eval().requires_grad_(False)
    rooms, streets = latents(a, "rooms", vae, rooms), latents(a, "streets", vae, streets)
    scale = 1 / float(torch.cat([x.flatten() for s in rooms + streets for x in s]).std())
    vae.register_to_config(scaling_factor=round(scale, 5))
    scaled = lambda data: [[x * vae.config.scaling_factor for x in side] for side in data]
    rooms, streets = scaled(rooms), scaled(streets)
    schedule = DDIMScheduler.from_pretrained(TINY / "scheduler")
    text = empty_prompt()
    train(a, "unet", unet, lambda: unet_loss(unet, schedule, rooms, streets, text), a.unet_steps, 1.5e-3)
    save(a, vae, unet, schedule)


if __name__ == "__main__":
    main()
