#!/usr/bin/env python3
"""Dumps the output of every block of a diffusers model, as md_dump does for ours; compare with tdiff.

    dump_reference.py MODEL_DIR INPUTS.safetensors OUT_DIR

INPUTS: sample, timestep, encoder_hidden_states run the U-Net; z the VAE's decoder (divided by scaling_factor first);
image its encoder. Files are NNNN_module.path.npy in the order in which modules finish. Needs torch and diffusers.
"""
import pathlib
import re
import sys

import numpy
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file

# Modules that ours does not name: what is inside resnets and samplers, activations, dropouts, whole down and up blocks.
UNNAMED = re.compile(r"""(resnets\.\d+|samplers\.\d+|time_embedding|conv_act)\..* | .*(_act|nonlinearity)
                         | (.*\.)?(down|up)_blocks\.\d+ | (en|de)coder | .*\.(ff\.net\.1|to_out\.1) | (post_)?quant_conv
                         | .*(resnets|samplers)\.\d+\..+""", re.VERBOSE)


def hook_all(model, out):
    out.mkdir(parents=True, exist_ok=True)
    count = 0

    def saver(name):
        def save(_module, _inputs, output):
            nonlocal count
            tensor = output if torch.is_tensor(output) else getattr(output, "sample", output[0])
            numpy.save(out / f"{count:04d}_{name}.npy", tensor.detach().float().numpy())
            count += 1
        return save

    for name, module in model.named_modules():
        if name and not UNNAMED.fullmatch(name):
            module.register_forward_hook(saver(name))


@torch.no_grad()
def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    model, inputs, out = pathlib.Path(sys.argv[1]), load_file(sys.argv[2]), pathlib.Path(sys.argv[3])
    torch.set_num_threads(1)
    if "sample" in inputs:
        net = UNet2DConditionModel.from_pretrained(model / "unet")
        hook_all(net, out)
        net(inputs["sample"], inputs["timestep"], inputs["encoder_hidden_states"])
        return
    net = AutoencoderKL.from_pretrained(model / "vae")
    hook_all(net, out)
    if "image" in inputs:
        net.encode(inputs["image"])
    if "z" in inputs:
        net.decode(inputs["z"] / net.config.scaling_factor)


if __name__ == "__main__":
    main()
