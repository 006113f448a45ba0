#include "configs/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define C(field) offsetof(cf_config, field)
#define D(field) offsetof(cf_data, field)
enum { BIG = 1000000000 };

/* name, type, field, lowest, highest, words, default, flags, help */
/* clang-format off */
const cf_key cf_keys[] = {
  {"run.dir", CF_T_PATH, C(run.dir), 0, 0, NULL, NULL, CF_FREE, "where the run writes; unset: runs/NAME for NAME.yaml, in the working folder"},
  {"run.seed", CF_T_SEED, C(run.seed), 0, 0, NULL, "0", 0, "every random draw is a function of it"},
  {"run.device", CF_T_ENUM, C(run.device), 0, 0, "auto|cpu|cuda", "auto", CF_FREE, "auto: the GPU when there is one"},
  {"run.precision", CF_T_ENUM, C(run.precision), 0, 0, "fp32|bf16", "fp32", 0, "bf16 keeps fp32 masters, moments, gradient sums and loss"},
  {"run.deterministic", CF_T_BOOL, C(run.deterministic), 0, 0, NULL, "false", CF_FREE, "only kernels that give the same bits each time"},
  {"run.kernels", CF_T_ENUM, C(run.kernels), 0, 0, "auto|plain|fused", "auto", CF_FREE, "fused: this program's kernels between convolutions; plain: libtorch's operators one by one; auto: fused on a GPU"},
  {"run.memory_limit", CF_T_REAL, C(run.memory_limit), 0, BIG, NULL, "0", CF_FREE, "GiB that a run may use of the GPU's memory, or plan with on the CPU; 0 = all there is"},
  {"run.preflight", CF_T_BOOL, C(run.preflight), 0, 0, NULL, "true", CF_FREE, "look at the data and at one gradient before step 1; false: begin at once"},

  {"model.path", CF_T_PATH, C(model.path), 0, 0, NULL, NULL, CF_FREE, "the base model's diffusers folder"},
  {"model.task", CF_T_ENUM, C(model.task), 0, 0, "depth|normals|joint", "depth", 0, "what is learnt; joint is not built yet"},
  {"model.family", CF_T_ENUM, C(model.family), 0, 0, "auto|sd|marigold|geowizard", "auto", 0, "sizes and prediction type come from the model's own files"},
  {"model.timestep", CF_T_INT, C(model.timestep), 0, 99999, NULL, "999", 0, "the one timestep"},
  {"model.noise", CF_T_ENUM, C(model.noise), 0, 0, "zeros|gaussian|pyramid|none", "zeros", 0, "the noise latent; none: the U-Net sees the RGB latent alone, 4 channels"},
  {"model.text", CF_T_ENUM, C(model.text), 0, 0, "short|padded", "short", 0, "empty prompt of 2 tokens, as inference tools use, or 77, as the reference trains"},
  {"model.conv_in_bias", CF_T_ENUM, C(model.conv_in_bias), 0, 0, "half|keep", "half", 0, "when conv_in is widened from 4 to 8 channels; half is the reference's way"},
  {"model.init", CF_T_ENUM, C(model.init), 0, 0, "weights|random", "weights", 0, "random: the folder's shapes with fresh weights"},

  {"objective.kind", CF_T_ENUM, C(objective.kind), 0, 0, "e2e|diffusion", "e2e", 0, "e2e: one step through the frozen decoder, loss on the image"},
  {"objective.loss", CF_T_TEXT, C(objective.loss), 0, 0, "affine_l1|angular", NULL, 0, "unset: the task's own, affine_l1 for depth, angular for normals"},
  {"objective.reference", CF_T_BOOL, C(objective.reference), 0, 0, NULL, "false", 0, "the angular loss with the reference's NaN gradients"},
  {"objective.zero_snr", CF_T_BOOL, C(objective.zero_snr), 0, 0, NULL, "false", 0, "rescale the schedule to zero terminal SNR"},

  {"data.kind", CF_T_ENUM, D(kind), 0, 0, "hypersim|vkitti2|manifest|batches", "hypersim", 0, "what lies under root"},
  {"data.root", CF_T_PATH, D(root), 0, 0, NULL, NULL, CF_FREE | CF_REQUIRED, "the data set's folder, for kind manifest also the table itself; required"},
  {"data.layout", CF_T_ENUM, D(layout), 0, 0, "auto|raw|marigold", "auto", 0, "files as published, or as Marigold's scripts make them"},
  {"data.split", CF_T_TEXT, D(split), 0, 0, NULL, "train", 0, "the part of the data set: hypersim train, val, test; vkitti2 train, marigold_train, marigold_val, all, or a part as Scene20/clone/Camera_0"},
  {"data.weight", CF_T_REAL, D(weight), 0, BIG, NULL, "1", 0, "share of the groups, relative to the other data sets"},
  {"data.size", CF_T_SIZE, D(size), 1, 65536, "native", NULL, CF_NOT_STORED, "[H, W] after resizing, or native; unset: [480, 640] for hypersim, native for vkitti2"},
  {"data.crop", CF_T_SIZE, D(crop), 1, 65536, NULL, NULL, CF_NOT_STORED, "[H, W] cut out, bottom centre; unset: [352, 1216] for vkitti2 when size is unset too, else none"},
  {"data.near", CF_T_REAL, D(near_m), 0, BIG, NULL, "1e-5", CF_NOT_STORED, "metres; nearer pixels are masked"},
  {"data.far", CF_T_REAL, D(far_m), 0, BIG, NULL, NULL, CF_OPEN_LO | CF_NOT_STORED, "metres; farther pixels are masked; unset: 65 for hypersim, 80 for vkitti2, no limit for manifest"},
  {"data.flip", CF_T_REAL, D(flip), 0, 1, NULL, "0.5", CF_NOT_STORED, "probability of mirroring"},
  {"data.shuffle", CF_T_BOOL, D(shuffle), 0, 0, NULL, "true", CF_NOT_STORED, "false: in list order"},
  {"data.intrinsics", CF_T_ENUM, D(intrinsics), 0, 0, "per_scene|fixed", "per_scene", 0, "hypersim's camera: the scene's own, or one focal length for all"},
  {"data.filter", CF_T_ENUM, D(filter), 0, 0, "none|marigold", "none", CF_NOT_STORED, "hypersim: leave out frames as Marigold's lists do: depth range below 0.5 m, RGB range below 10, more than 3 % invalid"},
  {"data.bad_file", CF_T_ENUM, D(bad_file), 0, 0, "skip|fatal", "skip", 0, "what an unreadable file does"},
  {"data.mm_wrap", CF_T_BOOL, D(mm_wrap), 0, 0, NULL, "false", 0, "depth through 16-bit millimetres that wrap at 65.536 m, as the reference's files"},
  {"data.normals", CF_T_ENUM, D(normals), 0, 0, "auto|files|depth", "auto", CF_NOT_STORED, "vkitti2's normals: stored ones, or made from depth on the way; auto: stored ones when vkitti_DAG_normals is there"},
  {"data.depth_unit", CF_T_REAL, D(depth_unit), 0, BIG, NULL, NULL, CF_OPEN_LO | CF_NOT_STORED, "manifest: metres a stored unit; unset: 0.001 for integers, 1 for floats"},
  {"data.depth_kind", CF_T_ENUM, D(depth_kind), 0, 0, "planar|euclidean", "planar", CF_NOT_STORED, "manifest: depth along the axis, or distance to the camera's centre (needs the camera)"},
  {"data.normals_frame", CF_T_ENUM, D(normals_frame), 0, 0, "lub|marigold|opencv", "lub", CF_NOT_STORED, "axes of stored normals (manifest, vkitti2): x left, y up, z back; marigold: x right; opencv: x right, y down, z forward; all face the viewer"},
  {"data.domain", CF_T_ENUM, D(domain), 0, 0, "unset|indoor|outdoor|object", "unset", 0, "for GeoWizard; unset: the kind's own"},
  {"data.cache", CF_T_PATH, D(cache), 0, 0, NULL, NULL, CF_FREE | CF_NOT_STORED, "folder that e2eft prepare fills and train reads instead of the files"},
  {"data.split_csv", CF_T_PATH, D(split_csv), 0, 0, NULL, NULL, CF_FREE, "hypersim's split list; unset: under root"},
  {"data.camera_csv", CF_T_PATH, D(camera_csv), 0, 0, NULL, NULL, CF_FREE, "hypersim's camera list; unset: under root"},
  {"data.frame_list", CF_T_PATH, D(frame_list), 0, 0, NULL, NULL, CF_FREE, "hypersim: only the frames of this list, such as Marigold's filename_list_train_filtered.txt; unset: all"},
  {"data.keep_broken", CF_T_BOOL, D(keep_broken), 0, 0, NULL, "false", CF_NOT_STORED, "hypersim: use the two renders known to be broken, as as_reference does"},
  {"data.as_reference", CF_T_BOOL, D(as_reference), 0, 0, NULL, "false", 0, "fixed camera, 8-bit normals, Pillow's resize, mm_wrap: sample for sample what the reference trains on"},

  {"loader.workers", CF_T_INT, C(loader.workers), 1, 256, "auto", "auto", CF_FREE, "decoder processes; their number changes no result"},
  {"loader.timeout", CF_T_REAL, C(loader.timeout), 0, BIG, NULL, "120", CF_FREE | CF_OPEN_LO, "seconds that one file may take to decode"},

  {"optim.steps", CF_T_INT, C(optim.steps), 1, BIG, NULL, "20000", CF_FREE, "updates"},
  {"optim.batch", CF_T_INT, C(optim.batch), 1, 1000000, NULL, "32", 0, "samples a step"},
  {"optim.group", CF_T_INT, C(optim.group), 1, 1000000, NULL, "2", 0, "samples of one data set and shape whose pixels share one mean; divides batch"},
  {"optim.micro_batch", CF_T_INT, C(optim.micro_batch), 1, 1000000, "auto", "auto", CF_FREE, "samples computed at once, a multiple of group; changes memory and speed, not the result"},
  {"optim.recompute", CF_T_BOOL, C(optim.recompute), 0, 0, NULL, "false", CF_FREE, "keep fewer activations and run blocks again in backward: less memory, slower"},
  {"optim.kind", CF_T_ENUM, C(optim.kind), 0, 0, "adamw|adam", "adamw", 0, "adam: weight_decay as an L2 term of the gradient"},
  {"optim.lr", CF_T_REAL, C(optim.lr), 0, 1000, NULL, "3e-5", 0, "learning rate after warm-up"},
  {"optim.warmup", CF_T_INT, C(optim.warmup), 0, BIG, NULL, "100", 0, "steps from 0 up to lr; step 1 has 0"},
  {"optim.schedule", CF_T_ENUM, C(optim.schedule), 0, 0, "exponential|constant", "exponential", 0, "after warm-up"},
  {"optim.decay_steps", CF_T_INT, C(optim.decay_steps), 1, BIG, "steps", "steps", 0, "step at which lr has fallen to final_ratio"},
  {"optim.final_ratio", CF_T_REAL, C(optim.final_ratio), 0, 1, NULL, "0.01", CF_OPEN_LO, "of lr, reached at decay_steps"},
  {"optim.betas", CF_T_PAIR, C(optim.betas), 0, 1, NULL, "[0.9, 0.999]", CF_OPEN_HI, "decay of Adam's two means"},
  {"optim.weight_decay", CF_T_REAL, C(optim.weight_decay), 0, 1000, NULL, "1e-2", 0, "of AdamW, times the rate of the step"},
  {"optim.eps", CF_T_REAL, C(optim.eps), 0, 1, NULL, "1e-8", 0, "added to the root of Adam's second mean"},
  {"optim.clip", CF_T_REAL, C(optim.clip), 0, BIG, NULL, "1.0", 0, "largest norm of the whole gradient; 0 = off"},
  {"optim.ema", CF_T_REAL, C(optim.ema), 0, 1, NULL, "0", CF_OPEN_HI, "decay of the running mean of the weights; 0 = off"},
  {"optim.max_nonfinite", CF_T_INT, C(optim.max_nonfinite), 1, BIG, NULL, "10", CF_FREE, "steps in a row without a finite loss and gradient that end the run"},
  {"optim.nonfinite", CF_T_ENUM, C(optim.nonfinite), 0, 0, "skip|reference", "skip", 0, "skip the step, or leave a NaN group out as the reference does"},

  {"checkpoint.every", CF_T_INT, C(checkpoint.every), 0, BIG, NULL, "1000", CF_FREE, "steps; 0 = only when the run ends or is stopped"},
  {"checkpoint.keep", CF_T_INT, C(checkpoint.keep), 0, BIG, NULL, "2", CF_FREE, "the newest stay; 0 = all"},
  {"checkpoint.background", CF_T_BOOL, C(checkpoint.background), 0, 0, NULL, "true", CF_FREE, "training goes on while a copy of its state in host memory is written; false: it waits, and needs no copy"},

  {"validate.every", CF_T_INT, C(validate.every), 0, BIG, NULL, "0", CF_FREE, "steps; 0 = never"},
  {"validate.sets", CF_T_SETS, C(validate.sets), 0, 0, NULL, "[]", CF_FREE, "what to measure on, as eval's --data: nyuv2:/data/nyu.tar"},
  {"validate.limit", CF_T_INT, C(validate.limit), 0, BIG, NULL, "50", CF_FREE, "images of each set, evenly spread; 0 = all"},
  {"validate.pictures", CF_T_INT, C(validate.pictures), 0, BIG, NULL, "4", CF_FREE, "the first images of each set are shown in validation/"},
  {"validate.weights", CF_T_ENUM, C(validate.weights), 0, 0, "trained|ema", "trained", CF_FREE, "which weights are measured"},
  {"validate.best", CF_T_TEXT, C(validate.best), 0, 0, NULL, NULL, CF_FREE, "abs_rel, delta1, mean ...: the metric of the first set (1.mean: of set 1) whose best checkpoint is kept"},

  {"log.every", CF_T_INT, C(log.every), 1, BIG, NULL, "1", CF_FREE, "steps between two points in tensorboard/; metrics.jsonl has every step"},
  {"log.tensorboard", CF_T_BOOL, C(log.tensorboard), 0, 0, NULL, "false", CF_FREE, "write tensorboard/"},
};
/* clang-format on */
const size_t cf_nkeys = sizeof cf_keys / sizeof *cf_keys;

static const char *const sections[] = {"run", "model", "objective", "data", "loader", "optim", "checkpoint", "validate", "log", "base"};

int cf_key_index(const char *name) {
  for (size_t i = 0; i < cf_nkeys; i++)
    if (strcmp(cf_keys[i].name, name) == 0) return (int)i;
  return -1;
}

bool cf_key_is_data(const cf_key *k) { return strncmp(k->name, "data.", 5) == 0; }

const char *cf_key_leaf(const cf_key *k) { return strchr(k->name, '.') + 1; }

/* ---- did you mean ---- */

/* Edit distance with neighbours swapped as one edit; words beyond 32 letters are far from everything. */
static int distance(const char *a, const char *b) {
  enum { MOST = 32 };
  int d[MOST + 1][MOST + 1];
  const int n = (int)strlen(a), m = (int)strlen(b);

  if (n > MOST || m > MOST) return MOST;
  for (int i = 0; i <= n; i++) d[i][0] = i;
  for (int j = 0; j <= m; j++) d[0][j] = j;
  for (int i = 1; i <= n; i++)
    for (int j = 1; j <= m; j++) {
      int best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
      if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
        best = d[i - 2][j - 2] + 1;
      d[i][j] = best;
    }
  return d[n][m];
}

/* How far `typed` is from `known`; an abbreviation or a longer form counts as near. */
static int farness(const char *typed, const char *known) {
  const size_t t = strlen(typed), k = strlen(known), shorter = t < k ? t : k;
  const int far = distance(typed, known);

  return shorter >= 3 && strncmp(typed, known, shorter) == 0 && far > 2 ? 2 : far;
}

static bool is_near(int far, const char *typed) {
  const int n = (int)strlen(typed);
  return far <= (n < 4 ? 1 : n < 8 ? 2 : 3);
}

bool cf_is_near(const char *typed, const char *known) { return is_near(farness(typed, known), typed); }

const char *cf_suggest_section(const char *typed) {
  const char *best = NULL;
  int least = BIG;

  for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
    const int far = farness(typed, sections[i]);
    if (far < least) {
      least = far;
      best = sections[i];
    }
  }
  if (is_near(least, typed)) return best;
  for (size_t i = 0; i < cf_nkeys; i++) /* a key that lost its section */
    if (strcmp(cf_key_leaf(&cf_keys[i]), typed) == 0) return cf_keys[i].name;
  return NULL;
}

const char *cf_suggest_key(const char *section, const char *typed) {
  const size_t n = strlen(section);
  const char *best = NULL;
  int least = BIG;

  for (size_t i = 0; i < cf_nkeys; i++) {
    const bool here = strncmp(cf_keys[i].name, section, n) == 0 && cf_keys[i].name[n] == '.';
    const int far = here ? farness(typed, cf_key_leaf(&cf_keys[i])) : BIG;
    if (far < least) {
      least = far;
      best = cf_key_leaf(&cf_keys[i]);
    }
  }
  if (best && is_near(least, typed)) return best;
  for (size_t i = 0; i < cf_nkeys; i++) /* right word, wrong section */
    if (strcmp(cf_key_leaf(&cf_keys[i]), typed) == 0) return cf_keys[i].name;
  return NULL;
}

/* ---- texts about keys ---- */

const char *cf_word(const char *words, int i, size_t *n) {
  if (!words) return NULL;
  for (; i > 0; i--) {
    words = strchr(words, '|');
    if (!words) return NULL;
    words++;
  }
  *n = strcspn(words, "|");
  return words;
}

static void print_range(FILE *f, const cf_key *k) {
  if (k->hi >= BIG && k->flags & CF_OPEN_LO) fprintf(f, ", above %g", k->lo);
  else if (k->hi >= BIG) fprintf(f, ", %g or more", k->lo);
  else
    fprintf(f, ", %s%.15g to %s%.15g", k->flags & CF_OPEN_LO ? "above " : "", k->lo, k->flags & CF_OPEN_HI ? "below " : "",
            k->hi);
}

static void print_words(FILE *f, const char *words) {
  size_t n;
  const char *w;

  for (int i = 0; (w = cf_word(words, i, &n)) != NULL; i++) fprintf(f, "%s%.*s", i ? ", " : "", (int)n, w);
}

static void print_type(FILE *f, const cf_key *k) {
  switch (k->type) {
  case CF_T_INT:
    if (k->words) fprintf(f, "%s or ", k->words);
    fputs("integer", f);
    print_range(f, k);
    break;
  case CF_T_SEED: fputs("integer, 0 or more", f); break;
  case CF_T_REAL:
    fputs("number", f);
    print_range(f, k);
    break;
  case CF_T_PAIR:
    fputs("[number, number]", f);
    print_range(f, k);
    break;
  case CF_T_BOOL: fputs("true or false", f); break;
  case CF_T_ENUM:
    fputs("one of ", f);
    print_words(f, k->words);
    break;
  case CF_T_TEXT:
    fputs(k->words ? "one of " : "text", f);
    print_words(f, k->words);
    break;
  case CF_T_PATH: fputs("path", f); break;
  case CF_T_SETS: fputs("list of SET:PATH", f); break;
  case CF_T_SIZE: fprintf(f, "%s%s[H, W]", k->words ? k->words : "", k->words ? " or " : ""); break;
  }
}

char *cf_key_type_text(const cf_key *k) {
  char *text = NULL;
  size_t n = 0;
  FILE *f = open_memstream(&text, &n);

  if (!f) return NULL;
  print_type(f, k);
  if (fclose(f) != 0) {
    free(text);
    return NULL;
  }
  return text;
}
