/* trainer/version.h: what this program is: for --version, run.json and the stamp of what it writes. */
#ifndef TRAINER_VERSION_H
#define TRAINER_VERSION_H
#include <stdio.h>
#ifdef __cplusplus
extern "C" {
#endif
const char *tr_version(void); /* "0.1.0" */
const char *tr_commit(void);  /* of the source tree at configure time; "unknown" outside git */
void tr_version_print(FILE *f);
#ifdef __cplusplus
}
#endif
#endif
