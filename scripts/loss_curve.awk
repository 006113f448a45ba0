# scripts/loss_curve.awk: metrics.jsonl -> a page with the loss curve; -v before=LOSS -v after=LOSS -v seconds=N.
# Exit status 1 unless the loss was halved.
function number(key) { return match($0, "\"" key "\": *-?[0-9.]+([eE][-+]?[0-9]+)?") ? substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) + 0 : "" }
function mean(from, to,   i, sum) {
  for (i = from; i <= to; i++) sum += loss[i]
  return sum / (to - from + 1)
}
number("loss") != "" { loss[++n] = number("loss"); if (loss[n] > top) top = loss[n] }
END {
  few = 10
  if (n <= few) { print "only " n + 0 " steps with a loss" > "/dev/stderr"; exit 1 }
  W = 800; H = 300; pad = 45
  print "<!doctype html><meta charset=utf-8><title>e2eft quickstart</title>"
  print "<style>body{font:15px sans-serif;max-width:860px;margin:2em auto}td,th{padding:.2em 1em;text-align:left}</style>"
  print "<h1>e2eft quickstart</h1>"
  printf "<p>A tiny U-Net learnt the depth of a few rendered frames in %d updates; %d s in all, building included.</p>\n", n, seconds
  printf "<table><tr><th>loss before<td>%.4g m<tr><th>loss after<td>%.4g m<tr><th>ratio<td>%.2f</table>\n<p>Of the same 40 samples, with the model as it was and as it became.</p>\n", before, after, after / before
  printf "<svg viewBox=\"0 0 %d %d\" role=img aria-label=\"loss per update\"><rect x=%d y=10 width=%d height=%d fill=none stroke=\"#bbb\"/>\n", W + pad + 10, H + 50, pad, W, H
  for (i = 0; i <= 4; i++) printf "<text x=%d y=%.1f font-size=12 text-anchor=end>%.2g</text>\n", pad - 6, 14 + H * (4 - i) / 4, top * i / 4
  for (i = 0; i <= 4; i++) printf "<text x=%.1f y=%d font-size=12 text-anchor=middle>%d</text>\n", pad + W * i / 4, H + 26, 1 + (n - 1) * i / 4
  printf "<text x=%d y=%d font-size=12 text-anchor=middle>update</text>\n", pad + W / 2, H + 44
  printf "<polyline fill=none stroke=\"#9bc\" stroke-width=1 points=\""
  for (i = 1; i <= n; i++) printf "%.1f,%.1f ", pad + W * (i - 1) / (n - 1), 10 + H * (1 - loss[i] / top)
  printf "\"/>\n<polyline fill=none stroke=\"#036\" stroke-width=2 points=\""
  for (i = few; i <= n; i++) printf "%.1f,%.1f ", pad + W * (i - 1) / (n - 1), 10 + H * (1 - mean(i - few + 1, i) / top)
  printf "\"/></svg>\n<p>Thin: each update's loss (mean error in metres after the best scale and shift). Thick: mean of %d.</p>\n", few
  print "<ul><li><a href=run/model/>run/model/</a>: the trained weights, a diffusers folder<li><a href=run/metrics.jsonl>run/metrics.jsonl</a>: every update<li><a href=run/config.yaml>run/config.yaml</a>: every setting<li><a href=run/log.txt>run/log.txt</a></ul>"
  exit !(before > 0 && after > 0 && after <= before / 2)
}
