#!/usr/bin/env python3
"""What a run leaves and `e2eft export` makes, in the programs that people use it with.

Trains tiny models for a few updates and loads model/ and portable/ in diffusers: MarigoldDepthPipeline and
MarigoldNormalsPipeline, with stock calls, against the program's own single step (tests/tr_forward_tool.c) and against
the same step written out in PyTorch; in the steps by which E2E-FT's own scripts load a folder; and file by file against
Python's safetensors writer. Exits 77 where diffusers is missing.
"""
import hashlib, json, os, shutil, subprocess, sys, tempfile
from pathlib import Path

try:
    import diffusers, numpy as np, torch, transformers
    from diffusers import (AutoencoderKL, DDIMScheduler, DiffusionPipeline, LCMScheduler, MarigoldDepthPipeline,
                           MarigoldNormalsPipeline, UNet2DConditionModel)
    from PIL import Image
    from safetensors import safe_open
    from safetensors.torch import load_file, save, save_file
    from transformers import CLIPTextModel, CLIPTokenizer
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

HERE = Path(__file__).resolve().parent
GOLDEN, E2EFT, TOOLS = HERE / "data/golden", os.environ["E2EFT"], Path(os.environ["E2EFT_TESTS"])
LIMIT = {"depth": 2e-4, "normals": 2e-3}
PIPELINE = {"depth": MarigoldDepthPipeline, "normals": MarigoldNormalsPipeline}
CASES = [
    dict(name="depth-v", task="depth", base="tiny-marigold", text="padded", noise="zeros", ema=0, prediction="v_prediction"),
    dict(name="depth-epsilon-none", task="depth", base="tiny-sd2", text="short", noise="none", ema=0, prediction="epsilon"),
    dict(name="normals-v-widened-ema", task="normals", base="tiny-sd2", text="padded", noise="zeros", ema=0.5, prediction="v_prediction"),
    dict(name="normals-sample-none", task="normals", base="tiny-sd2", text="short", noise="none", ema=0, prediction="sample"),
]
failures = []
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()


def check(good, what):
    if not good:
        failures.append(what)
        print("FAILED:", what)


def program(*args, status=0):
    r = subprocess.run([E2EFT, *map(str, args)], capture_output=True, text=True)
    check(r.returncode == status, f"e2eft {' '.join(map(str, args))}: status {r.returncode}\n{r.stderr}")
    return r.stderr


def stored_groups(out):
    out.mkdir()
    stored = load_file(GOLDEN / "train/micro_batches.safetensors")
    for i in range(4):
        group = {"rgb": stored[f"{i}.rgb"], "metric": stored[f"{i}.metric"], "normals": stored[f"{i}.normals"],
                 "mask": stored[f"{i}.val_mask"].to(torch.uint8)}
        save_file({k: v.contiguous() for k, v in group.items()}, out / f"{i:06d}.safetensors")


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def train(case, work, groups):
    base = work / f"{case['name']}-base"
    shutil.copytree(GOLDEN / "models" / case["base"], base)
    change(base / "scheduler/scheduler_config.json", prediction_type=case["prediction"])
    change(base / "unet/config.json", sample_size=8)  # without an index of Marigold's: 64 pixels to compute at
    config = work / f"{case['name']}.yaml"
    config.write_text(
        f"run: {{dir: {work / case['name']}, device: cpu}}\n"
        f"model: {{path: {base}, task: {case['task']}, text: {case['text']}, noise: {case['noise']}}}\n"
        f"data: [{{kind: batches, root: {groups}}}]\nloader: {{workers: 1}}\n"
        f"optim: {{steps: 4, batch: 4, group: 2, lr: 3e-4, warmup: 1, ema: {case['ema']}}}\n")
    program("train", config)
    return work / case["name"]


def picture(work):
    """64 x 48, which tiny models' default_processing_resolution leaves alone."""
    y, x = np.mgrid[0:48, 0:64]
    rgb = np.stack([128 + 90 * np.sin(x / 9), 4.5 * y, 255 * ((x // 16 + y // 12) % 2)], -1).clip(0, 255).astype(np.uint8)
    save_file({"rgb": torch.from_numpy(rgb).permute(2, 0, 1).float().contiguous() / 127.5 - 1}, work / "rgb.safetensors")
    return Image.fromarray(rgb)


def own_step(case, folder, work, noise="zeros"):
    out = work / "own.npy"
    r = subprocess.run([TOOLS / "tr_forward_tool", folder, case["task"], noise, "999", work / "rgb.safetensors", out],
                       capture_output=True, text=True)
    check(r.returncode == 0, r.stderr)
    return torch.from_numpy(np.load(out))


def torch_step(case, folder, rgb, clip=False):
    """The single step of training with the plain weights and 2 tokens. clip: before normals get their length, as diffusers."""
    unet, vae = UNet2DConditionModel.from_pretrained(folder / "unet"), AutoencoderKL.from_pretrained(folder / "vae")
    ids = CLIPTokenizer.from_pretrained(folder / "tokenizer")([""], padding=False, return_tensors="pt").input_ids
    a = DDIMScheduler.from_pretrained(folder / "scheduler").alphas_cumprod[999]
    with torch.no_grad():
        text = CLIPTextModel.from_pretrained(folder / "text_encoder")(ids)[0]
        latent = vae.encode(rgb[None]).latent_dist.mode() * vae.config.scaling_factor
        sample = latent if case["noise"] == "none" else torch.cat((latent, torch.zeros_like(latent)), 1)
        out = unet(sample, 999, text)[0]
        x0 = {"v_prediction": -((1 - a) ** 0.5) * out, "epsilon": -((1 - a) / a) ** 0.5 * out, "sample": out}[case["prediction"]]
        image = vae.decode(x0 / vae.config.scaling_factor)[0][0]
    if case["task"] == "depth":
        return image.mean(0, keepdim=True).clamp(-1, 1)
    if clip:
        image = image.clamp(-1, 1)
    return (image / (image.norm(dim=0, keepdim=True) + 1e-5)).clamp(-1, 1)


def as_client(case, own):
    """The program's numbers in the client's units and layout."""
    return ((own + 1) / 2 if case["task"] == "depth" else own).permute(1, 2, 0).numpy()[None]


def stock_calls(case, folder, image, want, limit, measure=np.max, **loading):
    """The largest of the differences, each measured over an image, to what is wanted: at the pipeline's own defaults, at
    three numbers of steps, three seeds, two schedulers."""
    worst = 0.0
    pipe = PIPELINE[case["task"]].from_pretrained(folder, **loading)
    pipe.set_progress_bar_config(disable=True)
    for scheduler in (DDIMScheduler, LCMScheduler):
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
        got = pipe(image, generator=torch.Generator().manual_seed(7)).prediction  # as its own defaults have it
        worst = max(worst, measure(np.abs(got - want)))
        for steps in (1, 4, 10):
            for seed in (0, 1, 2):
                got = pipe(image, num_inference_steps=steps, generator=torch.Generator().manual_seed(seed)).prediction
                worst = max(worst, measure(np.abs(got - want)))
    check(worst <= limit, f"{folder.name} of {case['name']}: a stock call differs by {worst:.3g}, at most {limit} wanted")
    return worst


def named_by_index(case, folder, image):
    """DiffusionPipeline finds the class; its settings are those that the pipeline asks for."""
    pipe = DiffusionPipeline.from_pretrained(folder)
    check(type(pipe) is PIPELINE[case["task"]], f"{folder}: is a {type(pipe).__name__}")
    c = pipe.config
    check(c.default_denoising_steps == 1 and c.default_processing_resolution % 8 == 0, f"{folder}: defaults {c}")
    if case["task"] == "depth":
        check(c.prediction_type == "depth" and c.scale_invariant and c.shift_invariant, f"{folder}: {c}")
    else:
        check(c.prediction_type == "normals" and c.use_full_z_range, f"{folder}: {c}")
    s = pipe.scheduler
    check(type(s) is DDIMScheduler and s.config.timestep_spacing == "trailing" and s.config.set_alpha_to_one
          and not s.config.clip_sample, f"{folder}: scheduler {s}")


def plain_model(case, folder, image, want, limit):
    """model/ gives the trained answer to a client that passes zeros for the noise."""
    if case["noise"] == "none":
        return  # 4 channels: for training only
    pipe = PIPELINE[case["task"]].from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    got = pipe(image, num_inference_steps=1, latents=torch.zeros(1, 4, 6, 8)).prediction
    d = np.abs(got - want).max()
    check(d <= limit, f"{folder}: with zero latents it differs by {d:.3g}")


def as_reference_loads(folder):
    """E2E-FT's run.py: each part from its subfolder, the scheduler as DDIM with a spacing of its own choice."""
    UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    AutoencoderKL.from_pretrained(folder, subfolder="vae")
    CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")
    CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
    s = DDIMScheduler.from_pretrained(folder, timestep_spacing="trailing", subfolder="scheduler")
    s.set_timesteps(1)
    check(s.timesteps.tolist() == [999], f"{folder}: one trailing step is {s.timesteps.tolist()}")


def without_metadata(data):
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    return list(header.pop("__metadata__").items()), list(header.items()), data[8 + n:], n


def as_python_writes(folder):
    """Bytes: those of Python's writer, but for the order of metadata, which there is that of a random hash."""
    for path in sorted(folder.glob("*/*.safetensors")):
        with safe_open(path, "pt") as f:
            meta = f.metadata()
        ours, theirs = path.read_bytes(), save(load_file(path), metadata=meta)
        if len(meta) == 1:
            check(ours == theirs, f"{path}: not the bytes of Python's writer")
        (m, t, d, n), (mm, tt, dd, nn) = without_metadata(ours), without_metadata(theirs)
        check((sorted(m), t, n) == (sorted(mm), tt, nn) and d == dd, f"{path}: not what Python's writer gives")
        check(meta.get("format") == "pt", f"{path}: {meta}")
    with safe_open(folder / "unet/diffusion_pytorch_model.safetensors", "pt") as f:
        meta = f.metadata()
    for key in ("version", "commit", "config", "base", "step", "task"):
        check(f"e2eft.{key}" in meta, f"{folder}: no stamp {key}: {meta}")


def halves(folder):
    for wide in sorted(folder.glob("*/*.safetensors")):
        if ".fp16." in wide.name:
            continue
        a, b = load_file(wide), load_file(wide.with_name(wide.name.replace(".safetensors", ".fp16.safetensors")))
        check(a.keys() == b.keys() and all(torch.equal(a[k].half(), b[k]) for k in a), f"{wide}: fp16 is not its rounding")


def checksums(folder):
    listed = dict(reversed(line.split("  ", 1)) for line in (folder / "SHA256SUMS").read_text().splitlines())
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} - {"SHA256SUMS"}
    check(set(listed) == there, f"{folder}: SHA256SUMS lists {sorted(set(listed) ^ there)} too much or too little")
    for name, digest in listed.items():
        check(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, f"{folder}/{name}: wrong digest")


def run_case(case, work, groups):
    run, image = train(case, work, groups), picture(work)
    limit = LIMIT[case["task"]]
    own, rgb = own_step(case, run / "model", work, case["noise"]), load_file(work / "rgb.safetensors")["rgb"]
    d = (own - torch_step(case, run / "model", rgb)).abs().max().item()
    check(d <= limit, f"{case['name']}: own step and PyTorch's differ by {d:.3g}")
    plain_model(case, run / "model", image, as_client(case, torch_step(case, run / "model", rgb, clip=True)), limit)
    if case["ema"]:  # the portable form is of the running mean: own step on it
        own = own_step(case, run / "portable", work)
    want = as_client(case, own)
    worst = stock_calls(case, run / "portable", image, want, limit)
    half = stock_calls(case, run / "portable", image, want, 5e-3, measure=np.mean, variant="fp16")
    print(f"{case['name']}: stock calls differ by {worst:.2g} at most, with the fp16 files by {half:.2g} on average")
    for folder in (run / "model", run / "portable"):
        named_by_index(case, folder, image)
        as_reference_loads(folder)
        as_python_writes(folder)
        halves(folder)
        checksums(folder)
    said = json.loads((run / "run.json").read_text())["exports"]
    check(said["portable"]["difference"] < 1e-3 and said["model"]["difference"] == 0, f"run.json: {said}")
    check((said["portable"]["text_difference"] > 0) == (case["text"] == "padded"), f"run.json: {said}")
    return run


def same_as_at_the_end(case, run, work):
    """`e2eft export` from the checkpoint gives the folders that the run ended with."""
    for form, flags in (("model", []), ("portable", ["--folded"])):
        out = work / f"{case['name']}-{form}"
        program("export", "--checkpoint", run, "-o", out, *flags)
        a, b = ((p / "SHA256SUMS").read_text() for p in (run / form, out))
        check(a == b, f"{out}: not what the run left in {form}/")


def x_to_the_right(case, run, work, image):
    out, want = work / "right", as_client(case, own_step(case, run / "portable", work))
    program("export", "--checkpoint", run, "-o", out, "--folded", "--normals-frame", "marigold")
    want[..., 0] *= -1
    stock_calls(case, out, image, want, LIMIT["normals"])


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        stored_groups(work / "groups")
        for case in CASES:
            run = run_case(case, work, work / "groups")
            same_as_at_the_end(case, run, work)
            if case["name"].startswith("normals-v"):
                x_to_the_right(case, run, work, picture(work))
    print(f"{len(CASES)} runs, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
