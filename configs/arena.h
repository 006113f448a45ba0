/* configs/arena.h: memory that lives as long as one config: the tree, its strings, the places of its values. */
#ifndef CONFIGS_ARENA_H
#define CONFIGS_ARENA_H
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef struct cf_arena { struct cf_chunk *last; } cf_arena;

/* n zeroed bytes, aligned for any type; NULL when there is no memory. */
void *cf_arena_alloc(cf_arena *a, size_t n);
/* printf into a string of the arena; NULL when there is no memory. */
char *cf_arena_format(cf_arena *a, const char *fmt, ...);
void cf_arena_fini(cf_arena *a);
#ifdef __cplusplus
}
#endif
#endif
