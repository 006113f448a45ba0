/* trainer/cmd_predict.c: e2eft predict: depth or normals of images and folders of images. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "eval/image_list.h"
#include "eval/write_queue.h"
#include "trainer/commands.h"
#include "trainer/infer.h"

enum { GPU_WRITERS = 8 }; /* the CPU has its processors busy already: one then */

typedef struct predict_args {
  tr_infer_args infer;
  cli_list images;
  const char *output, *colour, *points, *align;
  bool sheet, uncertainty, keep_size;
} predict_args;

typedef struct prediction_run {
  ev_image_list list;
  ev_write_opts write;
  ev_write_queue *queue;
  const char *points;     /* NULL: no metric depth */
  ev_alignment space;
  ds_buf file;
  size_t done, failed;
  double started;
} prediction_run;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void show(const prediction_run *r) {
  const double each = (now() - r->started) / (double)r->done;
  const long left = (long)(each * (double)(r->list.n - r->done) + 0.5);

  log_status(r->done == r->list.n, "image %zu/%zu  %.3g s each  ETA %ldm%02lds", r->done, r->list.n, each, left / 60, left % 60);
}

static int read_image(void *ctx, size_t i, ev_image *out) {
  prediction_run *r = ctx;
  return ev_image_read(r->list.at[i].path, &r->file, out);
}

static void say_written(void *ctx, const char *name) {
  const prediction_run *r = ctx;
  printf("%s/%s.npy\n", r->write.out, name);
}

static void count_failure(prediction_run *r, const char *path) {
  r->failed++;
  if (!strncmp(err_text(), path, strlen(path))) log_error("%s", err_text());
  else log_error("%s: %s", path, err_text());
}

static int take_prediction(void *ctx, size_t i, const ev_image *image, const ev_prediction *p) {
  int st = OK;
  prediction_run *r = ctx;
  const ev_image_file *f = &r->list.at[i];

  r->done++;
  if (!p) {
    count_failure(r, f->path);
  } else {
    TRY(ev_write_queue_put(r->queue, f->name, image, p));
    if (r->points) st = ev_metric_write(&r->write, f->name, r->points, r->space, p);
    if (st == E_DATA) count_failure(r, f->path);
    else TRY(st);
    st = OK;
  }
  show(r);
out:
  return st;
}

static int list_images(const predict_args *a, prediction_run *r) {
  int st = OK;

  r->list.skip = a->output;
  for (size_t i = 0; i < a->images.n; i++) TRY(ev_image_list_add(&r->list, a->images.at[i]));
  TRY(ev_image_list_name(&r->list, a->output));
out:
  return st;
}

/* What goes with metric depth and what does not. */
static int check_points(const predict_args *a, prediction_run *r) {
  int st = OK, space;
  const char *names[EV_ALIGN_NONE + 1] = {NULL};

  memcpy(names, ev_alignment_names, EV_ALIGN_NONE * sizeof *names);
  TRY(tr_choice("align", a->align, names, &space));
  NEED(a->points || !a->align, E_CONFIG, "--align: there are no --points to align to");
  if (!a->points) goto out;
  NEED(io_exists(a->points), E_DATA, "--points: %s: no such file or folder", a->points);
  NEED(r->list.n == 1 || io_is_dir(a->points), E_CONFIG, "--points: one file for %zu images; wanted a folder with one for each",
       r->list.n);
  NEED(!a->keep_size, E_CONFIG, "--points are pixels of the image: leave --keep-size out");
  r->points = a->points;
  r->space = (ev_alignment)space;
out:
  return st;
}

static int prepare(const predict_args *a, prediction_run *r) {
  static const char *const colours[] = {"spectral", "grey", "none", NULL};
  int st = OK, colour;

  NEED(a->output, E_CONFIG, "predict: --output DIR is missing; see 'e2eft predict --help'");
  TRY(tr_choice("colour", a->colour, colours, &colour));
  r->write = (ev_write_opts){.out = a->output, .colour = (ev_colour)colour, .sheet = a->sheet, .uncertainty = a->uncertainty};
  TRY(io_make_dirs(a->output));
  TRY(list_images(a, r));
  TRY(check_points(a, r));
out:
  return st;
}

static int run_predict(const void *arguments, int argc, char **argv) {
  int st = OK;
  const predict_args *a = arguments;
  prediction_run r = {.done = 0};
  ev_estimator e = {.unet = NULL};
  ev_predict_opts o;
  ev_latents *latents = NULL;

  (void)argc, (void)argv;
  TRY(prepare(a, &r));
  TRY(tr_infer_open(&a->infer, &e));
  TRY(tr_infer_opts(&a->infer, &e, &o, &latents));
  NEED(!r.points || o.task == EV_DEPTH, E_CONFIG, "--points: the model predicts normals");
  o.keep_processed_size = a->keep_size;
  log_info("%zu image%s, %s, %d step%s, resolution %d", r.list.n, r.list.n == 1 ? "" : "s", ev_task_name(o.task),
           o.steps, o.steps == 1 ? "" : "s", o.resolution);
  TRY(ev_write_queue_open(&r.write, e.device.type == TCHC_CUDA ? GPU_WRITERS : 1, say_written, &r, &r.queue));
  r.started = now();
  const ev_images images = {.n = r.list.n, .ctx = &r, .read = read_image, .take = take_prediction};
  TRY(ev_predict(&e, &o, &images, NULL));
  TRY(ev_write_queue_finish(r.queue));
  NEED(!r.failed, E_DATA, "%zu of %zu images failed; the others are in %s", r.failed, r.list.n, a->output);
out:
  ev_write_queue_close(&r.queue);
  ev_latents_free(&latents);
  ev_estimator_fini(&e);
  ev_image_list_free(&r.list);
  ds_buf_free(&r.file);
  return st;
}

#define AT(field) offsetof(predict_args, field)
#define INFER(field) offsetof(predict_args, infer.field)
static const cli_option options[] = {
    {"output", 'o', CLI_TEXT, AT(output), "DIR", NULL, "where results go; needed"},
    TR_INFER_OPTIONS(INFER),
    {"keep-size", 0, CLI_FLAG, AT(keep_size), NULL, NULL, "leave results at the processing size"},
    {"colour", 0, CLI_TEXT, AT(colour), "HOW", NULL, "of depth: spectral, grey or none (spectral)"},
    {"sheet", 0, CLI_FLAG, AT(sheet), NULL, NULL, "also image and prediction side by side, NAME_sheet.png"},
    {"uncertainty", 0, CLI_FLAG, AT(uncertainty), NULL, NULL, "also an ensemble's disagreement, NAME_uncertainty.npy"},
    {"points", 0, CLI_TEXT, AT(points), "PATH", NULL, "known depth, see below: also NAME_metric.npy in metres"},
    {"align", 0, CLI_TEXT, AT(align), "SPACE", NULL, "depth, disparity or sqrt_disparity: where it is linear (depth)"},
    {0}};

const cli_command tr_predict_command = {
    .name = "predict",
    .operand = "IMAGE...",
    .operand_offset = AT(images),
    .operands = true,
    .options = options,
    .summary = "predict depth or normals of images",
    .details =
        "IMAGE is a PNG or JPEG file, or a folder: all .png, .jpg, .jpeg in it and in its subfolders. Results of a/b.png are\n"
        "DIR/b.npy (f32: depth [H,W] in [0,1], normals [3,H,W]), DIR/b.png (16 bit) and DIR/b_colour.png; those of a folder's\n"
        "images keep their subfolders. Photos are turned upright as their Exif header says. An image that cannot be read is\n"
        "reported and counted, the others go on; the exit status is then 3.\n\n"
        "Points are a .csv with columns x, y (pixels) and depth (metres), a .npy [H,W] in metres or a 16-bit .png in\n"
        "millimetres, 0 where unknown; for several images a folder with one of these for each, called as its results.",
    .args_size = sizeof(predict_args),
    .run = run_predict};
