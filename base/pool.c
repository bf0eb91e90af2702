/* Size-class allocator. Own header: pool.h.
 *
 * Classes: 32 48 64 96 128 192 ... 16 Ki 24 Ki 32 Ki: class 2k is 32 << k, class 2k+1 is 48 << k. Blocks
 * are cut from chunks; the unused rest of a chunk is left when the next one starts. */
#include "base/pool.h"

#include <stdlib.h>
#include <string.h>

#define POOL_CHUNK_BYTES ((size_t)256 * 1024)
#define POOL_AHEAD       8 /* blocks that are fetched before they are taken */
#define POOL_FETCHED     ((size_t)4 * 64)
#define POOL_BLOCK_MAX   ((size_t)32 * 1024)

struct pool_chunk {
    struct pool_chunk *next;
    _Alignas(16) uint8_t data[POOL_CHUNK_BYTES];
};

void pool_init(struct pool *pool)
{
    memset(pool, 0, sizeof *pool);
}

static unsigned class_of(size_t size)
{
    if (size <= 32) {
        return 0;
    }
    /* The power of two below size, from 32 up; its upper half needs the next power. */
    unsigned k = 63U - (unsigned)__builtin_clzll((unsigned long long)(size - 1)) - 5U;
    size_t base = (size_t)32 << k;
    return size <= base + base / 2 ? 2 * k + 1 : 2 * k + 2;
}

static size_t class_bytes(unsigned class)
{
    return (class % 2 == 0 ? (size_t)32 : (size_t)48) << (class / 2);
}

size_t pool_block_size(size_t size)
{
    return size > POOL_BLOCK_MAX ? size : class_bytes(class_of(size));
}

static void *pool_cut(struct pool *pool, size_t bytes)
{
    if (pool->bump_left < bytes) {
        struct pool_chunk *chunk = xmalloc(sizeof *chunk);
        chunk->next = pool->chunks;
        pool->chunks = chunk;
        pool->bump = chunk->data;
        pool->bump_left = sizeof chunk->data;
    }
    void *block = pool->bump;
    pool->bump += bytes;
    pool->bump_left -= bytes;
    return block;
}

void *pool_alloc(struct pool *pool, size_t size)
{
    ASSERT(size > 0);
    if (size > POOL_BLOCK_MAX) {
        pool->used_bytes += size;
        pool->large_count++;
        return xmalloc(size);
    }
    unsigned class = class_of(size);
    ASSERT_CMP(class, <, POOL_CLASSES);
    pool->used_bytes += class_bytes(class);
    struct pool_free *free_blocks = &pool->free[class];
    if (free_blocks->count == 0) {
        return pool_cut(pool, class_bytes(class));
    }
    if (free_blocks->count > POOL_AHEAD) {
        uint8_t *next = free_blocks->blocks[free_blocks->count - 1 - POOL_AHEAD];
        for (size_t at = 0; at < class_bytes(class) && at < POOL_FETCHED; at += 64) {
            __builtin_prefetch(next + at, 1);
        }
    }
    return free_blocks->blocks[--free_blocks->count];
}

void pool_free(struct pool *pool, void *block, size_t size)
{
    ASSERT(block != NULL);
    ASSERT_CMP(pool->used_bytes, >=, pool_block_size(size));
    pool->used_bytes -= pool_block_size(size);
    if (size > POOL_BLOCK_MAX) {
        ASSERT(pool->large_count > 0);
        pool->large_count--;
        free(block);
        return;
    }
    unsigned class = class_of(size);
    struct pool_free *free_blocks = &pool->free[class];
    if (free_blocks->count == free_blocks->capacity) {
        free_blocks->capacity = free_blocks->capacity == 0 ? 64 : free_blocks->capacity * 2;
        free_blocks->blocks = xrealloc(free_blocks->blocks, free_blocks->capacity * sizeof(void *));
    }
    free_blocks->blocks[free_blocks->count++] = block;
}

void pool_close(struct pool *pool)
{
    ASSERT_CMP(pool->large_count, ==, 0);
    struct pool_chunk *chunk = pool->chunks;
    while (chunk != NULL) {
        struct pool_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    for (unsigned class = 0; class < POOL_CLASSES; class ++) {
        free(pool->free[class].blocks);
    }
    pool_init(pool);
}
