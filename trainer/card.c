#include "trainer/card.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/log.h"
#include "trainer/loss_curve.h"
#include "trainer/version.h"

enum { METRICS_MAX = 1 << 30, MEAN_OVER = 100, PICTURES = 4 };

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash && slash[1] ? slash + 1 : path;
}

static const char *pipeline_of(const cf_config *c) {
  return c->model.task == CF_DEPTH ? "MarigoldDepthPipeline" : "MarigoldNormalsPipeline";
}

/* ---- sections ---- */

static void put_head(const tr_card *k, FILE *f) {
  const bool depth = k->config->model.task == CF_DEPTH;

  fprintf(f, "---\nlibrary_name: diffusers\npipeline_tag: %s\nbase_model: %s\nlicense: other\n---\n\n",
          depth ? "depth-estimation" : "image-to-image", base_name(k->config->model.path));
  fprintf(f, "# One-step %s from one image\n\n", depth ? "depth" : "surface normals");
  fprintf(f, "A latent diffusion U-Net fine-tuned end to end through its frozen VAE decoder (E2E-FT) by e2eft %s,\n"
             "commit %s, for %lld updates.%s\n\n", tr_version(), tr_commit(), (long long)k->step,
          k->ema ? " The weights are the running mean over the updates (EMA)." : "");
}

static void put_meaning(const tr_card *k, FILE *f) {
  fprintf(f, "## What comes out\n\n");
  if (k->config->model.task == CF_DEPTH)
    fprintf(f, "Affine-invariant depth: planar depth up to an unknown scale and shift. From a Marigold base near is small and far\n"
               "is large; the loss does not care, so check the sign after another base.\n\n");
  else if (k->flip_x)
    fprintf(f, "Unit normals in Marigold's frame: x to the right, y up, z towards the viewer.\n\n");
  else
    fprintf(f, "Unit normals in the training frame: x to the left, y up, z towards the viewer. Marigold's own normals have x\n"
               "to the right: negate the first channel to compare (`e2eft export --normals-frame marigold` does it in the "
               "weights).\n\n");
}

static void put_folded(FILE *f) {
  fprintf(f, "This is the portable form: the answer is the same at any number of steps, with any scheduler and any noise, so\n"
             "that a stock call is right. It is not meant for further training: the time embedding is frozen.\n\n");
}

static void put_plain(const tr_card *k, FILE *f) {
  fprintf(f, "These are the weights as trained, for further training and for tools that pass the noise latent themselves\n"
             "(%s, one step at t = %lld, trailing). A stock call draws random latents: use the portable form for that.\n\n",
          k->config->model.noise == CF_ZEROS ? "zeros" : k->config->model.noise == CF_NONE ? "none: 4 input channels" : "as in training",
          (long long)k->config->model.timestep);
}

static void put_loading(const tr_card *k, FILE *f) {
  const bool depth = k->config->model.task == CF_DEPTH;

  fprintf(f, "## How to load\n\n");
  if (k->folded) put_folded(f);
  else put_plain(k, f);
  fprintf(f, "```python\nimport diffusers, torch\npipe = diffusers.%s.from_pretrained(\"path/to/this/folder\"%s)\n", pipeline_of(k->config),
          k->f32 ? "" : ", variant=\"fp16\", torch_dtype=torch.float16");
  if (!k->folded) fprintf(f, "zeros = torch.zeros(1, 4, height // 8, width // 8)  # of the image as it is processed\n");
  fprintf(f, "%s = pipe(image%s).prediction\n```\n\n", depth ? "depth" : "normals",
          k->folded ? "" : ", num_inference_steps=1, ensemble_size=1, latents=zeros");
  if (k->f32 && k->f16) fprintf(f, "Half-precision files lie beside the others: `variant=\"fp16\", torch_dtype=torch.float16`.\n\n");
  fprintf(f, "`sha256sum -c SHA256SUMS` checks the files.\n\n");
}

static void put_checked(const tr_card *k, FILE *f) {
  const char *unit = k->config->model.task == CF_DEPTH ? "depth in [0, 1]" : "components";

  fprintf(f, "## Checked\n\n");
  if (!k->checked) {
    fprintf(f, "The tensors were read back. No predictions were compared.\n\n");
    return;
  }
  fprintf(f, "Loaded back after writing, its prediction for a test image differs from that of the trained weights by at most\n"
             "%.2g (%s, fp32, CPU, empty prompt of 2 tokens).\n", k->difference, unit);
  if (k->config->model.text == CF_PADDED)
    fprintf(f, "It was trained with the empty prompt padded to 77 tokens, while inference tools use 2; between the two the\n"
               "prediction for that image differs by %.2g.\n", k->text_difference);
  fputc('\n', f);
}

static void put_data(const cf_data *d, FILE *f) {
  static const char *const terms[] = {
      [CF_KIND_HYPERSIM] = "Hypersim, CC BY-SA 3.0", [CF_KIND_VKITTI2] = "Virtual KITTI 2, CC BY-NC-SA 3.0",
      [CF_KIND_MANIFEST] = "own images", [CF_KIND_BATCHES] = "stored groups"};

  fprintf(f, "- %s: split %s, weight %g\n", terms[d->kind], d->split ? d->split : "train", d->weight);
}

/* Mean loss of the last steps up to the one that was exported. A damaged record is no reason to refuse an export. */
static int mean_loss(const tr_card *k, double *mean, int *count) {
  int st = OK;
  char path[IO_PATH_MAX];
  double sum = 0;
  tr_loss_curve c = {NULL};

  *count = 0;
  if (!k->run_dir) return OK;
  TRY(io_path(path, "%s/metrics.jsonl", k->run_dir));
  if (!io_exists(path)) goto out;
  if (tr_loss_curve_read(path, &c) != OK) {
    log_warn("the model card has no loss: %s", err_text());
    err_clear();
    goto out;
  }
  for (int i = 0; i < c.n; i++) {
    if (c.step[i] <= (double)k->step - MEAN_OVER || c.step[i] > (double)k->step || !(c.loss[i] > 0) || !isfinite(c.loss[i])) continue;
    sum += c.loss[i];
    ++*count;
  }
  *mean = *count ? sum / *count : 0;
out:
  tr_loss_curve_free(&c);
  return st;
}

static int put_training(const tr_card *k, FILE *f) {
  int st = OK, count;
  double mean = 0;

  fprintf(f, "## Training\n\n- base: %s, XXH3-128 %s\n", base_name(k->config->model.path), k->base_hash);
  for (size_t i = 0; i < k->config->ndata; i++) put_data(&k->config->data[i], f);
  TRY(mean_loss(k, &mean, &count));
  if (count) fprintf(f, "- loss: %.5g, mean of the last %d updates\n", mean, count);
  fprintf(f, "\nThe settings (XXH3-128 %s):\n\n```yaml\n%s```\n\n", k->config_hash, k->config_text);
out:
  return st;
}

static void put_licence(FILE *f) {
  fprintf(f, "## Licence\n\nThese weights are derived from the base model and carry its terms; the data sets above have terms of "
             "their own.\nRead both before publishing or selling anything made with this.\n");
}

/* ---- what validation found ---- */

static void put_results(const json_t *line, FILE *f) {
  size_t i;
  const json_t *set, *value;
  const char *key;

  fprintf(f, "## Measured\n\nAfter step %lld, %s weights, during training:\n\n", (long long)json_integer_value(json_object_get(line, "step")),
          json_string_value(json_object_get(line, "weights")));
  json_array_foreach(json_object_get(line, "results"), i, set) {
    fprintf(f, "- %s, %lld images:", json_string_value(json_object_get(set, "set")),
            (long long)json_integer_value(json_object_get(set, "images")));
    json_object_foreach((json_t *)set, key, value)
      if (json_is_real(value)) fprintf(f, " %s %.4g", key, json_real_value(value));
    fputc('\n', f);
  }
  fputc('\n', f);
}

/* The newest line of validation/metrics.jsonl up to the step that is exported. */
static int put_measured(const tr_card *k, FILE *f) {
  int st = OK;
  char path[IO_PATH_MAX], *text = NULL, *next;
  size_t n;
  json_t *newest = NULL;

  if (!k->run_dir) return OK;
  TRY(io_path(path, "%s/validation/metrics.jsonl", k->run_dir));
  if (!io_exists(path)) goto out;
  TRY(io_read_file(path, METRICS_MAX, &text, &n));
  for (char *line = text; line && *line; line = next) {
    if ((next = strchr(line, '\n'))) *next++ = 0;
    json_t *o = json_loads(line, 0, NULL);
    const json_int_t step = json_integer_value(json_object_get(o, "step"));
    if (step < 1 || step > k->step) {
      json_decref(o);
      continue;
    }
    json_decref(newest);
    newest = o;
  }
  if (newest) put_results(newest, f);
out:
  json_decref(newest);
  free(text);
  return st;
}

static bool is_picture(const char *name) {
  const size_t n = strlen(name);
  return n > 4 && !strcmp(name + n - 4, ".png");
}

/* The newest folder of validation pictures up to that step; "" when there is none. */
static int find_pictures(const tr_card *k, char folder[IO_PATH_MAX]) {
  int st = OK;
  char all[IO_PATH_MAX], **names = NULL;
  size_t n = 0;
  long long best = 0, step;

  folder[0] = 0;
  if (!k->run_dir) return OK;
  TRY(io_path(all, "%s/validation", k->run_dir));
  if (!io_is_dir(all)) goto out;
  TRY(io_list_dir(all, &names, &n));
  for (size_t i = 0; i < n; i++) {
    if (sscanf(names[i], "step-%lld", &step) != 1 || step <= best || step > k->step) continue;
    best = step;
    TRY(io_path(folder, "%s/%s", all, names[i]));
  }
out:
  io_free_names(&names, n);
  return st;
}

static int put_pictures(const tr_card *k, const char *dir, FILE *f) {
  int st = OK, copied = 0;
  char folder[IO_PATH_MAX], from[IO_PATH_MAX], to[IO_PATH_MAX], **names = NULL;
  size_t n = 0;

  TRY(find_pictures(k, folder));
  if (!folder[0]) goto out;
  TRY(io_list_dir(folder, &names, &n));
  for (size_t i = 0; i < n && copied < PICTURES; i++) {
    if (!is_picture(names[i])) continue;
    if (!copied++) fprintf(f, "## Pictures\n\nImage, prediction, truth.\n\n");
    TRY(io_path(to, "%s/pictures", dir));
    TRY(io_make_dirs(to));
    TRY(io_path(from, "%s/%s", folder, names[i]));
    TRY(io_path(to, "%s/pictures/%s", dir, names[i]));
    TRY(io_copy_file(from, to));
    fprintf(f, "![image, prediction, truth](pictures/%s)\n\n", names[i]);
  }
out:
  io_free_names(&names, n);
  return st;
}

int tr_card_write(const tr_card *k, const char *dir) {
  int st = OK;
  char path[IO_PATH_MAX], *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);

  NEED(f, E_NOMEM, "README.md");
  put_head(k, f);
  put_meaning(k, f);
  put_loading(k, f);
  put_checked(k, f);
  TRY(put_measured(k, f));
  TRY(put_pictures(k, dir, f));
  TRY(put_training(k, f));
  put_licence(f);
  const bool good = fclose(f) == 0;
  f = NULL;
  NEED(good, E_NOMEM, "README.md");
  TRY(io_path(path, "%s/README.md", dir));
  TRY(io_write_file(path, text, n));
out:
  if (f) fclose(f);
  free(text);
  return st;
}
