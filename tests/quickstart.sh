#!/usr/bin/env bash
# tests/quickstart.sh ROOT [SEED]: ./quickstart learns, on scenes that it did not see, and leaves what it says.
set -euo pipefail
cd "${1:?usage: quickstart.sh ROOT [SEED]}"
seed=${2:-0}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset OMP_NUM_THREADS
./quickstart --seed "$seed" --out "$tmp/out"
python3 - "$tmp/out" <<'PYTHON'
import json, pathlib, re, sys

out, bad = pathlib.Path(sys.argv[1]), []
def wants(what, holds):
    print("ok  " if holds else "NOT ", what)
    if not holds:
        bad.append(what)

report = json.loads((out / "report.json").read_text())
wants("four predictions of two sets", {k: sorted(v) for k, v in report.items()} ==
      {k: ["rooms", "streets"] for k in ("before", "after", "constant", "mean_map")})
d = {(who, name): report[who][name]["delta1"] for who in report for name in report[who]}
rooms, streets = [d[who, "rooms"] for who in report], [d[who, "streets"] for who in report]
(before, after, _, mean) = rooms
wants(f"rooms: delta1 {before:.3f} before, {after:.3f} after, mean map {mean:.3f}",
      after >= 0.65 and after >= before + 0.18 and 1 - after <= 0.70 * (1 - mean))
(before, after, _, mean) = streets
wants(f"streets: delta1 {before:.3f} before, {after:.3f} after, mean map {mean:.3f}", after >= before + 0.15 and after >= mean)
images = {name: len(list((out / "heldout").glob(f"{name}-*.after.npy"))) for name in ("rooms", "streets")}
wants(f"images: {images}", images["rooms"] >= 40 and images["streets"] >= 20)
for kind in ("rgb.png", "truth.npy", "mask.npy", "before.npy"):
    wants(f"as many {kind}", len(list((out / "heldout").glob(f"*.{kind}"))) == sum(images.values()))
table = [line.split() for line in (out / "report.txt").read_text().splitlines()]
inverted = sum(int(row[6]) for row in table if row[1] == "after")
wants(f"{inverted} images inverted", inverted <= 0.05 * sum(images.values()))
page = (out / "report.html").read_text()
wants("a page that needs nothing else", page.count("data:image/png;base64,") >= 60 and not re.search(r'(src|href)="(?!data:)', page))
wants("the command of the real run", "e2eft train configs/depth_marigold.yaml" in page)
wants("weights", (out / "run/portable/unet/diffusion_pytorch_model.safetensors").exists())
sys.exit(bool(bad))
PYTHON
