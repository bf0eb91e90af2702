/* Values in the order of (source, offset): the state of string_agg and array_agg.
 *
 * In memory as in bytes an element is
 *
 *     varint distance << 2 | null << 1 | 0      same source, so far behind the offset before
 *     varint             null << 1 | 1          then varint source, zigzag varint offset
 *
 * and its value, if it is not null (value_codec.h). A list with more bytes than its limit is full
 * for good and holds nothing. Bytes of a list: varint 0: full; else length + 1, then the elements. */
#ifndef KAPPA_PROCESSOR_AGG_LIST_H
#define KAPPA_PROCESSOR_AGG_LIST_H

#include "processor/agg_operator.h"

struct agg_list { /* zeroed: empty */
    uint8_t *bytes;
    uint32_t len;
    uint32_t capacity;
    uint32_t source; /* of the last element */
    bool any;        /* there is one */
    bool full;
    int64_t offset; /* of the last element */
};

struct agg_list_item {
    uint32_t source;
    int64_t offset;
    struct kappa_value value; /* borrowed from the list */
};

struct agg_list_reader {
    struct agg_cursor in;
    enum kappa_type type;
    struct agg_list_item item; /* after a next that was true */
};

/* Appends. Items come in the order of (source, offset), but where rows are fed in another order
 * (OVER by event time), which then stays. scratch is used up. */
void agg_list_add(struct agg_list *list, struct pool *pool, const struct agg_list_item *item,
                  uint32_t limit, struct buf *scratch);
/* Puts the elements of both in order. */
void agg_list_merge(struct agg_list *list, struct pool *pool, const struct agg_list *more,
                    enum kappa_type type, uint32_t limit);
void agg_list_free(struct agg_list *list, struct pool *pool);
void agg_list_encode(const struct agg_list *list, struct buf *out);
/* list: zeroed. */
bool agg_list_decode(struct agg_list *list, struct pool *pool, struct agg_cursor *in,
                     enum kappa_type type, uint32_t limit);
struct agg_list_reader agg_list_read(const struct agg_list *list, enum kappa_type type);
/* False: the end, or the bytes are none (which those of a list in memory never are). */
bool agg_list_next(struct agg_list_reader *reader);

#endif
