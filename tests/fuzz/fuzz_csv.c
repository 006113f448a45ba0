#include "datasets/csv.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  ds_csv *c = NULL;
  char **fields;
  int st = ds_csv_open(fuzz_file(data, size), &c), col;

  fuzz_need_message(st);
  if (st != OK) return 0;
  for (int i = 0; i < ds_csv_columns(c); i++) fuzz_touch(ds_csv_name(c, i), strlen(ds_csv_name(c, i)));
  (void)ds_csv_column(c, "rgb", &col);
  do {
    st = ds_csv_next(c, &fields);
    fuzz_need_message(st);
    if (st == OK && fields)
      for (int i = 0; i < ds_csv_columns(c); i++) fuzz_touch(fields[i], strlen(fields[i]));
  } while (st != OK || fields);
  ds_csv_close(&c);
  return 0;
}
