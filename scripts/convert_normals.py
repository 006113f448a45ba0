#!/usr/bin/env python3
"""Converts the normals of iBims-1 and Sintel (.exr) and OASIS (.pkl) of dsine_eval.zip once, for `e2eft eval`.

  python3 scripts/convert_normals.py data/dsine_eval/ibims data/dsine_eval/sintel data/dsine_eval/oasis

Beside every X_normal.exr or X_normal.pkl it writes X_normal.npy: float32 [height, width, 3], x left, y up, z towards the
viewer, not re-normalised, 0 where unknown. OASIS' region is pasted into the size of X_img.png, x and y negated, as DSINE
does on loading. Needs numpy, OpenEXR (pip install OpenEXR) for .exr, Pillow for .pkl. Files that are done are left alone
unless --force is given. A .pkl can run code when it is loaded: convert only files that you trust.
"""
import argparse
import os
import pickle
import sys

import numpy as np


def read_exr(path):
    import OpenEXR
    with OpenEXR.File(path) as f:
        channels = f.channels()
        planes = channels["RGB"].pixels if "RGB" in channels else np.stack([channels[c].pixels for c in "RGB"], axis=-1)
    return np.asarray(planes, dtype=np.float32)


def read_pkl(path):
    from PIL import Image
    with open(path, "rb") as f:
        region = pickle.load(f)
    with Image.open(path[:-len("_normal.pkl")] + "_img.png") as image:
        width, height = image.size
    normal = np.zeros((height, width, 3), dtype=np.float32)
    normal[region["min_y"]:region["max_y"] + 1, region["min_x"]:region["max_x"] + 1] = region["normal"]
    normal[..., :2] *= -1
    return normal + 0.0  # no negative zeros


def convert(path, force):
    """1 when a file was written, 0 when it was there, -1 when it could not be made."""
    out = path[:-4] + ".npy"
    if os.path.exists(out) and not force:
        return 0
    try:
        normal = read_exr(path) if path.endswith(".exr") else read_pkl(path)
        if normal.ndim != 3 or normal.shape[2] != 3:
            raise ValueError(f"an array of {normal.shape}, [height, width, 3] wanted")
        with open(out + ".tmp", "wb") as f:
            np.save(f, np.ascontiguousarray(normal))
        os.replace(out + ".tmp", out)
    except Exception as e:  # one bad file must not end the conversion of thousands
        print(f"{path}: {e}", file=sys.stderr)
        return -1
    return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--force", action="store_true", help="convert again what is there already")
    args = parser.parse_args()
    done = {-1: 0, 0: 0, 1: 0}
    for folder in args.folders:
        for at, _, files in sorted(os.walk(folder)):
            for file in sorted(files):
                if file.endswith(("_normal.exr", "_normal.pkl")):
                    done[convert(os.path.join(at, file), args.force)] += 1
    print(f"{done[1]} converted, {done[0]} there already, {done[-1]} failed")
    return 1 if done[-1] or not (done[0] or done[1]) else 0


sys.exit(main())
