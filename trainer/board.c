#include "trainer/board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "trainer/event.pb-c.h"

struct tr_board {
  io_file file;
  uint8_t *bytes; /* scratch for one record */
  size_t room;
};

/* ---- records ---- */

uint32_t tr_crc32c(const void *data, size_t n) {
  const uint8_t *p = data;
  uint32_t table[256], crc = UINT32_MAX;

  for (uint32_t i = 0; i < 256; i++) {
    table[i] = i;
    for (int bit = 0; bit < 8; bit++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78u : 0); /* the polynomial, reversed */
  }
  for (size_t i = 0; i < n; i++) crc = crc >> 8 ^ table[(crc ^ p[i]) & 255];
  return ~crc;
}

/* As the format stores a checksum: turned and shifted, so that checksums of checksums do not come out trivial. */
static uint32_t masked_crc(const void *data, size_t n) {
  const uint32_t crc = tr_crc32c(data, n);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static void put_le(uint8_t *to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) to[i] = (uint8_t)(value >> 8 * i);
}

/* One write a record: a killed run leaves at most one torn record, at the end, which readers drop. */
static int put_event(tr_board *b, const Tb__Event *event) {
  int st = OK;
  const size_t n = tb__event__get_packed_size(event), all = 12 + n + 4;

  if (all > b->room) {
    uint8_t *p = realloc(b->bytes, all);
    NEED(p, E_NOMEM, "%s: a record of %zu bytes", b->file.path, all);
    b->bytes = p;
    b->room = all;
  }
  put_le(b->bytes, n, 8);
  put_le(b->bytes + 8, masked_crc(b->bytes, 8), 4);
  tb__event__pack(event, b->bytes + 12);
  put_le(b->bytes + 12 + n, masked_crc(b->bytes + 12, n), 4);
  TRY(io_write(&b->file, b->bytes, all));
out:
  return st;
}

static Tb__Event event_at(int64_t step) {
  Tb__Event e = TB__EVENT__INIT;
  struct timespec t;

  clock_gettime(CLOCK_REALTIME, &t);
  e.wall_time = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
  e.step = step;
  return e;
}

static int put_value(tr_board *b, int64_t step, Tb__Summary__Value *value) {
  Tb__Summary summary = TB__SUMMARY__INIT;
  Tb__Event e = event_at(step);

  summary.n_value = 1;
  summary.value = &value;
  e.what_case = TB__EVENT__WHAT_SUMMARY;
  e.summary = &summary;
  return put_event(b, &e);
}

/* ---- files ---- */

/* TensorBoard reads a run's files in the order of their names: the time comes first. */
static int create_file(const char *dir, io_file *f) {
  int st = OK;
  char folder[IO_PATH_MAX], path[IO_PATH_MAX], host[128];
  struct timespec t;

  clock_gettime(CLOCK_REALTIME, &t);
  if (gethostname(host, sizeof host)) snprintf(host, sizeof host, "localhost");
  host[sizeof host - 1] = 0;
  TRY(io_path(folder, "%s/tensorboard", dir));
  TRY(io_make_dirs(folder));
  TRY(io_path(path, "%s/events.out.tfevents.%010lld.%09ld.%s.%ld", folder, (long long)t.tv_sec, t.tv_nsec, host,
              (long)getpid()));
  TRY(io_create(path, f));
out:
  return st;
}

int tr_board_open(const char *dir, int64_t step, tr_board **out) {
  int st = OK;
  tr_board *b = calloc(1, sizeof *b);
  Tb__Event version = event_at(0), start = event_at(step + 1);
  Tb__SessionLog log = TB__SESSION_LOG__INIT;

  NEED(b, E_NOMEM, "tensorboard");
  b->file.fd = -1;
  TRY(create_file(dir, &b->file));
  version.what_case = TB__EVENT__WHAT_FILE_VERSION;
  version.file_version = (char *)"brain.Event:2";
  TRY(put_event(b, &version));
  if (step) {
    log.status = TB__SESSION_LOG__SESSION_STATUS__START;
    start.what_case = TB__EVENT__WHAT_SESSION_LOG;
    start.session_log = &log;
    TRY(put_event(b, &start));
  }
  *out = b;
  b = NULL;
out:
  tr_board_close(&b);
  return st;
}

void tr_board_close(tr_board **bp) {
  tr_board *b = *bp;

  if (!b) return;
  if (b->file.fd >= 0) (void)io_close(&b->file);
  free(b->bytes);
  free(b);
  *bp = NULL;
}

/* ---- what is shown ---- */

int tr_board_scalar(tr_board *b, const char *tag, int64_t step, double value) {
  Tb__Summary__Value v = TB__SUMMARY__VALUE__INIT;

  v.tag = (char *)tag;
  v.value_case = TB__SUMMARY__VALUE__VALUE_SIMPLE_VALUE;
  v.simple_value = (float)value;
  return put_value(b, step, &v);
}

int tr_board_image(tr_board *b, const char *tag, int64_t step, const void *png, size_t n, int H, int W) {
  enum { RGB = 3 };
  Tb__Summary__Value v = TB__SUMMARY__VALUE__INIT;
  Tb__Summary__Image image = TB__SUMMARY__IMAGE__INIT;

  image.height = H;
  image.width = W;
  image.colorspace = RGB;
  image.encoded_image_string.data = (uint8_t *)png;
  image.encoded_image_string.len = n;
  v.tag = (char *)tag;
  v.value_case = TB__SUMMARY__VALUE__VALUE_IMAGE;
  v.image = &image;
  return put_value(b, step, &v);
}

static int put_set_loss(tr_board *b, const tr_metrics *m, ds_group *const *groups, int set, const char *name) {
  int st = OK, n = 0;
  double sum = 0;
  char tag[256];

  for (int g = 0; g < m->groups; g++)
    if (groups[g]->dataset == set && !m->group_empty[g]) {
      sum += m->group_loss[g];
      n++;
    }
  if (!n) goto out;
  snprintf(tag, sizeof tag, "loss/%s", name);
  TRY(tr_board_scalar(b, tag, m->step, sum / n));
out:
  return st;
}

int tr_board_step(tr_board *b, const tr_metrics *m, ds_group *const *groups, const char *const *names, int nsets) {
  int st = OK;
  const struct {
    const char *tag;
    double value;
  } all[] = {{"loss", m->loss}, {"grad_norm", m->grad_norm}, {"lr", m->lr}, {"samples_per_second", m->samples_per_second},
             {"data_wait", m->data_wait}, {"peak_bytes", m->peak_bytes}};

  for (size_t i = 0; i < sizeof all / sizeof *all; i++) TRY(tr_board_scalar(b, all[i].tag, m->step, all[i].value));
  for (int i = 0; nsets > 1 && i < nsets; i++) TRY(put_set_loss(b, m, groups, i, names[i]));
out:
  return st;
}
