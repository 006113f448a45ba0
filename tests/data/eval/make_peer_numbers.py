"""What Marigold's and DSINE's own evaluation code measures on the small evaluation sets: peer_numbers.json.

  build/release/tests/ev_mini_sets /tmp/mini
  python3 make_peer_numbers.py /tmp/mini E2E_FT MARIGOLD DSINE > peer_numbers.json

E2E_FT, MARIGOLD, DSINE: git repositories of VisualComputingInstitute/diffusion-e2e-ft, prs-eth/Marigold, baegwangbin/DSINE.
Their code is checked out into a temporary folder and run as it is; only paths, ETH3D's fixed image size and, for normals,
where predictions come from are set from here. Needs torch, torchvision, pandas<3, omegaconf, tabulate, opencv-python 4
(its EXR reader) and OpenEXR. The converter of normals, scripts/convert_normals.py, is checked on the way.
"""
import csv
import importlib
import json
import os
import pickle
import runpy
import subprocess
import sys
import tempfile
import types

os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"
import numpy as np  # noqa: E402
import torch  # noqa: E402

MINI, E2E_FT, MARIGOLD, DSINE = (os.path.abspath(p) for p in sys.argv[1:5])
NAMES = {"abs_relative_difference": "abs_rel", "squared_relative_difference": "sq_rel", "rmse_linear": "rmse",
         "rmse_log": "rmse_log", "log10": "log10", "silog_rmse": "silog", "delta1_acc": "delta1", "delta2_acc": "delta2",
         "delta3_acc": "delta3"}
LISTS = {"nyuv2": "filename_list_test.txt", "kitti": "eigen_test_files_with_gt.txt", "eth3d": "eth3d_filename_list.txt",
         "scannet": "scannet_val_sampled_list_800_1.txt", "diode": "diode_val_all_filename_list.txt"}
# names of the sets in a config of either repository
NAMED = {"eval.py": {"nyuv2": "nyu_v2", "kitti": "kitti", "eth3d": "eth3d", "scannet": "scannet", "diode": "diode"},
         "script/depth/eval.py": {"nyuv2": "nyu_depth", "kitti": "kitti_depth", "eth3d": "eth3d_depth",
                                  "scannet": "scannet_depth", "diode": "diode_depth"}}
# case: set, archive or folder, lines of the set's config, arguments of eval.py
CASES = {
    "nyuv2": ("nyuv2", "tar", "eigen_valid_mask: true", []),
    "nyuv2 folder": ("nyuv2", "", "eigen_valid_mask: true", []),
    "nyuv2 mask=none": ("nyuv2", "", "eigen_valid_mask: false", []),
    "nyuv2 alignment=disparity": ("nyuv2", "", "eigen_valid_mask: true", ["--alignment", "least_square_disparity"]),
    "kitti": ("kitti", "tar", "kitti_bm_crop: true\nvalid_mask_crop: eigen", []),
    "kitti mask=garg": ("kitti", "", "kitti_bm_crop: true\nvalid_mask_crop: garg", []),
    "kitti mask=none": ("kitti", "", "kitti_bm_crop: true\nvalid_mask_crop: null", []),
    "eth3d": ("eth3d", "tar", "", ["--alignment_max_res", "1024"]),
    "eth3d alignment_max_res=100": ("eth3d", "", "", ["--alignment_max_res", "100"]),
    "scannet": ("scannet", "tar", "", []),
    "scannet folder": ("scannet", "", "", []),
    "diode": ("diode", "tar", "", []),
    "diode folder": ("diode", "", "", []),
}


def commit(repo):
    return subprocess.check_output(["git", "-C", repo, "rev-parse", "HEAD"], text=True).strip()


def checkout(repo, to):
    """The Python files; large data may be missing from the repository at hand."""
    git = ["git", "-C", repo]
    for path in subprocess.check_output(git + ["ls-tree", "-r", "--name-only", "HEAD"], text=True).splitlines():
        if not path.endswith(".py"):
            continue
        os.makedirs(os.path.dirname(os.path.join(to, path)), exist_ok=True)
        with open(os.path.join(to, path), "wb") as f:
            f.write(subprocess.check_output(git + ["show", "HEAD:" + path]))


def forget(*packages):
    for name in [m for m in sys.modules if m.split(".")[0] in packages]:
        del sys.modules[name]


def run_marigold(root, script, work):
    """Every case by the evaluation script of `root`: means of its per-image table."""
    out = {}
    sys.path.insert(0, root)
    forget("src")
    module = importlib.import_module("src.dataset.eth3d_dataset")
    eth3d = getattr(module, "ETH3DDataset", None) or module.ETH3DDepthDataset
    eth3d.HEIGHT, eth3d.WIDTH = 192, 256
    for case, (name, where, lines, extra) in CASES.items():
        config, result = os.path.join(work, "set.yaml"), os.path.join(work, "out")
        data = f"tar/{name}.tar" if where else name
        with open(config, "w") as f:
            f.write(f"name: {NAMED[script][name]}\ndisp_name: mini\ndir: {data}\n"
                    f"filenames: {MINI}/{name}/{LISTS[name]}\n{lines}\n")
        args = [script, "--prediction_dir", f"{MINI}/pred/{name}", "--output_dir", result, "--dataset_config", config,
                "--base_data_dir", MINI, "--alignment", "least_square", "--no_cuda"]
        sys.argv = args + extra
        runpy.run_path(os.path.join(root, script), run_name="__main__")
        with open(os.path.join(result, "per_sample_metrics.csv")) as f:
            rows = list(csv.DictReader(f))
        out[case] = {ours: float(np.mean([float(r[theirs]) for r in rows])) for theirs, ours in NAMES.items()}
        out[case]["images"] = len(rows)
    sys.path.remove(root)
    forget("src")
    return out


def write_originals(name, folder):
    """The set's normals as published: .exr for iBims-1 and Sintel, .pkl for OASIS, from our .npy."""
    import cv2
    for at, _, files in os.walk(folder):
        for file in files:
            if not file.endswith("_normal.npy"):
                continue
            n, stem = np.load(os.path.join(at, file)), os.path.join(at, file[:-4])
            if name == "oasis_normals":
                y, x = np.nonzero(np.any(n != 0, axis=2))
                box = dict(min_y=y.min(), max_y=y.max(), min_x=x.min(), max_x=x.max())
                part = n[y.min():y.max() + 1, x.min():x.max() + 1].copy()
                part[..., :2] *= -1
                with open(stem + ".pkl", "wb") as f:
                    pickle.dump(dict(box, normal=part), f)
            else:
                assert cv2.imwrite(stem + ".exr", n[..., ::-1])


def check_converter(folder):
    """scripts/convert_normals.py gives our .npy back."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../scripts/convert_normals.py")
    files = [os.path.join(at, f) for at, _, names in os.walk(folder) for f in names if f.endswith("_normal.npy")]
    before = [np.load(f) for f in files]
    for f in files:
        os.remove(f)
    subprocess.check_call([sys.executable, script, folder], stdout=sys.stderr)
    for f, b in zip(files, before):
        assert np.array_equal(np.load(f), b), f


def run_dsine(root, package, work):
    """Every set by DSINE's reader, transforms and metrics. package: "DSINE." in E2E-FT's copy, "" in the original."""
    out = {}
    forget("data", "utils", "projects", "DSINE")
    sys.path.insert(0, root)
    projects = importlib.import_module(package + "projects")
    projects.DATASET_DIR = os.path.join(work, "data")
    utils = importlib.import_module(package + "utils.utils")
    loader = importlib.import_module(package + "projects.baseline_normal.dataloader")
    split = {"nyuv2": "test", "scannet": "test", "ibims": "ibims", "sintel": "sintel", "oasis": "val"}
    for name, part in split.items():
        folder = f"{MINI}/{name}_normals"
        here = os.path.join(work, "data", "dsine_eval", name)
        os.makedirs(os.path.dirname(here), exist_ok=True)
        if not os.path.exists(here):
            os.symlink(folder, here)
        lists = os.path.join(projects.PROJECT_DIR, "data", "datasets", name, "split")
        os.makedirs(lists, exist_ok=True)
        with open(os.path.join(folder, part + ".txt")) as f, open(os.path.join(lists, part + ".txt"), "w") as g:
            g.write(f.read())
        args = types.SimpleNamespace(batch_size=1, load_img=True, load_depth=False, load_normal=True, load_intrins=True,
                                     input_height=0, input_width=0, data_augmentation_same_fov=0,
                                     data_augmentation_intrins=False, data_augmentation_nyu_crop=False,
                                     dataset_name_test=name, test_split=part)
        errors, stretched = [], None
        files = open(os.path.join(folder, part + ".txt")).read().split()
        data = loader.NormalDataset(args, dataset_name=name, split=part, mode="test", epoch=None)
        for file, sample in zip(files, data):
            pred = torch.from_numpy(np.load(f"{MINI}/pred/{name}_normals/{file[:-4]}.npy")).unsqueeze(0)
            error = utils.compute_normal_error(pred, sample["normal"].unsqueeze(0))
            errors.append(error[sample["normal_mask"].unsqueeze(0)])
            if stretched is None:  # test.py, "Normalize RGB"
                img = sample["img"].unsqueeze(0)
                low, high = img.min().item(), img.max().item()
                img = (img - low) / (high - low) * 255.0
                stretched = img.squeeze(0).permute(1, 2, 0).cpu().numpy().astype(np.uint8)
        m = utils.compute_normal_metrics(torch.cat(errors))
        keys = dict(mean="mean", median="median", rmse="rmse", below_5="a1", below_7_5="a2", below_11_25="a3",
                    below_22_5="a4", below_30="a5")
        out[name + "_normals"] = {k: float(m[v]) for k, v in keys.items()}
        out[name + "_normals"]["images"] = len(errors)
        flat = stretched.reshape(-1, 3).astype(np.int64)
        out[name + "_normals"]["stretched"] = dict(sums=[int(s) for s in flat.sum(0)],
                                                   weighted=int((stretched.reshape(-1).astype(np.int64) *
                                                                 (np.arange(stretched.size) % 251)).sum()))
    sys.path.remove(root)
    forget("data", "utils", "projects", "DSINE")
    return out


def main():
    for name in ("ibims_normals", "sintel_normals", "oasis_normals"):
        write_originals(name, f"{MINI}/{name}")
        check_converter(f"{MINI}/{name}")
    with tempfile.TemporaryDirectory() as work:
        for repo, name in ((E2E_FT, "e2e"), (MARIGOLD, "marigold"), (DSINE, "dsine")):
            checkout(repo, os.path.join(work, name))
        stdout, sys.stdout = sys.stdout, sys.stderr
        result = {
            "diffusion-e2e-ft": {"commit": commit(E2E_FT),
                                 "depth": run_marigold(os.path.join(work, "e2e/Marigold"), "eval.py", work),
                                 "normals": run_dsine(os.path.join(work, "e2e"), "DSINE.", work)},
            "Marigold": {"commit": commit(MARIGOLD),
                         "depth": run_marigold(os.path.join(work, "marigold"), "script/depth/eval.py", work)},
            "DSINE": {"commit": commit(DSINE), "normals": run_dsine(os.path.join(work, "dsine"), "", work)},
        }
        sys.stdout = stdout
    json.dump(result, sys.stdout, indent=1)
    print()


main()
