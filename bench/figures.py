#!/usr/bin/env python3
"""What bench/on_gpu.sh makes of a command's result.

figures.py NAME STATUS SECONDS OUT ERR RESULTS    one line to read; everything appended to RESULTS as JSON
figures.py --compare FP32 BF16 EXACT1 EXACT2      run folders: the last losses in bf16 beside fp32; are two exact runs equal?
"""
import json
import sys

GIB = 2**30


def load(text):
    """One object, or one a line; None where it is neither."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()] or None
    except ValueError:
        return None


def sentence(r):
    kind = r.get("bench")
    if kind == "train":
        s, m, p = r["seconds_per_step"], r["memory_bytes"], r["micro_batch"]
        again = " recomputed" if p["recompute_unet"] or p["recompute_decoder"] else ""
        return (f"{s['median']:.3f} s/step ({s['min']:.3f} to {s['max']:.3f}), {p['unet']}:{p['decoder']}{again}, "
                f"peak {m['peak'] / GIB:.1f} GiB, planned {m['planned'] / GIB:.1f}, reserved {m['reserved'] / GIB:.1f}, "
                f"start {r['start_to_first_step_seconds']:.0f} s, {r['fraction_of_limit']:.2f} of the limit")
    if kind == "predict":
        return f"{r['ms_per_image']:.1f} ms an image, {r['images_at_once']} at once, peak {r['memory_bytes']['peak'] / GIB:.1f} GiB"
    if kind == "check":
        return "; ".join(f"{k}: loss off by {r[k]['loss_relative']:.2g}, gradient cosine {r[k]['gradient_cosine']:.5f}"
                         for k in ("this", "plain"))
    if kind == "peer step" and "seconds_per_step" in r:
        return f"{r['set_up']}:{r['micro_batch']} {r['seconds_per_step']:.3f} s/step, peak {(r['peak_bytes'] or 0) / GIB:.1f} GiB"
    if kind == "peer infer" and "ms_per_image" in r:
        return f"{r['set_up']} {r['ms_per_image']:.1f} ms an image, {r['images_at_once']} at once"
    return json.dumps(r)[:160]


def losses(folder):
    return [json.loads(line)["loss"] for line in open(folder + "/metrics.jsonl")]


def compare(fp32, bf16, exact1, exact2):
    a, b, c, d = (losses(f) for f in (fp32, bf16, exact1, exact2))
    last = [sum(x[-20:]) / 20 for x in (a, b)]
    same = open(exact1 + "/model/unet/diffusion_pytorch_model.safetensors", "rb").read() == open(
        exact2 + "/model/unet/diffusion_pytorch_model.safetensors", "rb").read()
    print(json.dumps(dict(loss_fp32=last[0], loss_bf16=last[1], relative=abs(last[1] / last[0] - 1),
                          deterministic_losses_equal=c == d, deterministic_weights_equal=same)))


def main():
    if sys.argv[1] == "--compare":
        return compare(*sys.argv[2:])
    name, status, seconds, out, err, results = sys.argv[1:]
    text, messages = open(out, errors="replace").read(), open(err, errors="replace").read()
    r = load(text)
    with open(results, "a") as f:
        f.write(json.dumps(dict(name=name, status=int(status), seconds=int(seconds), result=r if r is not None else text[-4000:])) + "\n")
    if status != "0" or r is None:
        lines = (messages if status != "0" and messages.strip() else text).strip().splitlines()
        said = lines[-1][:200] if lines else ""
    else:
        said = "; ".join(sentence(x) for x in (r if isinstance(r, list) else [r]))
    print(f"{name:22s} status {int(status):3d} {int(seconds):4d} s  {said}")


main()
