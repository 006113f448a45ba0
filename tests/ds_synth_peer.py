#!/usr/bin/env python3
"""What `e2eft synth` calls the truth, worked out again with numpy from the shapes and cameras that it writes beside it.

Boxes are met face by face, in world coordinates, where the program clips rays by slabs in the box's own. Depth agrees to 1e-5
of itself, normals to 0.01 degrees, and the files of both data sets hold these numbers as far as their formats can.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import h5py
    import numpy as np
    from PIL import Image
    from safetensors.numpy import load_file
except ImportError as e:
    print(f"skipped: {e}")
    sys.exit(77)

NEAR = 1e-6


def turned(yaw):
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])  # world from the shape's own axes


def meet_face(at, rays, center, axes, half, axis, sign):
    """Distance along each ray to one face of a box, inf where it is passed by, and the face's outward normal."""
    normal = sign * axes[:, axis]
    middle = center + normal * half[axis]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (middle - at) @ normal / (rays @ normal)
        point = at + t[:, None] * rays - middle
        inside = t > NEAR
        for other in range(3):
            if other != axis:
                inside &= np.abs(point @ axes[:, other]) <= half[other]
    return np.where(inside, t, np.inf), normal


def meet_box(at, rays, shape):
    axes, best = turned(shape["yaw"][0]), None
    for axis in range(3):
        for sign in (-1, 1):
            t, normal = meet_face(at, rays, np.array(shape["center"]), axes, shape["half"], axis, sign)
            leaves = rays @ normal > 0
            wanted = leaves if shape["shape"] == "room" else ~leaves
            t = np.where(wanted, t, np.inf)
            n = np.broadcast_to(-normal if shape["shape"] == "room" else normal, rays.shape)
            best = (t, n) if best is None else (np.minimum(best[0], t), np.where((t < best[0])[:, None], n, best[1]))
    return best


def meet_ellipsoid(at, rays, shape):
    axes, radii = turned(shape["yaw"][0]), np.array(shape["half"])
    A = axes @ np.diag(1 / radii**2) @ axes.T
    o = at - np.array(shape["center"])
    a, b, c = np.einsum("ij,jk,ik->i", rays, A, rays), rays @ A @ o, o @ A @ o - 1
    with np.errstate(invalid="ignore"):
        t = (-b - np.sqrt(b * b - a * c)) / a
    t = np.where(t > NEAR, t, np.inf)
    with np.errstate(invalid="ignore"):
        n = (np.where(np.isfinite(t), t, 0)[:, None] * rays + o) @ A
    return t, n / np.linalg.norm(n, axis=1, keepdims=True)


def meet_ground(at, rays, shape):
    with np.errstate(divide="ignore"):
        t = -at[1] / rays[:, 1]
    return np.where((rays[:, 1] < 0) & (t > NEAR), t, np.inf), np.broadcast_to([0.0, 1.0, 0.0], rays.shape)


MEET = {"box": meet_box, "room": meet_box, "ellipsoid": meet_ellipsoid, "ground": meet_ground}


def trace(scene, H, W):
    """Planar depth [H,W] (0 = nothing), distance, unit normals [H,W,3] in camera axes x right, y up, z back."""
    R, M = np.array(scene["world_from_camera"]).reshape(3, 3), np.array(scene["camera_from_uv"]).reshape(3, 3)
    u, v = -1 + (2 * np.arange(W) + 1) / W, 1 - (2 * np.arange(H) + 1) / H
    uv1 = np.stack([*np.meshgrid(u, v), np.ones((H, W))], -1).reshape(-1, 3)
    camera = uv1 @ M.T
    camera /= np.linalg.norm(camera, axis=1, keepdims=True)
    rays, at = camera @ R.T, np.array(scene["at"])
    t, n = np.full(len(rays), np.inf), np.zeros_like(rays)
    for shape in scene["shapes"]:
        t1, n1 = MEET[shape["shape"]](at, rays, shape)
        n = np.where((t1 < t)[:, None], n1, n)
        t = np.minimum(t, t1)
    hit = np.isfinite(t)
    distance = np.where(hit, t, 0)
    return (distance * -camera[:, 2]).reshape(H, W), distance.reshape(H, W), (np.where(hit[:, None], n, 0) @ R).reshape(H, W, 3)


def degrees(a, b):
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


class Worst(dict):
    def see(self, what, values):
        self[what] = max(self.get(what, 0.0), float(np.max(values, initial=0)))


def check_truth(path, worst):
    truth, scene = load_file(path), json.loads(path.with_suffix(".json").read_text())
    z, distance, n = trace(scene, *truth["z"].shape)
    hit, there = z > 0, truth["valid"] > 0
    worst.see("pixels of another shape", np.sum(hit != there))
    both = hit & there
    error = np.abs(z - truth["z"])[both]
    angle = degrees(n, truth["n_cv"].astype(np.float64) * [1, -1, -1])[both]
    # a pixel whose ray ends within a rounding of an edge may fall on either side
    edge = (error > 1e-5 * z[both]) | (angle > 0.01)
    worst.see("pixels on another side of an edge", edge.sum())
    worst.see("depth, relative", (error / z[both])[~edge])
    worst.see("depth within 100 m, metres", error[~edge & (z[both] < 100)])
    worst.see("normals, degrees", angle[~edge])
    return z, distance, n, both


def read(path):
    with h5py.File(path) as f:
        return f["dataset"][:].astype(np.float64)


def check_hypersim(out, name, worst, z, distance, n, both):
    _, scene, camera, frame = name.split("__")
    stem = out / f"hypersim/raw_data/{scene}/images/scene_{camera}_geometry_hdf5/frame.{frame}"
    stored, entity, normal = (read(f"{stem}.{k}.hdf5") for k in ("depth_meters", "render_entity_id", "normal_cam"))
    assert ((entity != -1) == (z > 0)).all() and (np.isnan(stored) == (z == 0)).all(), name
    worst.see("hypersim: distance, relative", (np.abs(stored - distance) / np.maximum(distance, 1e-9))[both])
    angle = degrees(n, normal)[both]
    worst.see("hypersim: normals, degrees, either side", np.minimum(angle, 180 - angle))


def check_vkitti2(out, name, worst, z):
    _, scene, weather, camera, frame = name.split("__")
    cm = np.array(Image.open(out / f"virtual_kitti_2/vkitti_2.0.3_depth/{scene}/{weather}/frames/depth/{camera}/depth_{frame}.png"))
    near = (z > 0) & (z < 655)
    assert (cm[z == 0] == 65535).all(), name
    worst.see("vkitti2: depth, centimetres", np.abs(cm - 100 * z)[near])


def main():
    worst, size = Worst(), sys.argv[1] if len(sys.argv) > 1 else "96x128"
    with tempfile.TemporaryDirectory() as work:
        out = Path(work)
        subprocess.run([os.environ["E2EFT"], "synth", "-o", out, "--rooms", "9", "--frames", "2", "--streets", "3", "--street-frames",
                        "2", "--weathers", "1", "--size", size, "--truth", "--seed", "11"], check=True, stdout=subprocess.DEVNULL)
        frames = sorted((out / "truth").glob("*.safetensors"))
        assert len(frames) == 9 * 2 + 3 * 2 * 2, len(frames)
        for path in frames:
            z, distance, n, both = check_truth(path, worst)
            if path.name.startswith("hypersim"):
                check_hypersim(out, path.stem, worst, z, distance, n, both)
            else:
                check_vkitti2(out, path.stem, worst, z)
    limits = {"pixels of another shape": 0, "pixels on another side of an edge": 2, "depth, relative": 1e-5,
              "depth within 100 m, metres": 1e-5, "normals, degrees": 0.01, "hypersim: distance, relative": 2**-11 * 1.001,
              "hypersim: normals, degrees, either side": 0.05, "vkitti2: depth, centimetres": 0.51}
    for what, value in worst.items():
        print(f"{what}: {value:.3g} (at most {limits[what]:.3g})")
    sys.exit(any(not value <= limits[what] for what, value in worst.items()))


main()
