#!/usr/bin/env python3
"""e2eft import beside diffusers' own converter: single files in the original latent-diffusion layout, made from tiny
models by the mapping below, come out with the same names and bits. Then diffusers loads the folders, a training on an
imported folder equals one on the folder that the file was made from, and the tokenizer that is written for a file
without one gives the empty prompt's ids. Exits 77 where diffusers is missing.
"""
import json, os, re, shutil, subprocess, sys, tempfile
from pathlib import Path

try:
    import diffusers, torch, transformers
    from diffusers import StableDiffusionPipeline
    from diffusers.loaders.single_file_utils import (convert_ldm_clip_checkpoint, convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint,
                                                     convert_open_clip_checkpoint)
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

HERE = Path(__file__).resolve().parent
E2EFT = os.environ["E2EFT"]
BASES = {"sd2": HERE / "data/golden/models/tiny-sd2", "sd1": HERE / "data/variants/sd1"}
failures = []
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.set_verbosity_error()
transformers.utils.logging.set_verbosity_error()


def check(good, what):
    if not good:
        failures.append(what)
        print("FAILED:", what)


def program(*args, status=0):
    r = subprocess.run([E2EFT, *map(str, args)], capture_output=True, text=True)
    check(r.returncode == status, f"e2eft {' '.join(map(str, args))}: status {r.returncode}, {status} wanted\n{r.stderr}")
    return r.stdout + r.stderr


# ---- diffusers' names as the original code has them ----

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
          "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
ENDS = {"conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "conv_norm_out": "out.0", "conv_out": "out.2"}


def resnet(rest):
    head, tail = rest.split(".", 1)
    return f"{RESNET[head]}.{tail}"


def old_unet(name, layers, attention_up):
    stem, end = name.rsplit(".", 1)
    if stem in ENDS:
        return f"{ENDS[stem]}.{end}"
    if m := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        return f"middle_block.1.{m[3]}" if m[1] == "attentions" else f"middle_block.{2 * int(m[2])}.{resnet(m[3])}"
    way, level, kind, layer, rest = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name).groups()
    level, layer = int(level), int(layer)
    if kind == "downsamplers":
        return f"input_blocks.{(level + 1) * (layers + 1)}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"output_blocks.{level * (layers + 1) + layers}.{2 if attention_up[level] else 1}.{rest}"
    block = level * (layers + 1) + layer + (way == "down")
    where = f"{'input' if way == 'down' else 'output'}_blocks.{block}"
    return f"{where}.0.{resnet(rest)}" if kind == "resnets" else f"{where}.1.{rest}"


def old_vae(name, levels):
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm").replace("to_out.0", "proj_out")
    name = re.sub(r"attn_1\.to_([qkv])", r"attn_1.\1", name)
    name = re.sub(r"down_blocks\.(\d)", r"down.\1", name)
    name = re.sub(r"up_blocks\.(\d)", lambda m: f"up.{levels - 1 - int(m[1])}", name)
    return re.sub(r"resnets\.", "block.", re.sub(r"(down|up)samplers\.0", r"\1sample", name))


def openclip(state):
    """Fused projections; a last block that is not used, numbered 23 as in SD-2's file; text_projection."""
    out, hidden = {}, state["text_model.final_layer_norm.weight"].shape[0]
    for name, t in state.items():
        m = re.fullmatch(r"text_model\.encoder\.layers\.(\d+)\.(.*)", name)
        if not m:
            name = {"text_model.embeddings.token_embedding.weight": "token_embedding.weight",
                    "text_model.embeddings.position_embedding.weight": "positional_embedding"}.get(name, name)
            out[name.replace("text_model.final_layer_norm", "ln_final")] = t
        elif q := re.fullmatch(r"self_attn\.([qkv])_proj\.(weight|bias)", m[2]):
            if q[1] == "q":
                parts = [state[name.replace("q_proj", f"{x}_proj")] for x in "qkv"]
                out[f"transformer.resblocks.{m[1]}.attn.in_proj_{q[2]}"] = torch.cat(parts)
        else:
            rest = m[2].replace("layer_norm", "ln_").replace("self_attn", "attn").replace("fc1", "c_fc").replace("fc2", "c_proj")
            out[f"transformer.resblocks.{m[1]}.{rest}"] = t
    for name in [n for n in out if n.startswith("transformer.resblocks.0.")]:
        out[name.replace("resblocks.0.", "resblocks.23.")] = torch.randn(out[name].shape).to(out[name].dtype)
    return out | {"text_projection": torch.randn(hidden, hidden), "logit_scale": torch.tensor(4.6)}


def stored_part(base, part):
    """All shards, in fp32, under the names of now."""
    now = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    out = {}
    for file in sorted((base / part).glob("*.safetensors")):
        out |= load_file(file)
    rename = lambda k: re.sub(r"(attentions\.0\.)(query|key|value|proj_attn)\b", lambda m: m[1] + now[m[2]], k) if part == "vae" else k
    return {rename(k): t.float() for k, t in out.items()}


def single_file(base, kind, path, half):
    unet, vae, text = stored_part(base, "unet"), stored_part(base, "vae"), stored_part(base, "text_encoder")
    text = {k if k.startswith("text_model.") else f"text_model.{k}": v for k, v in text.items()}
    c, v = json.loads((base / "unet/config.json").read_text()), json.loads((base / "vae/config.json").read_text())
    out = {}
    for name, t in unet.items():
        out["model.diffusion_model." + old_unet(name, c["layers_per_block"], ["Cross" in b for b in c["up_block_types"]])] = t
    flat = {"model_ema." + k.removeprefix("model.").replace(".", ""): t + 1 for k, t in out.items()}
    for name, t in vae.items():
        conv = ".mid_block.attentions.0.to_" in name and t.ndim == 2
        out["first_stage_model." + old_vae(name, len(v["block_out_channels"]))] = t[:, :, None, None] if conv else t
    if kind == "sd2":
        out |= {"cond_stage_model.model." + k: t for k, t in openclip(text).items()}
    else:
        out |= {"cond_stage_model.transformer." + k: t for k, t in text.items()}
        out["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    if half:
        out = {k: t.half() if t.is_floating_point() else t for k, t in out.items()}
        flat = {k: t.half() for k, t in flat.items()}
    betas = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000, dtype=torch.float64) ** 2
    out |= {"betas": betas.float(), "alphas_cumprod": (1 - betas).cumprod(0).float(), "first_stage_model.loss.logvar": torch.zeros(1)}
    save_file({k: t.contiguous() for k, t in (out | flat).items()}, path, metadata={"format": "pt"})
    return out


class Config:
    """What diffusers' converter asks a text model for."""
    def __init__(self, hidden):
        self.config = CLIPTextConfig(hidden_size=hidden)


def diffusers_own(base, kind, stored):
    c, v = json.loads((base / "unet/config.json").read_text()), json.loads((base / "vae/config.json").read_text())
    hidden = json.loads((base / "text_encoder/config.json").read_text())["hidden_size"]
    text = convert_open_clip_checkpoint(Config(hidden), stored) if kind == "sd2" else convert_ldm_clip_checkpoint(stored)
    return {"unet": convert_ldm_unet_checkpoint(dict(stored), c), "vae": convert_ldm_vae_checkpoint(dict(stored), v),
            "text_encoder": {k: t for k, t in text.items() if not k.endswith("position_ids")}}


def weights(folder, part):
    return load_file(folder / part / ("model.safetensors" if part == "text_encoder" else "diffusion_pytorch_model.safetensors"))


def same_bits(a, b):
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and torch.equal(a[k], b[k]) for k in a)


def compare(name, folder, want):
    for part, tensors in want.items():
        got = weights(folder, part)
        tensors = {k: t for k, t in tensors.items() if not k.startswith("loss.")}
        check(same_bits(got, tensors), f"{name}: {part} is not what diffusers' converter makes: "
              f"{sorted(set(got) ^ set(tensors))[:6] or [k for k in got if not torch.equal(got[k], tensors[k])][:6]}")


def convert(kind, half, work):
    base, name = BASES[kind], f"{kind}{'-half' if half else ''}"
    file, out = work / f"{name}.safetensors", work / name
    stored = single_file(base, kind, file, half)
    said = program("inspect", file)
    check("latent-diffusion" in said and ("2.x" if kind == "sd2" else "1.x") in said, f"inspect of {name}: {said}")
    said = program("import", file, "-o", out, "--like", base)
    check("running mean" in said, f"{name}: nothing of the running mean: {said}")
    compare(name, out, diffusers_own(base, kind, stored))
    program("import", file, "-o", work / f"{name}-ema", "--like", base, "--ema")
    mean = {k: t + 1 for k, t in stored_part(base, "unet").items()}
    if not half:
        check(same_bits(weights(work / f"{name}-ema", "unet"), mean), f"{name}: --ema")
    StableDiffusionPipeline.from_pretrained(out)
    program("inspect", out)
    return out


def trains_as_its_origin(kind, folder, work):
    groups = work / "groups"
    groups.mkdir(exist_ok=True)
    stored = load_file(HERE / "data/golden/train/micro_batches.safetensors")
    save_file({"rgb": stored["0.rgb"], "metric": stored["0.metric"], "mask": stored["0.val_mask"].to(torch.uint8)}, groups / "000000.safetensors")
    lines = []
    for model in (BASES[kind], folder):
        run = work / f"run-{kind}-{model.name}"
        config = work / "run.yaml"
        config.write_text(f"run: {{dir: {run}, device: cpu}}\nmodel: {{path: {model}, text: padded}}\n"
                          f"data: [{{kind: batches, root: {groups}}}]\nloader: {{workers: 1}}\noptim: {{steps: 2, batch: 2, group: 2}}\n")
        program("train", config)
        lines.append([json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()])
    check(lines[0] == lines[1], f"{kind}: losses {lines}")


def alone(work):
    """Full-size vocabulary, Stable Diffusion's own heads and groups, no folder to look into: as a user has it."""
    torch.manual_seed(3)
    base = work / "alone-base"
    diffusers.UNet2DConditionModel(sample_size=8, in_channels=4, out_channels=4, block_out_channels=[64, 64, 128, 128], cross_attention_dim=64,
                                   layers_per_block=2, attention_head_dim=[1, 1, 2, 2], use_linear_projection=True,
                                   down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
                                   up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3).save_pretrained(base / "unet")
    diffusers.AutoencoderKL(block_out_channels=[32, 32, 32, 32], layers_per_block=2, down_block_types=["DownEncoderBlock2D"] * 4,
                            up_block_types=["UpDecoderBlock2D"] * 4, norm_num_groups=32).save_pretrained(base / "vae")
    text = CLIPTextModel(CLIPTextConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=1, hidden_act="gelu"))
    text.save_pretrained(base / "text_encoder")
    file, out = work / "alone.safetensors", work / "alone"
    stored = single_file(base, "sd2", file, True)
    said = program("import", file, "-o", out)
    check("v_prediction" in said and "tokenizer" in said, f"alone: {said}")
    compare("alone", out, diffusers_own(base, "sd2", stored))
    pipe = StableDiffusionPipeline.from_pretrained(out)
    check(pipe.scheduler.config.prediction_type == "v_prediction", "alone: prediction")
    tokens = pipe.tokenizer("", padding="do_not_pad", max_length=77, truncation=True, return_tensors="pt").input_ids
    check(tokens.tolist() == [[49406, 49407]], f"alone: the empty prompt is {tokens}")
    tokens = pipe.tokenizer("", padding="max_length", max_length=77, truncation=True).input_ids
    check(tokens == [49406, 49407] + [0] * 75, f"alone: padded it is {tokens}")
    program("import", file, "-o", work / "alone-epsilon", "--prediction", "epsilon", "--tokenizer", BASES["sd2"])
    check(json.loads((work / "alone-epsilon/scheduler/scheduler_config.json").read_text())["prediction_type"] == "epsilon", "alone: --prediction")
    check((work / "alone-epsilon/tokenizer/vocab.json").read_bytes() == (BASES["sd2"] / "tokenizer/vocab.json").read_bytes(), "alone: --tokenizer")
    return file


def refused(work, file):
    tiny, out = work / "sd2.safetensors", work / "refused"
    for args, status, words in [
            ([tiny, "-o", out], 4, "--like FOLDER"), ([tiny, "-o", work / "sd2"], 4, "is there already"), ([tiny], 2, "-o DIR is missing"),
            ([work / "none", "-o", out], 2, "no such file"), ([file, "-o", out, "--prediction", "v"], 2, "wanted epsilon or v_prediction"),
            ([file, "-o", out, "--tokenizer", work], 4, "no tokenizer"), ([file, "-o", out, "--like", BASES["sd1"]], 4, "imported"),
            ([tiny, "-o", out, "--like", work], 4, "config.json"), ([BASES["sd2"] / "vae/diffusion_pytorch_model.safetensors", "-o", out], 4, "layout")]:
        said = program("import", *args, status=status)
        check(words in said, f"import {args}: no \"{words}\" in {said}")
        check(not out.exists() and not Path(f"{out}.tmp").exists(), f"import {args}: left something")
    whole = file.read_bytes()
    for part in (0, 7, len(whole) // 1000, len(whole) // 2, len(whole) - 1):
        (work / "cut.safetensors").write_bytes(whole[:part])
        check("cut.safetensors" in program("import", work / "cut.safetensors", "-o", out, status=4), f"cut at {part}")


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for kind in BASES:
            folder = convert(kind, False, work)
            if kind == "sd2":
                trains_as_its_origin(kind, folder, work)
            convert(kind, True, work)
        refused(work, alone(work))
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
