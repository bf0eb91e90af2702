/* Size-class allocator. Own header: pool.h.
 *
 * Classes: 32 48 64 96 128 192 ... 16 Ki 24 Ki 32 Ki: class 2k is 32 << k, class 2k+1 is 48 << k. Blocks
 * are cut from chunks; the unused rest of a chunk is left when the next one starts. */
#include "base/pool.h"

#include <stdlib.h>
#include <string.h>

#define POOL_CHUNK_BYTES ((size_t)256 * 1024)
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
    void *block = pool->free[class];
    if (block == NULL) {
        return pool_cut(pool, class_bytes(class));
    }
    memcpy(&pool->free[class], block, sizeof(void *));
    return block;
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
    memcpy(block, &pool->free[class], sizeof(void *));
    pool->free[class] = block;
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
    pool_init(pool);
}
