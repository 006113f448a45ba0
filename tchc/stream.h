/* tchc/stream.h: streams, events, page-locked memory and captured steps. One program text serves both kinds of machine:
 * on the CPU all work is done when its call returns, so streams have no effect, events take the clock, memory is
 * ordinary and a captured step is run again.
 *
 * Errors: E_DEVICE for what the device refuses, E_FAIL for a NULL argument; the rest as in tchc.h. */
#ifndef TCHC_STREAM_H
#define TCHC_STREAM_H
#include "tchc/tchc.h"
#ifdef __cplusplus
extern "C" {
#endif

/* ---- page-locked ("pinned") host memory: copies between it and a GPU run beside the computation ---- */
/* A CPU tensor in page-locked memory, contiguous. With tchc_copy(.., non_blocking) keep it, unchanged, until an event
 * recorded after the copy is done. */
TCHC_CHECKED int tchc_empty_pinned(const int64_t *sizes, int ndim, tchc_dtype dt, tchc_tensor **out);
bool tchc_is_pinned(const tchc_tensor *t);
/* Locks somebody else's pages, as the loader's shared memory, until tchc_host_unlock. */
TCHC_CHECKED int tchc_host_lock(void *data, size_t nbytes);
TCHC_CHECKED int tchc_host_unlock(void *data);

/* ---- streams ---- */
typedef struct tchc_stream tchc_stream;
/* One of torch's pool, which is never used up: many opens may give the same stream. */
TCHC_CHECKED int tchc_stream_open(tchc_device d, bool high_priority, tchc_stream **out);
/* Takes NULL, nulls the pointer. Left first, if entered. */
void tchc_stream_close(tchc_stream **s);
/* This thread's work for the stream's device goes to s, until tchc_stream_leave; pairs may nest, each stream once. */
TCHC_CHECKED int tchc_stream_enter(tchc_stream *s);
TCHC_CHECKED int tchc_stream_leave(tchc_stream *s);
/* As a cudaStream_t; NULL on the CPU. */
TCHC_CHECKED int tchc_stream_native(const tchc_stream *s, void **stream);
/* Waits for all work given to s. */
TCHC_CHECKED int tchc_stream_synchronize(const tchc_stream *s);
/* t, made on another stream, is read or written on s: its memory is not given away before s is done with it. */
TCHC_CHECKED int tchc_stream_uses(const tchc_stream *s, const tchc_tensor *t);

/* ---- events ---- */
typedef struct tchc_event tchc_event;
/* Timing makes recording a little dearer. */
TCHC_CHECKED int tchc_event_open(tchc_device d, bool timing, tchc_event **out);
void tchc_event_close(tchc_event **e); /* takes NULL, nulls the pointer */
/* Marks the work given to the device's current stream so far. */
TCHC_CHECKED int tchc_event_record(tchc_event *e);
/* What comes next on the current stream waits for the event; the host does not. */
TCHC_CHECKED int tchc_event_wait(tchc_event *e);
/* An event that was never recorded is done. */
TCHC_CHECKED int tchc_event_done(const tchc_event *e, bool *out);
TCHC_CHECKED int tchc_event_synchronize(const tchc_event *e); /* the host waits */
/* Milliseconds between two recorded events with timing, both done. */
TCHC_CHECKED int tchc_event_elapsed(const tchc_event *from, const tchc_event *to, double *ms);

/* ---- captured steps (CUDA graphs) ---- */
typedef struct tchc_graph tchc_graph;
/* Runs `run` once under capture on a stream of its own. On a GPU this computes nothing: the work happens in each
 * tchc_graph_replay, on the same memory, so inputs are tensors that the caller refills, results are written to tensors of
 * the caller's (tchc_copy) or kept (tchc_keep) and read before the next replay, and no value may be read back inside.
 * On the CPU nothing runs here, each replay calls `run`: ctx lives as long as the graph.
 * Call `run` a few times before, so that cuDNN has measured and workspaces exist. Random numbers of checkpointed segments
 * are not replayed under capture. A GPU needs the build with a CUDA toolkit, otherwise E_DEVICE. */
typedef int (*tchc_step)(void *ctx);
TCHC_CHECKED int tchc_graph_capture(tchc_device d, tchc_step run, void *ctx, tchc_graph **out);
/* Enqueues the step on the device's current stream. */
TCHC_CHECKED int tchc_graph_replay(tchc_graph *g);
void tchc_graph_close(tchc_graph **g); /* takes NULL, nulls the pointer */
#ifdef __cplusplus
}
#endif
#endif
