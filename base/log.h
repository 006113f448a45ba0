/* base/log.h: messages to stderr and, once a run folder is there, to its log.txt.
 * On a terminal the status line is redrawn in place; otherwise a status is one plain line at most every 30 s.
 * Colour only on a terminal without NO_COLOR. Safe from several threads. */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include "base/err.h"
#ifdef __cplusplus
extern "C" {
#endif
typedef enum { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level;

/* Lines below `level` are dropped on stderr; the file gets all. Default LOG_INFO. */
void log_set_level(log_level level);
/* Appends every later line, with its time, to path. Errors: E_DISK, E_IO. */
int log_open_file(const char *path);
void log_close_file(void);
void log_line(log_level level, const char *fmt, ...) ERR_PRINTF(2, 3);
/* The one line of progress; `force` prints it now (the last step, say). */
void log_status(int force, const char *fmt, ...) ERR_PRINTF(2, 3);
/* Ends the status line, so that what follows starts a line of its own. */
void log_status_end(void);

#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#ifdef __cplusplus
}
#endif
#endif
