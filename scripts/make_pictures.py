#!/usr/bin/env python3
"""Makes the README's pictures, demo/pictures/*.png, from what ./quickstart left in quickstart-out.

Needs a Python with numpy and Pillow (scripts/peer-python.sh makes one).
"""
import subprocess, sys, tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
OUT, HELD = ROOT / "demo/pictures", ROOT / "quickstart-out/heldout"
SPECTRAL = np.loadtxt(ROOT / "tests/data/spectral.txt").reshape(-1, 3)
SCALE, GAP, HEAD, BACK = 2, 6, 22, (255, 255, 255)


def aligned(pred, truth, mask):
    """The fit of the evaluation, by least squares."""
    a = np.stack([pred[mask], np.ones(mask.sum())], 1)
    scale, shift = np.linalg.lstsq(a, truth[mask], rcond=None)[0]
    return scale * pred + shift


def coloured(depth, lo, hi, mask=None):
    index = np.clip((depth - lo) / max(hi - lo, 1e-6), 0, 1) * (len(SPECTRAL) - 1)
    rgb = SPECTRAL[index.round().astype(int)].astype(np.uint8)
    if mask is not None:
        rgb[~mask] = (228, 230, 233)
    return Image.fromarray(rgb)


def sheet(heads, rows, path):
    w, h = rows[0][0].width * SCALE, rows[0][0].height * SCALE
    page = Image.new("RGB", (len(heads) * (w + GAP) - GAP, HEAD + len(rows) * (h + GAP) - GAP), BACK)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for x, head in enumerate(heads):
        draw.text((x * (w + GAP) + w / 2, HEAD / 2), head, (40, 44, 52), font, "mm")
        for y, row in enumerate(rows):
            page.paste(row[x].resize((w, h), Image.NEAREST), (x * (w + GAP), HEAD + y * (h + GAP)))
    page.save(path, optimize=True)
    print(path, path.stat().st_size, "bytes")


class Held:
    def __init__(self, name):
        load = lambda what: np.load(HELD / f"{name}.{what}.npy")
        self.name, self.truth, self.mask = name, load("truth"), load("mask")
        self.before, self.after = load("before"), load("after")
        self.lo, self.hi = np.percentile(self.truth[self.mask], [2, 98])

    def shown(self, pred):
        return coloured(aligned(pred, self.truth, self.mask), self.lo, self.hi)

    def image(self):
        return Image.open(HELD / f"{self.name}.rgb.png").convert("RGB")

    def true(self):
        return coloured(self.truth, self.lo, self.hi, self.mask)


def predicted(model, spacing, names):
    with tempfile.TemporaryDirectory() as tmp:
        subprocess.run([ROOT / "build/release/e2eft", "predict", "--model", model, "-o", tmp, "--steps", "1", "--spacing", spacing,
                        "--noise", "gaussian", "--task", "depth", "--resolution", "0", *[str(HELD / f"{n}.rgb.png") for n in names]], check=True)
        return [np.load(f"{tmp}/{n}.rgb.npy") for n in names]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    names = sys.argv[1:] or ["rooms-085", "rooms-001", "rooms-040", "streets-010"]
    held = [Held(n) for n in names]
    sheet(["image", "before", "after", "truth"], [[x.image(), x.shown(x.before), x.shown(x.after), x.true()] for x in held],
          OUT / "quickstart.png")
    leading, trailing = (predicted(ROOT / "demo/model", s, names) for s in ("leading", "trailing"))
    sheet(["image", "1 step, leading", "1 step, trailing", "truth"],
          [[x.image(), x.shown(a), x.shown(b), x.true()] for x, a, b in zip(held, leading, trailing)], OUT / "leading.png")


if __name__ == "__main__":
    main()
