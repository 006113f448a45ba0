/* trainer/bad_list.h: run.dir/bad_files.txt: every file that training could not use, "data.0: path: reason" a line, each
 * once over all processes of the run. */
#ifndef TRAINER_BAD_LIST_H
#define TRAINER_BAD_LIST_H
#include "base/io.h"
#include "datasets/loader.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef struct tr_bad_list {
  char path[IO_PATH_MAX];
  char *known;     /* what an earlier process of the run wrote; NULL: nothing */
  int64_t listed;  /* of the loader's bad files */
} tr_bad_list;

/* Makes no file yet. Errors: E_IO, E_NOMEM. */
int tr_bad_list_open(const char *run_dir, tr_bad_list *b);
void tr_bad_list_close(tr_bad_list *b);
/* Adds what the loader has met since the last call. Errors: E_DISK, E_IO. */
int tr_bad_list_update(tr_bad_list *b, const ds_loader *l);
/* Says how many there were and where they are listed; nothing when all was well. */
void tr_bad_list_tell(const tr_bad_list *b);
#ifdef __cplusplus
}
#endif
#endif
