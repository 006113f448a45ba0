#!/usr/bin/env python3
"""Small models unlike the golden ones, and what diffusers computes with them: tests/data/variants.

    python tests/data/make_variants.py               the two that the repository holds
    python tests/data/make_variants.py --all DIR     many more, for `md_variants_test DIR`; whole gradients are stored

Needs torch, diffusers and transformers; the tests that read the files do not. A variant is a diffusers model folder
with an expected.safetensors beside its parts:
    unet.{sample,timestep,text,grad_out} -> unet.{out,grad_sample,grad_text,grad_norms} (norms f64, in the order of
    named_parameters; with --all also unet.grads, flat), vae.{image,z,grad_image} -> vae.{moments,decoded,grad_z},
    clip.ids -> clip.{last_hidden_state,empty}.
Everything is computed in float64 and stored as float32, so that what a test sees is its own rounding alone.
"""
import argparse
import json
import pathlib
import shutil

import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

HERE = pathlib.Path(__file__).resolve().parent
CROSS_DOWN, DOWN, CROSS_UP, UP = "CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"

# name: (U-Net, latent size (B, h, w), text (B, tokens), type on disk, bytes a shard or None)
UNETS = {
    # Stable Diffusion 1.x: 1x1 convolutions as projections, one number of heads for all blocks, one layer a block
    "sd1": (dict(block_out_channels=(8, 8, 16), down_block_types=(CROSS_DOWN, CROSS_DOWN, DOWN),
                 up_block_types=(UP, CROSS_UP, CROSS_UP), layers_per_block=1, attention_head_dim=4,
                 cross_attention_dim=16, norm_num_groups=4, use_linear_projection=False),
            (2, 9, 13), (2, 5), torch.float16, "50KB"),
    # 1 to 3 layers, blocks with and without attention out of their usual places, two transformer layers, no attention
    # in the middle, sin before cos
    "layers": (dict(block_out_channels=(4, 8, 8), down_block_types=(DOWN, CROSS_DOWN, CROSS_DOWN),
                    up_block_types=(CROSS_UP, UP, CROSS_UP), mid_block_type="UNetMidBlock2D", layers_per_block=(1, 3, 2),
                    transformer_layers_per_block=(1, 1, 2), attention_head_dim=(1, 2, 4), cross_attention_dim=6,
                    norm_num_groups=2, use_linear_projection=True, in_channels=8, flip_sin_to_cos=False, freq_shift=1),
               (1, 7, 10), (1, 3), torch.bfloat16, None),
}
MORE_UNETS = {
    "one_block": (dict(block_out_channels=(12,), down_block_types=(CROSS_DOWN,), up_block_types=(CROSS_UP,),
                       layers_per_block=2, attention_head_dim=3, cross_attention_dim=8, norm_num_groups=3),
                  (3, 5, 4), (3, 2), torch.float32, None),
    "no_mid": (dict(block_out_channels=(8, 8), down_block_types=(CROSS_DOWN, DOWN), up_block_types=(UP, CROSS_UP),
                    mid_block_type=None, layers_per_block=3, attention_head_dim=2, cross_attention_dim=8, norm_num_groups=4,
                    use_linear_projection=True), (2, 9, 13), (1, 77), torch.float32, None),
    "five": (dict(block_out_channels=(8, 8, 16, 16, 24), down_block_types=(CROSS_DOWN,) * 4 + (DOWN,),
                  up_block_types=(UP,) + (CROSS_UP,) * 4, layers_per_block=3, attention_head_dim=(1, 2, 4, 2, 3),
                  cross_attention_dim=20, norm_num_groups=8, use_linear_projection=True, upcast_attention=True,
                  norm_eps=1e-4), (2, 17, 33), (2, 4), torch.float32, "100KB"),
    "uneven_heads": (dict(block_out_channels=(12, 20), down_block_types=(CROSS_DOWN, CROSS_DOWN), up_block_types=(CROSS_UP, CROSS_UP),
                          layers_per_block=1, attention_head_dim=(5, 3), cross_attention_dim=8, norm_num_groups=4,
                          use_linear_projection=False), (2, 8, 6), (2, 4), torch.float32, None),
    "odd_width": (dict(block_out_channels=(9, 15), down_block_types=(CROSS_DOWN, DOWN), up_block_types=(UP, CROSS_UP),
                       layers_per_block=2, attention_head_dim=3, cross_attention_dim=7, norm_num_groups=3,
                       use_linear_projection=True, out_channels=5, in_channels=3), (1, 1, 3), (1, 1), torch.float32, None),
    "eight": (dict(block_out_channels=(4,) * 8, down_block_types=(CROSS_DOWN,) * 8, up_block_types=(CROSS_UP,) * 8,
                   layers_per_block=1, attention_head_dim=1, cross_attention_dim=4, norm_num_groups=2), (1, 9, 13), (1, 2),
              torch.float32, None),
    "all_attention": (dict(block_out_channels=(8, 16), down_block_types=(CROSS_DOWN, CROSS_DOWN), up_block_types=(CROSS_UP, CROSS_UP),
                           layers_per_block=(2, 1), transformer_layers_per_block=2, attention_head_dim=8, cross_attention_dim=8,
                           norm_num_groups=8, use_linear_projection=True), (2, 6, 6), (2, 3), torch.float32, None),
}
# name: (VAE, image (B, H, W), type on disk, old spelling of the attention)
VAES = {
    "sd1": (dict(block_out_channels=(4, 4, 4, 8), layers_per_block=1, norm_num_groups=2, latent_channels=4),
            (1, 16, 24), torch.float16, True),
    "layers": (dict(block_out_channels=(4, 8), layers_per_block=3, norm_num_groups=4, latent_channels=4, use_quant_conv=False,
                    use_post_quant_conv=False, mid_block_add_attention=False, scaling_factor=0.5),
               (2, 10, 6), torch.bfloat16, False),
}
MORE_VAES = {
    "one_block": (dict(block_out_channels=(6,), layers_per_block=2, norm_num_groups=3, latent_channels=2), (2, 5, 7), torch.float32, False),
    "five": (dict(block_out_channels=(4, 8, 8, 12, 16), layers_per_block=2, norm_num_groups=4, latent_channels=16),
             (2, 32, 48), torch.float32, False),
}
CLIPS = {
    "sd1": (dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, hidden_act="quick_gelu"),
            torch.float16),
}
MORE_CLIPS = {
    "one_block": (dict(hidden_size=24, intermediate_size=40, num_hidden_layers=1, num_attention_heads=3, hidden_act="gelu"),
                  torch.float32),
}


def randomise(model, generator, dtype):
    """Sensible random weights, each exactly representable in dtype."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            r = torch.randn(p.shape, generator=generator)
            if p.ndim > 1:
                r = r / p[0].numel() ** 0.5
            elif name.endswith("weight"):
                r = 1 + 0.3 * r
            else:
                r = 0.3 * r
            p.copy_(r.to(dtype).float())
    return model.train()


def draw(generator, *shape):
    """Normal numbers that a float32 holds exactly, in float64."""
    return torch.randn(*shape, generator=generator).double()


def stored(part, tensors):
    keep = ("grad_norms",)
    return {f"{part}.{k}": v.detach() if k in keep or v.dtype == torch.int64 else v.detach().float() for k, v in tensors.items()}


def save_typed(model, folder, dtype, shard=None):
    """As save_pretrained, with the weights in dtype; the model stays as it is."""
    typed = type(model).from_config(model.config) if hasattr(model, "from_config") else type(model)(model.config)
    typed.load_state_dict(model.state_dict())
    typed = typed.to(dtype)
    typed.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))


def make_unet(spec, folder, g, whole):
    config, (b, h, w), (tb, tokens), dtype, shard = spec
    model = randomise(UNet2DConditionModel(**config), g, dtype)
    save_typed(model, folder / "unet", dtype, shard)
    model.double()
    t = {"sample": draw(g, b, model.config.in_channels, h, w).requires_grad_(),
         "timestep": torch.tensor([999, 3, 500][:b]),
         "text": draw(g, tb, tokens, model.config.cross_attention_dim).requires_grad_()}
    t["out"] = model(t["sample"], t["timestep"], t["text"].expand(b, -1, -1)).sample
    t["grad_out"] = draw(g, *t["out"].shape)
    t["out"].backward(t["grad_out"])
    t["grad_sample"], t["grad_text"] = t["sample"].grad, t["text"].grad
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    t["grad_norms"] = torch.stack([x.norm() for x in grads])
    if whole:
        t["grads"] = torch.cat([x.flatten() for x in grads])
    return stored("unet", t)


def make_vae(spec, folder, g):
    config, (b, h, w), dtype, old = spec
    n = len(config["block_out_channels"])
    model = AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * n, up_block_types=("UpDecoderBlock2D",) * n, **config)
    save_typed(randomise(model, g, dtype), folder / "vae", dtype)
    if old:
        path = folder / "vae" / "diffusion_pytorch_model.safetensors"
        names = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
        tensors = load_file(path)
        for new, before in names.items():
            tensors = {k.replace(new, before): v for k, v in tensors.items()}
        save_file(tensors, path, metadata={"format": "pt"})
    model.double()
    t = {"image": draw(g, b, 3, h, w).clamp(-1, 1)}
    with torch.no_grad():
        t["moments"] = model.encode(t["image"]).latent_dist.parameters
    t["z"] = draw(g, *t["moments"].shape)[:, : config["latent_channels"]].clone().requires_grad_()
    t["decoded"] = model.decode(t["z"]).sample
    t["grad_image"] = draw(g, *t["decoded"].shape)
    t["decoded"].backward(t["grad_image"])
    t["grad_z"] = t["z"].grad
    return stored("vae", t)


def make_clip(spec, folder, g):
    config, dtype = spec
    model = CLIPTextModel(CLIPTextConfig(vocab_size=520, max_position_embeddings=77, **config))
    save_typed(randomise(model, g, dtype).eval(), folder / "text_encoder", dtype)
    model.double()
    tokenizer = folder / "tokenizer"
    shutil.copytree(HERE / "golden/models/tiny-sd2/tokenizer", tokenizer, dirs_exist_ok=True)
    for file in ("special_tokens_map.json", "tokenizer_config.json"):  # SD-1 pads with the end token
        d = json.loads((tokenizer / file).read_text())
        d["pad_token"] = "<|endoftext|>"
        (tokenizer / file).write_text(json.dumps(d, indent=2) + "\n")
    ids = torch.randint(0, 520, (2, 9), generator=g)
    empty = torch.tensor([[518] + [519] * 76])
    with torch.no_grad():
        return stored("clip", {"ids": ids, "last_hidden_state": model(ids).last_hidden_state,
                               "empty": model(empty).last_hidden_state})


def make(name, folder, whole, unets, vaes, clips):
    g = torch.Generator().manual_seed(sum(name.encode()))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    expected = make_unet(unets[name], folder, g, whole)
    if name in vaes:
        expected |= make_vae(vaes[name], folder, g)
    if name in clips:
        expected |= make_clip(clips[name], folder, g)
    prediction = "v_prediction" if name == "layers" else "epsilon"
    common = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction, steps_offset=1)
    scheduler = PNDMScheduler(skip_prk_steps=True, **common) if name == "sd1" else DDIMScheduler(clip_sample=False, **common)
    scheduler.save_pretrained(folder / "scheduler")
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0"}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    save_file({k: v.contiguous().clone() for k, v in expected.items()}, folder / "expected.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", metavar="DIR", type=pathlib.Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.all:
        for name in UNETS | MORE_UNETS:
            make(name, args.all / name, True, UNETS | MORE_UNETS, VAES | MORE_VAES, CLIPS | MORE_CLIPS)
    else:
        for name in UNETS:
            make(name, HERE / "variants" / name, False, UNETS, VAES, CLIPS)


if __name__ == "__main__":
    main()
