/* eval/task.h: what is predicted and measured. */
#ifndef EVAL_TASK_H
#define EVAL_TASK_H
typedef enum { EV_DEPTH, EV_NORMALS } ev_task;
#endif
