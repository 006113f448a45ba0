/* configs/config.h: the config file: every key, its type, range, default and help are one line of the table in
 * schema.c; this struct is what they fill. YAML by libyaml, read once with line and column of every key, so that all
 * errors are reported together as file:line:col: key: what; did you mean X. */
#ifndef CONFIGS_CONFIG_H
#define CONFIGS_CONFIG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { CF_AUTO, CF_CPU, CF_CUDA } cf_device;
typedef enum { CF_FP32, CF_BF16 } cf_precision;
typedef enum { CF_KERNELS_AUTO, CF_KERNELS_PLAIN, CF_KERNELS_FUSED } cf_kernels;
typedef enum { CF_DEPTH, CF_NORMALS, CF_JOINT } cf_task;
typedef enum { CF_FAMILY_AUTO, CF_SD, CF_MARIGOLD, CF_GEOWIZARD } cf_family;
typedef enum { CF_ZEROS, CF_GAUSSIAN, CF_PYRAMID, CF_NONE } cf_noise;
typedef enum { CF_SHORT, CF_PADDED } cf_text;
typedef enum { CF_HALF, CF_KEEP } cf_conv_in_bias;
typedef enum { CF_WEIGHTS, CF_RANDOM } cf_init;
typedef enum { CF_E2E, CF_DIFFUSION } cf_objective;
typedef enum { CF_ADAMW, CF_ADAM } cf_optim;
typedef enum { CF_EXPONENTIAL, CF_CONSTANT } cf_schedule;
typedef enum { CF_SKIP, CF_REFERENCE } cf_nonfinite;
typedef enum { CF_TRAINED, CF_EMA } cf_weights;
typedef enum { CF_KIND_HYPERSIM, CF_KIND_VKITTI2, CF_KIND_MANIFEST, CF_KIND_BATCHES } cf_kind;
typedef enum { CF_LAYOUT_AUTO, CF_LAYOUT_RAW, CF_LAYOUT_MARIGOLD } cf_layout;
typedef enum { CF_PER_SCENE, CF_FIXED } cf_intrinsics;
typedef enum { CF_FILTER_NONE, CF_FILTER_MARIGOLD } cf_filter;
typedef enum { CF_NORMALS_AUTO, CF_NORMALS_FILES, CF_NORMALS_DEPTH } cf_normals;
typedef enum { CF_PLANAR, CF_EUCLIDEAN } cf_depth_kind;
typedef enum { CF_FRAME_LUB, CF_FRAME_MARIGOLD, CF_FRAME_OPENCV } cf_normals_frame;
typedef enum { CF_BAD_SKIP, CF_BAD_FATAL } cf_bad_file;
typedef enum { CF_DOMAIN_UNSET, CF_INDOOR, CF_OUTDOOR, CF_OBJECT } cf_domain;

/* Paths are absolute or relative to the working folder: already resolved against the file they were written in.
 * What an unset size, crop or far means depends on the kind and is datasets' business (and cf_print's, which shows it). */
typedef struct cf_data {
  cf_kind kind;
  char *root;               /* required */
  cf_layout layout;
  char *split;              /* "train" */
  double weight;            /* 1 */
  bool size_set;            /* the key was given */
  int64_t size[2];          /* H, W; 0,0 = native */
  bool crop_set;
  int64_t crop[2];          /* 0,0 = none */
  double near_m, far_m;     /* keys near, far; far 0 = the kind's */
  double flip;
  bool shuffle;
  cf_intrinsics intrinsics;
  cf_filter filter;
  cf_bad_file bad_file;
  bool mm_wrap;
  cf_normals normals;
  double depth_unit;        /* 0 = by the type of the file */
  cf_depth_kind depth_kind;
  cf_normals_frame normals_frame;
  cf_domain domain;
  char *cache, *split_csv, *camera_csv, *frame_list; /* NULL when unset */
  bool keep_broken;
  bool as_reference;
} cf_data;

typedef struct cf_config {
  struct { char *dir; uint64_t seed; cf_device device; cf_precision precision; bool deterministic, preflight; cf_kernels kernels; double memory_limit; } run;
  struct {
    char *path;             /* NULL when unset */
    cf_task task;
    cf_family family;
    int64_t timestep;
    cf_noise noise;
    cf_text text;
    cf_conv_in_bias conv_in_bias;
    cf_init init;
  } model;
  struct { cf_objective kind; char *loss; /* NULL: the task's */ bool reference, zero_snr; } objective;
  cf_data *data;
  size_t ndata;
  struct { int64_t workers; /* 0 = auto */ double timeout; /* seconds a file */ } loader;
  struct {
    int64_t steps, batch, group;
    int64_t micro_batch;    /* 0 = auto */
    bool recompute;         /* run blocks again in backward instead of keeping activations */
    cf_optim kind;
    double lr;
    int64_t warmup;
    cf_schedule schedule;
    int64_t decay_steps;    /* 0 = steps */
    double final_ratio, betas[2], weight_decay, eps, clip, ema;
    int64_t max_nonfinite;
    cf_nonfinite nonfinite;
  } optim;
  struct { int64_t every, keep; bool background; } checkpoint;
  struct { int64_t every; char **sets; size_t nsets; int64_t limit, pictures; cf_weights weights; char *best; } validate;
  struct { int64_t every; bool tensorboard; } log;

  struct cf_origins *origins; /* where each value came from */
} cf_config;

/* Reads path (and what its `base:` chain names; closer files win), then overrides "a.b=c" in order. require_model: is
 * an unset model.path an error? Errors: E_CONFIG; the message holds every error found, one a line, in the files' order
 * and then those of keys that do not fit each other. An override is named as the place of its errors: "-s a.b=c: ...". */
int cf_load(const char *path, const char *const *overrides, size_t n, bool require_model, cf_config **out);
void cf_free(cf_config **c);
/* Every key with its value and origin, as `--dry-run` shows it: "optim.lr: 3e-05    # default", "# paper.yaml:12:7". */
int cf_print(const cf_config *c, FILE *f);
/* The merged config as YAML with every key, paths absolute: what is saved in the run folder. From malloc. */
int cf_to_yaml(const cf_config *c, char **text);
/* Keys whose values differ between two merged configs, for resume: "optim.lr: 3e-05 -> 1e-05", one a line, from malloc;
 * *changes_meaning is false when only keys differ that may change (steps, log, checkpoint, workers, micro_batch ...). */
int cf_diff(const cf_config *was, const cf_config *now, char **lines, bool *changes_meaning);
/* Name of an enum's value, as in the file. */
const char *cf_kind_name(cf_kind k);
/* All keys with type, range, default and help, as a Markdown table (the README's) . */
int cf_print_keys(FILE *f);
#ifdef __cplusplus
}
#endif
#endif
