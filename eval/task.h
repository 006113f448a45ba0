/* eval/task.h: what is predicted and measured. */
#ifndef EVAL_TASK_H
#define EVAL_TASK_H
typedef enum { EV_DEPTH, EV_NORMALS } ev_task;
static inline const char *ev_task_name(ev_task t) { return t == EV_DEPTH ? "depth" : "normals"; }
#endif
