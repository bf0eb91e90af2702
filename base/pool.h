/* Size-class allocator for one owner: blocks of 32 bytes to 32 KiB in powers of two with one step
 * between (32 48 64 96 128 ...), larger ones from malloc. It counts the bytes handed out, so that a
 * cache can hold a budget. Freed blocks are reused by their class. Not thread-safe. */
#ifndef KAPPA_BASE_POOL_H
#define KAPPA_BASE_POOL_H

#include "base/base.h"

#define POOL_CLASSES 21

struct pool_chunk;

/* A stack beside the blocks: a block that was freed long ago is in no cache, and taking it again must
 * not wait for its memory. */
struct pool_free {
    void **blocks;
    size_t count;
    size_t capacity;
};

struct pool {
    struct pool_chunk *chunks;           /* all chunks, for pool_close */
    uint8_t *bump;                       /* unused rest of the newest chunk */
    size_t bump_left;                    /* its bytes */
    struct pool_free free[POOL_CLASSES]; /* freed blocks per class */
    size_t used_bytes;                   /* handed out, rounded to class sizes */
    size_t large_count;                  /* blocks from malloc still out: must be 0 at close */
};

void pool_init(struct pool *pool);
/* size > 0; 16-byte aligned; not zeroed. */
void *pool_alloc(struct pool *pool, size_t size) __attribute__((returns_nonnull));
/* size is the size asked for at pool_alloc. */
void pool_free(struct pool *pool, void *block, size_t size);
/* Bytes that a block of this size really takes. */
size_t pool_block_size(size_t size);
/* Gives back everything; large blocks must have been freed. */
void pool_close(struct pool *pool);

#endif
