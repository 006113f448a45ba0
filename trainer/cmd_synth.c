/* trainer/cmd_synth.c: e2eft synth: rendered scenes in the raw layouts of Hypersim and Virtual KITTI 2. */
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "datasets/synth.h"
#include "trainer/commands.h"

typedef struct synth_args {
  const char *out, *size, *street_size, *rooms, *streets;
  int64_t seed, frames, street_frames, weathers, samples, threads;
  bool truth;
} synth_args;

/* "HxW" */
static int parse_size(const char *option, const char *text, int *H, int *W) {
  int st = OK, end = 0;

  if (!text) return OK;
  NEED(sscanf(text, "%6dx%6d%n", H, W, &end) == 2 && !text[end], E_CONFIG, "--%s: wanted HxW, as 192x256, found '%s'",
       option, text);
out:
  return st;
}

/* 0 says something here ("no rooms"), so an option that was not given is told by its missing text. */
static int parse_count(const char *option, const char *text, int *out) {
  int st = OK, end = 0;

  if (!text) return OK;
  NEED(sscanf(text, "%6d%n", out, &end) == 1 && !text[end] && *out >= 0, E_CONFIG,
       "--%s: wanted a number of at least 0, found '%s'", option, text);
out:
  return st;
}

static void take(int64_t value, int *field) {
  if (value) *field = value > 1 << 30 ? 1 << 30 : (int)value;
}

static int options_of(const synth_args *a, ds_synth_opts *o) {
  int st = OK;

  ds_synth_opts_default(o);
  NEED(a->out, E_CONFIG, "synth: --output DIR is missing; see 'e2eft synth --help'");
  o->out = a->out;
  o->seed = (uint64_t)a->seed;
  o->truth = a->truth;
  o->threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
  TRY(parse_size("size", a->size, &o->room_H, &o->room_W));
  o->street_H = o->room_H;
  o->street_W = o->room_W;
  TRY(parse_size("street-size", a->street_size, &o->street_H, &o->street_W));
  TRY(parse_count("rooms", a->rooms, &o->rooms));
  TRY(parse_count("streets", a->streets, &o->streets));
  take(a->frames, &o->room_frames);
  take(a->street_frames, &o->street_frames);
  take(a->weathers, &o->weathers);
  take(a->samples, &o->samples);
  take(a->threads, &o->threads);
out:
  return st;
}

static void show(void *ctx, int64_t done, int64_t total) {
  (void)ctx;
  log_status(done == total, "rendered %lld of %lld frames", (long long)done, (long long)total);
}

static int run_synth(const void *arguments, int argc, char **argv) {
  int st = OK;
  ds_synth_opts o;

  (void)argc, (void)argv;
  TRY(options_of(arguments, &o));
  TRY(ds_synth(&o, show, NULL));
  log_status_end();
  if (o.rooms) printf("%s/hypersim\n", o.out);
  if (o.streets) printf("%s/virtual_kitti_2\n", o.out);
out:
  return st;
}

#define AT(field) offsetof(synth_args, field)
static const cli_option options[] = {
    {"output", 'o', CLI_TEXT, AT(out), "DIR", NULL, "where to write; needed"},
    {"seed", 0, CLI_NUMBER, AT(seed), "N", NULL, "another seed, other scenes (0)"},
    {"rooms", 0, CLI_TEXT, AT(rooms), "N", NULL, "Hypersim scenes, every eighth in split val (8)"},
    {"frames", 0, CLI_COUNT, AT(frames), "N", NULL, "frames a room, up to 100 (4)"},
    {"size", 0, CLI_TEXT, AT(size), "HxW", NULL, "of all frames (192x256)"},
    {"streets", 0, CLI_TEXT, AT(streets), "N", NULL, "Virtual KITTI 2 scenes, up to 5 (5)"},
    {"street-frames", 0, CLI_COUNT, AT(street_frames), "N", NULL, "frames a scene, weather and camera (2)"},
    {"street-size", 0, CLI_TEXT, AT(street_size), "HxW", NULL, "of the streets' frames, when another"},
    {"weathers", 0, CLI_COUNT, AT(weathers), "N", NULL, "of morning, fog, rain, sunset, overcast, clone (5)"},
    {"samples", 0, CLI_COUNT, AT(samples), "N", NULL, "rays a pixel where the picture changes: 1, 4, 9 (4)"},
    {"threads", 0, CLI_COUNT, AT(threads), "N", NULL, "(all processors)"},
    {"truth", 0, CLI_FLAG, AT(truth), NULL, NULL, "also exact depth and normals, DIR/truth/*.safetensors, and the scenes, *.json"},
    {0}};

const cli_command tr_synth_command = {
    .name = "synth",
    .options = options,
    .summary = "render rooms and streets as raw Hypersim and Virtual KITTI 2 data",
    .details = "What is written depends on the options alone: the same seed gives the same bytes on any number of threads.",
    .args_size = sizeof(synth_args),
    .run = run_synth};
