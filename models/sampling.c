#include "models/sampling.h"

#include <stdarg.h>
#include <stdio.h>

int md_downsample_build(const md_build *b, int channels, bool one_sided, md_downsample *d, const char *name_fmt, ...) {
  va_list ap;
  va_start(ap, name_fmt);
  vsnprintf(d->name, sizeof d->name, name_fmt, ap);
  va_end(ap);
  d->one_sided = one_sided;
  return md_conv_build(b, channels, channels, 3, 2, one_sided ? 0 : 1, &d->conv, "%s.conv", d->name);
}

int md_upsample_build(const md_build *b, int channels, md_upsample *u, const char *name_fmt, ...) {
  va_list ap;
  va_start(ap, name_fmt);
  vsnprintf(u->name, sizeof u->name, name_fmt, ap);
  va_end(ap);
  return md_conv_build(b, channels, channels, 3, 1, 1, &u->conv, "%s.conv", u->name);
}

int md_downsample_forward(const md_downsample *d, const md_probe *probe, const tchc_tensor *x, tchc_tensor **out) {
  int st = OK;
  tchc_tensor *h = NULL;

  if (d->one_sided) TRY(tchc_pad(x, 0, 1, 0, 1, &h));
  TRY(md_conv_forward(&d->conv, h ? h : x, &h));
  TRY(md_probe_see(probe, d->name, NULL, h));
  st = md_settle(OK, x, h, out);
  h = NULL;
out:
  tchc_free(&h);
  return st;
}

int md_upsample_forward(const md_upsample *u, const md_probe *probe, const tchc_tensor *x, int64_t to_h, int64_t to_w,
                        tchc_tensor **out) {
  int st = OK;
  tchc_tensor *h = NULL;

  TRY(tchc_upsample_nearest(x, to_h, to_w, &h));
  TRY(md_conv_forward(&u->conv, h, &h));
  TRY(md_probe_see(probe, u->name, NULL, h));
  st = md_settle(OK, x, h, out);
  h = NULL;
out:
  tchc_free(&h);
  return st;
}
