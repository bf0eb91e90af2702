/* The outbox of a version, as those see it who send and list it: read-only, from any process.
 *
 *     outbox_open -> (outbox_begin -> outbox_position, outbox_each, cursors -> outbox_end) ...
 *     -> outbox_close
 *     outbox_cursor_open -> outbox_cursor_next ... -> outbox_cursor_close, within a snapshot
 *
 * A message is named by (source, offset, output, seq): the record that caused it, the topic of the
 * definition, and a number among its messages there. It is written in the commit that moves the
 * source's position over the record, so below the position of a snapshot none is missing that was
 * not taken away. Messages come in ascending order of their names.
 */
#ifndef KAPPA_TABLE_OUTBOX_H
#define KAPPA_TABLE_OUTBOX_H

#include "base/err.h"

struct outbox; /* all shards of one version */

struct outbox_row {
    uint32_t source;
    int64_t offset;
    uint32_t output;
    uint32_t seq;
    const uint8_t *message; /* include/kappa/message.h; borrowed */
    size_t len;
};

/* dir: DATA/versions/PROCESSOR/N. NOT_FOUND when it is gone. */
int outbox_open(const char *dir, uint32_t shards, struct outbox **out, struct err *err) must_check;
void outbox_close(struct outbox *outbox);

/* A snapshot; one at a time. The writer's map cannot grow while it lasts: be quick. */
int outbox_begin(struct outbox *outbox, struct err *err) must_check;
void outbox_end(struct outbox *outbox);
/* Committed position of a source: 1, or 0 when there is none. */
int outbox_position(struct outbox *outbox, uint32_t source, int64_t *next_offset,
                    struct err *err) must_check;
/* Calls fn for the source's messages from this offset on; fn returns false to stop. */
int outbox_each(struct outbox *outbox, uint32_t source, int64_t from_offset,
                bool (*fn)(void *ctx, const struct outbox_row *row), void *ctx,
                struct err *err) must_check;

/* The messages of one source, one by one, beside those of others. Both return 1 with a row, valid until
 * the next call with this cursor, or 0: there is none, or no more. *out is NULL when there is none at
 * all. All cursors are closed before the snapshot ends. */
struct outbox_cursor;
int outbox_cursor_open(struct outbox *outbox, uint32_t source, int64_t from_offset,
                       struct outbox_cursor **out, struct outbox_row *row,
                       struct err *err) must_check;
int outbox_cursor_next(struct outbox_cursor *cursor, struct outbox_row *row,
                       struct err *err) must_check;
void outbox_cursor_close(struct outbox_cursor *cursor);

#endif
