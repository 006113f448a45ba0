#!/usr/bin/env python3
"""Raw Hypersim frames to training samples: the reference's way in Python beside ours, one core each, in one run.

usage: data_peer.py ROOT [--decoder build/release/bench/data_decode] [--size 480x640] [--samples 24] [--as-reference]
needs: numpy h5py pillow torch torchvision; ROOT as `e2eft synth -o DIR --rooms 4 --streets 0 --size 768x1024` makes DIR/hypersim

Per frame, as in diffusion-e2e-ft's preprocess_hypersim.py and load.py without the PNGs between them: read colour, distance, entity
and normals with h5py; tone map in float64; planar depth to 16-bit millimetres; normals turned to the viewer; flip; resize by Pillow;
tensors; valid mask; quantiles; normalised depth; unit normals. Prints one JSON object; cpu_ratio is ours over theirs.
"""
import argparse
import json
import resource
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor

FOCAL = 886.81
torch.set_num_threads(1)


def read(path):
    with h5py.File(path, "r") as f:
        return np.array(f["dataset"])


def tone_map(rgb, entity):
    valid, inv_gamma, eps = entity != -1, 1.0 / 2.2, 0.0001
    brightness = 0.3 * rgb[:, :, 0] + 0.59 * rgb[:, :, 1] + 0.11 * rgb[:, :, 2]
    scale = 1.0
    if valid.any():
        p90 = np.percentile(brightness[valid], 90)
        scale = 0.0 if p90 < eps else np.power(0.8, 1.0 / inv_gamma) / p90
    return (np.clip(np.power(np.maximum(scale * rgb, 0), inv_gamma), 0, 1) * 255).astype(np.uint8)


def planar_depth(distance, entity):
    h, w = distance.shape
    x = np.linspace(-0.5 * w + 0.5, 0.5 * w - 0.5, w).reshape(1, w).repeat(h, 0).astype(np.float32)[:, :, None]
    y = np.linspace(-0.5 * h + 0.5, 0.5 * h - 0.5, h).reshape(h, 1).repeat(w, 1).astype(np.float32)[:, :, None]
    z = np.full([h, w, 1], FOCAL, np.float32)
    plane = np.concatenate([x, y, z], 2)
    depth = distance / np.linalg.norm(plane, 2, 2) * FOCAL
    depth[entity == -1] = 0
    return (depth * 1000.0).astype(np.uint16)


def align(normals, depth):
    """Turned to the viewer by the points that depth gives; x left, y up, z back as 8-bit image."""
    h, w = depth.shape
    K = np.array([[FOCAL, 0, w / 2], [0, FOCAL, h / 2], [0, 0, 1]])
    rows, cols = np.mgrid[0:h, 0:w]
    points = np.stack([cols, rows, np.ones_like(rows)], -1).reshape(-1, 3) @ np.linalg.inv(K).T
    points = points.reshape(h, w, 3) * depth[..., None]
    normals[:, :, 1:] *= -1
    away = np.sum(normals * points, -1) > 0
    normals[away] *= -1
    return ((-normals + 1) / 2 * 255).astype(np.uint8)


def sample(frame, size, flip):
    final, geometry = frame
    entity = read(f"{geometry}.render_entity_id.hdf5").astype(int)
    rgb = tone_map(read(f"{final}.color.hdf5").astype(float), entity)
    depth = planar_depth(read(f"{geometry}.depth_meters.hdf5").astype(float), entity) / 1000.0
    normals = align(np.nan_to_num(read(f"{geometry}.normal_cam.hdf5").astype(float)), depth)

    rgb, normals, depth = Image.fromarray(rgb), Image.fromarray(normals), Image.fromarray(depth.astype(np.float32))
    if flip:
        rgb, normals, depth = [i.transpose(Image.FLIP_LEFT_RIGHT) for i in (rgb, normals, depth)]
        mirrored = np.array(normals)
        mirrored[:, :, 0] = 255 - mirrored[:, :, 0]
        normals = Image.fromarray(mirrored)
    h, w = size
    rgb, normals = rgb.resize((w, h), Image.BILINEAR), normals.resize((w, h), Image.BILINEAR)
    depth = to_tensor(depth.resize((w, h), Image.NEAREST))
    rgb, normals = to_tensor(rgb) * 2 - 1, to_tensor(normals) * 2 - 1

    mask = (depth > 1e-5) & (depth < 65)
    if mask.any():
        lo, hi = torch.quantile(depth[mask], torch.tensor([0.02, 0.98]))
        metric = torch.clamp(depth, lo, hi)
        metric[~mask] = hi
        relative = torch.clamp((metric - lo) / (hi - lo) * 2 - 1, -1, 1).repeat(3, 1, 1)
    normals = torch.nn.functional.normalize(normals, p=2, dim=0)
    normals[:, ~mask[0]] = 0
    return rgb, metric, relative, normals, mask


def frames(root):
    for colour in sorted(Path(root).glob("raw_data/*/images/*_final_hdf5/*.color.hdf5")):
        stem = str(colour)[: -len(".color.hdf5")]
        yield stem, stem.replace("_final_hdf5", "_geometry_hdf5")


def cpu_seconds():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def peer(root, size, n):
    todo = list(frames(root))
    for i, f in enumerate(todo):  # files in memory, everything imported
        sample(f, size, i % 2)
    cpu, wall = cpu_seconds(), time.monotonic()
    for i in range(n):
        sample(todo[i % len(todo)], size, i % 2)
    cpu, wall = cpu_seconds() - cpu, time.monotonic() - wall
    return {"samples": n, "cpu_seconds": cpu, "wall_seconds": wall, "samples_per_cpu_second": n / cpu}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("root")
    p.add_argument("--decoder", default="build/release/bench/data_decode")
    p.add_argument("--size", default="480x640")
    p.add_argument("--samples", type=int, default=24)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--as-reference", action="store_true")
    a = p.parse_args()
    size = tuple(int(v) for v in a.size.split("x"))
    rounds = []
    for _ in range(a.rounds):  # in turns, so that a busy machine is busy for both
        theirs = peer(a.root, size, a.samples)
        command = [a.decoder, "hypersim", a.root, *map(str, size), str(4 * a.samples)]
        ours = json.loads(subprocess.check_output(command + ["as_reference"] * a.as_reference))
        ratio = ours["samples_per_cpu_second"] / theirs["samples_per_cpu_second"]
        rounds.append({"reference": theirs, "e2eft": ours, "cpu_ratio": ratio})
    ratios = sorted(r["cpu_ratio"] for r in rounds)
    print(json.dumps({"size": size, "as_reference": a.as_reference, "cpu_ratio": ratios[len(ratios) // 2], "rounds": rounds}))


main()
