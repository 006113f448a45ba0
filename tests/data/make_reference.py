#!/usr/bin/env python3
"""Writes tests/data/synth/truth/reference.safetensors: what the reference's own code makes of the rendered Hypersim frames.

usage: make_reference.py SYNTH REFERENCE      REFERENCE is a checkout of VisualComputingInstitute/diffusion-e2e-ft
needs: torch torchvision pandas opencv-python-headless matplotlib h5py pillow safetensors

Its preprocess_hypersim.py runs with the frames' size in place of 1024x768, then its Hypersim class reads the result.
"<item>.<H>x<W>.<flip>" (0x0 = native) holds zlib.crc32 of the float32 planes rgb, metric, depth, normals and of the u8 mask.
"""
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SYNTH, REFERENCE = Path(sys.argv[1]).resolve() / "hypersim", Path(sys.argv[2]).resolve()
OUT = Path(__file__).resolve().parent / "synth" / "truth" / "reference.safetensors"
SCRIPTS = REFERENCE / "Marigold/script/dataset_preprocess/hypersim"


def preprocess(out):
    text = (SCRIPTS / "preprocess_hypersim.py").read_text()
    for old, new in [("= 1024", "= 256"), ("= 768", "= 192"), ('["train", "val", "test"]', '["train"]')]:
        assert old in text
        text = text.replace(old, new)
    subprocess.run([sys.executable, "-c", text, "--split_csv", SYNTH / "metadata_images_split_scene_v1.csv",
                    "--dataset_dir", SYNTH / "raw_data", "--output_dir", out],
                   check=True, env={**os.environ, "PYTHONPATH": f"{SCRIPTS}:{os.environ.get('PYTHONPATH', '')}"})
    for preview in (SYNTH / "raw_data").glob("*/images/*_geometry_preview"):
        link = out / "normals" / preview.relative_to(SYNTH / "raw_data")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(preview)


def checksums(load, data, i, size, flip):
    data.transform = load.SynchronizedTransform_Hyper(*size) if size else None
    load.random.random = lambda: 0.9 if flip else 0.1
    item = data[i]
    planes = [item["rgb"], item["metric"], item["depth"][:1], item["normals"], item["val_mask"]]
    return np.array([zlib.crc32(np.ascontiguousarray(p.numpy()).tobytes()) for p in planes], np.int64)


def main():
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)  # the class has its list's path from the working folder
        preprocess(Path("data/hypersim/processed").absolute())
        sys.path.insert(0, str(REFERENCE / "training/dataloaders"))
        import load
        data, crc = load.Hypersim(root_dir="data/hypersim/processed"), {}
        for i in range(len(data)):
            for size, flip in [(None, 0), ((96, 128), 0), ((96, 128), 1), ((75, 100), 1), ((200, 300), 0)]:
                h, w = size or (0, 0)
                crc[f"{i}.{h}x{w}.{flip}"] = checksums(load, data, i, size, flip)
        save_file(crc, OUT)


main()
