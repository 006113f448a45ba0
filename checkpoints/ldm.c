#include "checkpoints/ldm.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints/ldm_names.h"

struct ck_ldm {
  st_file *file;
  ck_ldm_shape shape;
  struct { st_tensor *at; size_t n; } parts[CK_LDM_PARTS];
};

static const char *const prefixes[CK_LDM_PARTS] = {"model.diffusion_model.", "first_stage_model.", "cond_stage_model."};
static const char *const part_names[CK_LDM_PARTS] = {"U-Net", "VAE", "text encoder"};

/* ---- shapes ---- */

static const st_tensor *find(const st_file *f, const char *fmt, ...) ERR_PRINTF(2, 3);
static const st_tensor *find(const st_file *f, const char *fmt, ...) {
  char name[LDM_NAME_MAX];
  va_list ap;

  va_start(ap, fmt);
  vsnprintf(name, sizeof name, fmt, ap);
  va_end(ap);
  return st_find(f, name);
}

static int dim(const st_tensor *t, int i) { return t && i < t->ndim ? (int)t->shape[i] : 0; }

#define UNET "model.diffusion_model."
#define VAE "first_stage_model."
#define OPENCLIP "cond_stage_model.model."
#define CLIP "cond_stage_model.transformer."

/* Input block 0 is conv_in; then `layers` resnets a level with a downsampling between levels. */
static void unet_shape(const st_file *f, ck_ldm_shape *s) {
  const st_tensor *in = find(f, UNET "input_blocks.0.0.weight"), *t;
  int block = 1;

  s->unet.in_channels = dim(in, 1);
  s->unet.out_channels = dim(find(f, UNET "out.2.weight"), 0);
  while (find(f, UNET "input_blocks.%d.0.in_layers.2.weight", block)) block++;
  s->unet.layers = block - 1;
  for (block = 1; s->unet.levels < CK_LDM_LEVELS; block += s->unet.layers + 1) {
    if (!(t = find(f, UNET "input_blocks.%d.0.in_layers.2.weight", block))) break;
    s->unet.widths[s->unet.levels] = dim(t, 0);
    s->unet.attention[s->unet.levels++] = find(f, UNET "input_blocks.%d.1.proj_in.weight", block) != NULL;
  }
  t = find(f, UNET "middle_block.1.transformer_blocks.0.attn2.to_k.weight");
  s->unet.cross_attention_dim = dim(t, 1);
  t = find(f, UNET "middle_block.1.proj_in.weight");
  s->unet.linear = t && t->ndim == 2;
  s->unet.has_mean = find(f, "model_ema.diffusion_modelinput_blocks00weight") != NULL;
}

static void vae_shape(const st_file *f, ck_ldm_shape *s) {
  const st_tensor *t;

  s->vae.in_channels = dim(find(f, VAE "encoder.conv_in.weight"), 1);
  s->vae.out_channels = dim(find(f, VAE "decoder.conv_out.weight"), 0);
  s->vae.latent_channels = dim(find(f, VAE "decoder.conv_in.weight"), 1);
  while (find(f, VAE "encoder.down.0.block.%d.conv1.weight", s->vae.layers)) s->vae.layers++;
  while (s->vae.levels < CK_LDM_LEVELS && (t = find(f, VAE "encoder.down.%d.block.0.conv1.weight", s->vae.levels)))
    s->vae.widths[s->vae.levels++] = dim(t, 0);
}

/* The highest number of an OpenCLIP block: that block is not used. */
static int last_block(const st_file *f) {
  int last = -1, i;

  for (size_t k = 0; k < st_count(f); k++)
    if (sscanf(st_at(f, k)->name, OPENCLIP "transformer.resblocks.%d.", &i) == 1 && i > last) last = i;
  return last;
}

static void text_shape(const st_file *f, ck_ldm_shape *s) {
  const bool open = s->text.openclip = find(f, OPENCLIP "token_embedding.weight") != NULL;
  const char *inner = find(f, CLIP "text_model.embeddings.token_embedding.weight") ? "text_model." : "";
  const st_tensor *words = open ? find(f, OPENCLIP "token_embedding.weight") : find(f, CLIP "%sembeddings.token_embedding.weight", inner);

  s->text.vocab = dim(words, 0);
  s->text.hidden = dim(words, 1);
  s->text.positions = dim(open ? find(f, OPENCLIP "positional_embedding") : find(f, CLIP "%sembeddings.position_embedding.weight", inner), 0);
  s->text.intermediate = dim(open ? find(f, OPENCLIP "transformer.resblocks.0.mlp.c_fc.weight")
                                  : find(f, CLIP "%sencoder.layers.0.mlp.fc1.weight", inner), 0);
  if (open) {
    const int last = last_block(f);
    while (s->text.layers < last && find(f, OPENCLIP "transformer.resblocks.%d.ln_1.weight", s->text.layers)) s->text.layers++;
  } else {
    while (find(f, CLIP "%sencoder.layers.%d.layer_norm1.weight", inner, s->text.layers)) s->text.layers++;
  }
}

static int check_layout(const char *path, const st_file *f) {
  int st = OK;

  NEED(!find(f, "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight") &&
           !find(f, "conditioner.embedders.0.model.text_projection"),
       E_CKPT, "%s: a Stable Diffusion XL file; 1.x and 2.x are read", path);
  NEED(!find(f, "conv_in.weight") && !find(f, "unet.conv_in.weight"), E_CKPT, "%s: has diffusers' own names already: put it into a folder", path);
  NEED(find(f, UNET "input_blocks.0.0.weight"), E_CKPT,
       "%s: no " UNET "input_blocks.0.0.weight: not in the original layout of Stable Diffusion 1.x or 2.x", path);
  NEED(!find(f, UNET "middle_block.1.transformer_blocks.1.norm1.weight") && !find(f, UNET "label_emb.0.0.weight"), E_CKPT,
       "%s: a U-Net that is not of Stable Diffusion 1.x or 2.x", path);
out:
  return st;
}

static int check_shape(const char *path, const ck_ldm_shape *s) {
  int st = OK;

  NEED(s->unet.levels && s->unet.out_channels && s->unet.cross_attention_dim, E_CKPT, "%s: its U-Net is not complete", path);
  NEED(s->vae.levels && s->vae.latent_channels && s->vae.out_channels, E_CKPT, "%s: no VAE (first_stage_model.*), or not all of it", path);
  NEED(s->text.layers && s->text.hidden && s->text.positions && s->text.intermediate, E_CKPT,
       "%s: no text encoder (cond_stage_model.*), or not all of it", path);
out:
  return st;
}

/* ---- tensors ---- */

static int add(ck_ldm *l, ck_ldm_part part, const st_tensor *t, const char *name) {
  int st = OK;
  char *copy = strdup(name);

  NEED(copy, E_NOMEM, "%s", name);
  l->parts[part].at[l->parts[part].n] = *t;
  l->parts[part].at[l->parts[part].n++].name = copy;
out:
  return st;
}

/* q, k and v of a fused projection: thirds of its rows. name has one %c. */
static int add_fused(ck_ldm *l, const st_tensor *t, const char *name) {
  int st = OK;
  char third[LDM_NAME_MAX];
  const char *mark = strchr(name, '%');

  NEED(t->ndim && t->shape[0] % 3 == 0, E_CKPT, "%s: %s: %s, a multiple of 3 rows wanted", st_path(l->file), t->name,
       st_shape_text(t->ndim, t->shape));
  st_tensor part = *t;
  part.shape[0] /= 3;
  part.nbytes /= 3;
  for (int i = 0; i < 3; i++) {
    part.data = (const char *)t->data + (size_t)i * part.nbytes;
    snprintf(third, sizeof third, "%.*s%c%s", (int)(mark - name), name, "qkv"[i], mark + 2);
    TRY(add(l, CK_LDM_TEXT, &part, third));
  }
out:
  return st;
}

/* The attention of the VAE as 1x1 convolutions: the same numbers as a matrix. */
static st_tensor as_matrix(const st_tensor *t, ck_ldm_part part, const char *name) {
  st_tensor m = *t;
  if (part == CK_LDM_VAE && strstr(name, "mid_block.attentions.") && t->ndim > 2) m.ndim = 2;
  return m;
}

/* model_ema.*: the name behind "model." without its dots. */
static const st_tensor *mean_of(const st_file *f, const st_tensor *t) {
  char flat[LDM_NAME_MAX] = "model_ema.";
  size_t at = strlen(flat);

  for (const char *p = t->name + strlen("model."); *p && at + 1 < sizeof flat; p++)
    if (*p != '.') flat[at++] = *p;
  flat[at] = 0;
  return st_find(f, flat);
}

static int add_tensor(ck_ldm *l, ck_ldm_part part, const st_tensor *t, bool mean) {
  int st = OK;
  char name[LDM_NAME_MAX];
  const st_tensor *source = part == CK_LDM_UNET && mean ? mean_of(l->file, t) : t;

  NEED(source && source->ndim == t->ndim && source->nbytes == t->nbytes, E_CKPT, "%s: no running mean (model_ema.*) of %s",
       st_path(l->file), t->name);
  const ldm_place place = ldm_rename(part, &l->shape, t->name + strlen(prefixes[part]), name);
  NEED(place != LDM_UNKNOWN, E_CKPT, "%s: %s has no place in a %s", st_path(l->file), t->name, part_names[part]);
  if (place == LDM_FUSED) TRY(add_fused(l, source, name));
  if (place == LDM_PLAIN) {
    const st_tensor m = as_matrix(source, part, name);
    TRY(add(l, part, &m, name));
  }
out:
  return st;
}

static int add_all(ck_ldm *l, bool mean) {
  int st = OK;

  for (int p = 0; p < CK_LDM_PARTS; p++) {
    l->parts[p].at = calloc(3 * st_count(l->file) + 1, sizeof(st_tensor));
    NEED(l->parts[p].at, E_NOMEM, "%s: %zu tensors", st_path(l->file), st_count(l->file));
    for (size_t k = 0; k < st_count(l->file); k++) {
      const st_tensor *t = st_at(l->file, k);
      if (!strncmp(t->name, prefixes[p], strlen(prefixes[p]))) TRY(add_tensor(l, (ck_ldm_part)p, t, mean));
    }
  }
out:
  return st;
}

/* ---- the file ---- */

int ck_ldm_open(const char *path, bool mean, ck_ldm **out) {
  int st = OK;
  ck_ldm *l = calloc(1, sizeof *l);

  NEED(l, E_NOMEM, "%s", path);
  TRY_AS(E_CKPT, st_open(path, &l->file), "single file");
  TRY(check_layout(path, l->file));
  unet_shape(l->file, &l->shape);
  vae_shape(l->file, &l->shape);
  text_shape(l->file, &l->shape);
  TRY(check_shape(path, &l->shape));
  NEED(!mean || l->shape.unet.has_mean, E_CKPT, "%s: holds no running mean (model_ema.*)", path);
  TRY(add_all(l, mean));
  *out = l;
  l = NULL;
out:
  ck_ldm_close(&l);
  return st;
}

void ck_ldm_close(ck_ldm **lp) {
  ck_ldm *l = *lp;

  if (!l) return;
  for (int p = 0; p < CK_LDM_PARTS; p++) {
    for (size_t i = 0; i < l->parts[p].n; i++) free((char *)l->parts[p].at[i].name);
    free(l->parts[p].at);
  }
  st_close(&l->file);
  free(l);
  *lp = NULL;
}

bool ck_ldm_is(const char *path) {
  st_file *f = NULL;
  const bool yes = st_open(path, &f) == OK && find(f, UNET "input_blocks.0.0.weight");

  st_close(&f);
  err_clear();
  return yes;
}

const ck_ldm_shape *ck_ldm_shape_of(const ck_ldm *l) { return &l->shape; }
const st_file *ck_ldm_file(const ck_ldm *l) { return l->file; }
const st_tensor *ck_ldm_tensors(const ck_ldm *l, ck_ldm_part part, size_t *n) { return *n = l->parts[part].n, l->parts[part].at; }
