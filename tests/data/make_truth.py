#!/usr/bin/env python3
"""Writes tests/data/synth/truth from the analytic truth of the rendered scenes and from numpy and Pillow.

usage: make_truth.py SYNTH     SYNTH holds hypersim/, virtual_kitti_2/ and truth/*.npz
needs: numpy h5py pillow safetensors torch
"""
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file

SYNTH = Path(sys.argv[1])
OUT = Path(__file__).parent / "synth" / "truth"
HYPERSIM = ["ai_001_001", "ai_001_002", "ai_002_001", "ai_003_001"]
VKITTI = ("Scene02", "fog", "Camera_1", "00000")


def truth(name):
    z = np.load(SYNTH / "truth" / f"{name}.npz")
    depth = np.where(z["valid"], z["z"], 0).astype(np.float32)
    return depth, (-z["n_cv"]).astype(np.float32) + 0.0  # LUB; + 0.0 turns -0 into 0


def geometry():
    """Planar depth (0 where nothing is) and LUB normals, one frame of each Hypersim scene and one of Virtual KITTI 2."""
    t = {}
    for scene in HYPERSIM:
        depth, normals = truth(f"hypersim__{scene}__cam_00__0000")
        t[f"{scene}/cam_00/0000.depth"], t[f"{scene}/cam_00/0000.normals"] = depth, normals
    save_file(t, OUT / "hypersim.safetensors")
    save_file({"/".join(VKITTI) + ".depth": truth("vkitti__" + "__".join(VKITTI))[0]}, OUT / "vkitti2.safetensors")


def tone_map(rgb, entity):
    """Hypersim's scene_generate_images_tonemap.py, restated."""
    rgb, valid = rgb.astype(np.float64), entity != -1
    y = 0.3 * rgb[..., 0] + 0.59 * rgb[..., 1] + 0.11 * rgb[..., 2]
    scale = 1.0
    if valid.any():
        p = np.percentile(y[valid], 90)
        scale = 0.0 if p < 1e-4 else 0.8 ** (1.0 / (1.0 / 2.2)) / p
    return np.clip(np.power(np.maximum(scale * rgb, 0), 1.0 / 2.2), 0, 1)


def tone_mapped():
    """zlib.crc32 of every frame's 8-bit RGB, cut and rounded, and how many values differ; two frames whole."""
    crc = {}
    for f in sorted((SYNTH / "hypersim/raw_data").glob("*/images/scene_cam_00_final_hdf5/*.color.hdf5")):
        entity = Path(str(f).replace("final_hdf5", "geometry_hdf5").replace("color", "render_entity_id"))
        scene, frame = f.parts[-4], f.name.split(".")[1]
        v = tone_map(h5py.File(f)["dataset"][:], h5py.File(entity)["dataset"][:]) * 255
        cut, rounded = v.astype(np.uint8), np.round(v).astype(np.uint8)
        crc[f"{scene}/cam_00/{frame}"] = np.array(
            [zlib.crc32(cut.tobytes()), zlib.crc32(rounded.tobytes()), (cut != rounded).sum(), cut.size], np.int64)
        if frame == "0000" and scene in ("ai_001_001", "ai_003_001"):
            Image.fromarray(cut).save(OUT / f"tonemap_{scene}.png", optimize=True)
    save_file(crc, OUT / "tonemap.safetensors")


def resized():
    """Pillow's BILINEAR on RGB and NEAREST on 32-bit float, H x W -> h x w."""
    rng, t = np.random.default_rng(7), {}
    for H, W, h, w in [(1, 1, 5, 7), (17, 31, 8, 9), (31, 17, 62, 40), (9, 33, 9, 11), (30, 33, 11, 33), (40, 64, 25, 40)]:
        name = f"{H}x{W}-{h}x{w}"
        rgb = rng.integers(0, 256, (H, W, 3), dtype=np.uint8)
        rgb[rng.random((H, W)) < 0.3] = 255
        ramp = np.arange(H * W, dtype=np.float32).reshape(H, W)
        t[name + ".rgb"] = rgb
        t[name + ".bilinear"] = np.array(Image.fromarray(rgb).resize((w, h), Image.BILINEAR))
        t[name + ".nearest"] = np.array(Image.fromarray(ramp).resize((w, h), Image.NEAREST))
    for n, m in [(1024, 640), (768, 480), (640, 1000)]:
        row = np.arange(n, dtype=np.float32)[None]
        t[f"nearest.{n}-{m}"] = np.array(Image.fromarray(row).resize((m, 1), Image.NEAREST))[0].astype(np.int32)
    save_file(t, OUT / "resize.safetensors")


def quantiles():
    """torch.quantile of many short rows: the golden values decide nothing about rounding."""
    v = torch.rand(400, 23, generator=torch.Generator().manual_seed(5)) * 20
    save_file({"values": v.numpy(), "q02": torch.quantile(v, 0.02, dim=1).numpy(),
               "q98": torch.quantile(v, 0.98, dim=1).numpy()}, OUT / "quantile.safetensors")


OUT.mkdir(parents=True, exist_ok=True)
geometry()
tone_mapped()
resized()
quantiles()
