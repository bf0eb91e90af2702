/* Bump allocator: memory of one lifetime (a batch, a plan, a request), given back as a whole.
 *
 * arena_init; arena_alloc...; arena_reset keeps the chunks for the next round; arena_free gives all
 * back. Pointers stay valid until reset or free. Alignment is 16 bytes. Not thread-safe. */
#ifndef KAPPA_BASE_ARENA_H
#define KAPPA_BASE_ARENA_H

#include "base/base.h"

struct arena_chunk;

struct arena {
    struct arena_chunk *first; /* chain of chunks in order of use */
    struct arena_chunk *now;   /* the one being filled */
    size_t used;               /* bytes used in `now` */
};

void arena_init(struct arena *arena);
/* Never NULL; not zeroed. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((malloc, returns_nonnull));
void *arena_calloc(struct arena *arena, size_t size) __attribute__((malloc, returns_nonnull));
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t len);
char *arena_printf(struct arena *arena, const char *format, ...) printf_like(2, 3);
void arena_reset(struct arena *arena);
void arena_free(struct arena *arena);

#endif
