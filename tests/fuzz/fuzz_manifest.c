/* The first byte decides: CSV or JSON lines, and what every row must have. */
#include "datasets/manifest_rows.h"

#include <sys/stat.h>

#include "base/log.h"
#include "tests/fuzz/fuzz.h"

static char folder[] = "/tmp/e2eft-fuzz-XXXXXX", jsonl[64];

static void clean_up(void) {
  unlink(jsonl);
  rmdir(folder);
}

/* The format goes by the name: another one for the file in memory. */
static const char *named_jsonl(const char *path) {
  if (jsonl[0]) return jsonl;
  log_set_level(LOG_ERROR);
  if (!mkdtemp(folder)) abort();
  snprintf(jsonl, sizeof jsonl, "%s/m.jsonl", folder);
  if (symlink(path, jsonl)) abort();
  atexit(clean_up);
  return jsonl;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  ds_manifest *m = NULL;
  char path[IO_PATH_MAX];

  if (size == 0) return 0;
  const ds_manifest_wants wants = {.split = "train", .depth = data[0] & 2, .normals = data[0] & 4, .euclidean = data[0] & 8};
  const char *csv = fuzz_file(data + 1, size - 1), *json = named_jsonl(csv);
  const int st = ds_manifest_open(data[0] & 1 ? json : csv, &wants, &m);
  fuzz_need_message(st);
  if (st != OK) return 0;
  for (int64_t i = 0; i < m->n; i++)
    for (int f = 0; f < DS_ROW_FILES; f++)
      if (m->row[i].file[f] && ds_manifest_path(m, &m->row[i], (ds_row_file)f, path) == OK) fuzz_touch(path, strlen(path));
  ds_manifest_close(&m);
  return 0;
}
