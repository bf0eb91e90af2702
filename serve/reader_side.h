/* Two readings of a table side by side: each is a cursor with the row it stands on, in key order, so
 * that a merge of both reads each row once.
 *
 * A row is known by its key: window end and key columns, as bytes; in views without groups by
 * (offset, partition); in tables that keep several rows of a key also by its number. All of these
 * ascend in a cursor. */
#ifndef KAPPA_SERVE_READER_SIDE_H
#define KAPPA_SERVE_READER_SIDE_H

#include "serve/reader_inner.h"

struct reader_side {
    struct reader_cursor *cursor;
    const struct reader_version *version;
    const struct plan_view *view;
    const struct kappa_value *values; /* of the row; borrowed until the next one */
    const uint8_t *key;
    size_t key_len;
    uint32_t partition; /* views without groups */
    uint32_t number;
    bool at_hand; /* it stands on a row */
};

/* Are the sources of two versions numbered alike? */
bool reader_sources_alike(const struct reader_version *a, const struct reader_version *b);

/* In front of the first row of the range, or of all (NULL). */
int reader_side_open(struct reader *reader, const struct reader_read *reading,
                     const struct reader_range *range, struct reader_side *side,
                     struct err *err) must_check;
/* 1 a row, 0 the end, negative. */
int reader_side_next(struct reader_side *side, struct err *err) must_check;
/* Which row comes first; below zero: a's. A side at its end comes last. */
int reader_side_order(const struct reader_side *a, const struct reader_side *b);
/* Also of one that was never opened, if it is all zeros. */
void reader_side_close(struct reader_side *side);

#endif
