/* tests/md_dump.c: md_dump MODEL_DIR INPUTS.safetensors OUT_DIR: dumps every block's output, to be compared by tdiff with
 * what dump_reference.py writes from the same arguments.
 * INPUTS: sample, timestep, encoder_hidden_states run the U-Net; z the VAE's decoder (divided by scaling_factor first);
 * image its encoder. The golden files of activations in nets/ are such inputs. */
#include <stdio.h>

#include "base/safetensors.h"
#include "models/unet.h"
#include "models/vae.h"

static int input(const st_file *f, const char *name, tchc_tensor **out) {
  int st = OK;
  const st_tensor *t = st_find(f, name);
  NEED(t && (t->dtype == ST_F32 || t->dtype == ST_I64), E_DATA, "%s: %s: wanted F32 or I64", st_path(f), name);
  TRY(tchc_from_host(t->data, t->shape, t->ndim, t->dtype == ST_I64 ? TCHC_I64 : TCHC_F32, TCHC_CPU_DEVICE, out));
out:
  return st;
}

static int dump_unet(const char *dir, const st_file *f, const md_probe *probe) {
  int st = OK;
  md_unet_config c;
  md_params *p = NULL;
  md_unet *u = NULL;
  tchc_tensor *sample, *timestep, *text, *out;

  TRY(md_unet_config_read(dir, &c, NULL));
  TRY(md_params_create("unet", &p));
  TRY(md_unet_declare(&c, p));
  TRY(md_params_allocate(p, TCHC_F32, TCHC_CPU_DEVICE));
  TRY(md_unet_load(&c, dir, false, p));
  TRY(md_unet_create(&c, p, &u));
  TRY(input(f, "sample", &sample));
  TRY(input(f, "timestep", &timestep));
  TRY(input(f, "encoder_hidden_states", &text));
  TRY(md_unet_forward(u, sample, timestep, text, probe, &out));
out:
  md_unet_destroy(&u);
  md_params_destroy(&p);
  return st;
}

static int dump_vae(const char *dir, const st_file *f, const md_probe *probe) {
  int st = OK;
  md_vae_config c;
  md_params *p = NULL;
  md_vae *v = NULL;
  tchc_tensor *in, *scaled, *out;

  TRY(md_vae_config_read(dir, &c));
  TRY(md_params_create("vae", &p));
  TRY(md_vae_declare(&c, p));
  TRY(md_params_allocate(p, TCHC_F32, TCHC_CPU_DEVICE));
  TRY(md_vae_load(&c, dir, p));
  TRY(md_vae_create(&c, p, &v));
  if (st_find(f, "image")) {
    TRY(input(f, "image", &in));
    TRY(md_vae_encode(v, in, probe, &out));
  }
  if (st_find(f, "z")) {
    TRY(input(f, "z", &in));
    TRY(tchc_affine(in, 1 / c.scaling_factor, 0, &scaled));
    TRY(md_vae_decode(v, scaled, probe, &out));
  }
out:
  md_vae_destroy(&v);
  md_params_destroy(&p);
  return st;
}

static int run(const char *model, const char *inputs, const char *out_dir) {
  int st = OK;
  st_file *f = NULL;
  tchc_scope *s = NULL;
  md_dump dump;
  md_probe probe;
  char dir[IO_PATH_MAX];

  TRY(tchc_scope_open(&s));
  TRY(st_open(inputs, &f));
  TRY(md_dump_init(&dump, out_dir, &probe));
  const bool unet = st_find(f, "sample") != NULL;
  TRY(io_path(dir, "%s/%s", model, unet ? "unet" : "vae"));
  tchc_grad_mode(false);
  TRY(unet ? dump_unet(dir, f, &probe) : dump_vae(dir, f, &probe));
  printf("%d tensors in %s\n", dump.n, out_dir);
out:
  tchc_scope_close(&s);
  st_close(&f);
  return st;
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: md_dump MODEL_DIR INPUTS.safetensors OUT_DIR\n");
    return 2;
  }
  const int st = run(argv[1], argv[2], argv[3]);
  if (st != OK) fprintf(stderr, "md_dump: %s\n", err_text());
  return err_exit_status(st);
}
