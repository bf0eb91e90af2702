/* Records that could not be processed, or came too late, copied and kept until they are committed. */
#ifndef KAPPA_PROCESSOR_DEAD_H
#define KAPPA_PROCESSOR_DEAD_H

#include "base/arena.h"
#include "include/kappa/record.h"
#include "include/kappa/row.h"

struct dead_record;

struct dead_list {
    struct arena memory;
    struct dead_record *records;
    size_t count;
    size_t capacity;
    size_t bytes; /* of everything kept */
};

void dead_open(struct dead_list *list);
void dead_close(struct dead_list *list);
/* view: index, or UINT32_MAX for all. Reason and bytes are copied. */
void dead_add(struct dead_list *list, uint32_t source, uint32_t view,
              const struct kappa_record *record, const char *reason);
/* keep: of the sink, where they go; ctx: of the sink. */
int dead_flush(const struct dead_list *list, kappa_keep_fn keep, void *ctx, struct err *err);
/* How many of the records [0, count) up to each one are dead, as of the list's entries from `first` on:
 * at[i] for record i. Entries of other records are ignored. */
void dead_count(const struct dead_list *list, size_t first, const struct kappa_record *records,
                uint32_t count, uint32_t *at);
/* The reason of the last entry that is about this offset. */
const char *dead_reason(const struct dead_list *list, int64_t offset);
void dead_clear(struct dead_list *list);

#endif
