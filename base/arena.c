/* Bump allocator. Own header: arena.h.
 *
 * Invariants: chunks are linked from `first`; those before `now` are full or skipped, those behind it
 * are empty and kept for the next round. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_ALIGN       16
#define ARENA_CHUNK_BYTES ((size_t)64 * 1024)

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of data */
    _Alignas(ARENA_ALIGN) uint8_t data[];
};

void arena_init(struct arena *arena)
{
    memset(arena, 0, sizeof *arena);
}

static struct arena_chunk *chunk_new(size_t size)
{
    struct arena_chunk *chunk = xmalloc(sizeof *chunk + size);
    chunk->next = NULL;
    chunk->size = size;
    return chunk;
}

/* Moves on to a chunk with room for size: the next kept one if it is large enough, else a new one. */
static void arena_next_chunk(struct arena *arena, size_t size)
{
    struct arena_chunk **link = arena->now == NULL ? &arena->first : &arena->now->next;
    if (*link == NULL || (*link)->size < size) {
        struct arena_chunk *chunk = chunk_new(size > ARENA_CHUNK_BYTES ? size : ARENA_CHUNK_BYTES);
        chunk->next = *link;
        *link = chunk;
    }
    arena->now = *link;
    arena->used = 0;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    ASSERT_CMP(size, <, SIZE_MAX / 2);
    size_t rounded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (arena->now == NULL || arena->now->size - arena->used < rounded) {
        arena_next_chunk(arena, rounded);
    }
    void *memory = arena->now->data + arena->used;
    arena->used += rounded;
    ASSERT_CMP(arena->used, <=, arena->now->size);
    return memory;
}

void *arena_calloc(struct arena *arena, size_t size)
{
    void *memory = arena_alloc(arena, size);
    memset(memory, 0, size);
    return memory;
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
    char *copy = arena_alloc(arena, len + 1);
    if (len > 0) {
        memcpy(copy, text, len);
    }
    copy[len] = '\0';
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT_CMP(len, >=, 0);
    char *text = arena_alloc(arena, (size_t)len + 1);
    (void)vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

void arena_reset(struct arena *arena)
{
    arena->now = NULL;
    arena->used = 0;
}

void arena_free(struct arena *arena)
{
    struct arena_chunk *chunk = arena->first;
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    arena_init(arena);
}
