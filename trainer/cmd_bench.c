/* trainer/cmd_bench.c: e2eft bench. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/bench.h"
#include "trainer/commands.h"

typedef struct bench_args {
  const char *config;
  cli_list sets, shapes;
  int64_t steps, warm;
  bool predict, check, encode;
} bench_args;

/* "HxW" or "HxW:SHARE" */
static int parse_shape(const char *text, tr_bench_opts *o) {
  int st = OK, end = 0, H, W, share = 1;

  NEED(o->nshapes < TR_BENCH_SHAPES, E_CONFIG, "--shape: at most %d", TR_BENCH_SHAPES);
  NEED(sscanf(text, "%5dx%5d%n", &H, &W, &end) == 2, E_CONFIG, "--shape: wanted HxW or HxW:SHARE, as 480x640:9, found '%s'", text);
  if (text[end] == ':') {
    int more = 0;
    NEED(sscanf(text + end, ":%4d%n", &share, &more) == 1 && share > 0, E_CONFIG, "--shape: '%s': a share is 1 or more", text);
    end += more;
  }
  NEED(!text[end], E_CONFIG, "--shape: wanted HxW or HxW:SHARE, as 480x640:9, found '%s'", text);
  o->shape[o->nshapes][0] = H;
  o->shape[o->nshapes][1] = W;
  o->share[o->nshapes++] = share;
out:
  return st;
}

static int options_of(const bench_args *a, tr_bench_opts *o) {
  int st = OK;

  *o = (tr_bench_opts){.steps = a->steps ? (int)a->steps : 5, .warm = a->warm ? (int)a->warm : 3, .encode = a->encode};
  NEED(a->steps <= 100000 && a->warm <= 100000, E_CONFIG, "bench: too many steps");
  for (size_t i = 0; i < a->shapes.n; i++) TRY(parse_shape(a->shapes.at[i], o));
  if (!o->nshapes) TRY(parse_shape(a->predict ? "576x768" : "480x640", o));
  NEED(!(a->predict && a->check), E_CONFIG, "bench: --predict and --check are two things");
out:
  return st;
}

static int run_bench(const void *arguments, int argc, char **argv) {
  int st = OK;
  const bench_args *a = arguments;
  cf_config *c = NULL;
  tr_bench_opts o;
  json_t *result = NULL;

  (void)argc, (void)argv;
  TRY(options_of(a, &o));
  TRY(cf_load(a->config, a->sets.at, a->sets.n, true, &c));
  TRY((a->predict ? tr_bench_predict : a->check ? tr_bench_check : tr_bench_train)(c, &o, &result));
  NEED(json_dumpf(result, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0 && putchar('\n') != EOF, E_DISK,
       "standard output: cannot write");
out:
  json_decref(result);
  cf_free(&c);
  return st;
}

#define AT(field) offsetof(bench_args, field)
static const cli_option options[] = {
    {"set", 's', CLI_LIST, AT(sets), "key=value", NULL, "override a key of the config: run.kernels=plain, optim.batch=8, ..."},
    {"shape", 0, CLI_LIST, AT(shapes), "HxW[:SHARE]", NULL, "size of samples, default 480x640; given again: a mix, groups in turn by their shares"},
    {"steps", 0, CLI_COUNT, AT(steps), "N", NULL, "timed steps, default 5; the median counts"},
    {"warm", 0, CLI_COUNT, AT(warm), "N", NULL, "steps before those, default 3"},
    {"encode", 0, CLI_FLAG, AT(encode), NULL, NULL, "encode images in the step; else latents are given"},
    {"predict", 0, CLI_FLAG, AT(predict), NULL, NULL, "time inference: encode, U-Net, decode of optim.micro_batch images (auto: 1) of 576x768"},
    {"check", 0, CLI_FLAG, AT(check), NULL, NULL, "compare loss and gradient of a step with fp32 through plain operators"},
    {0}};

const cli_command tr_bench_command = {
    .name = "bench",
    .operand = "CONFIG",
    .operand_offset = AT(config),
    .options = options,
    .summary = "time training steps or inference on made-up samples",
    .details = "Prints a JSON object: seconds a step, samples a second, peak memory beside what was planned, milliseconds of\n"
               "each phase and kind of kernel, work and share of what the hardware allows (at 800 TFLOP/s).\n"
               "configs/bench.yaml is Stable Diffusion 2 with random weights: nothing has to be downloaded.",
    .args_size = sizeof(bench_args),
    .run = run_bench};
