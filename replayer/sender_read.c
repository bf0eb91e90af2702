/* What a round sends: messages from the outbox, those of all sources merged by time. Own header:
 * sender_inside.h.
 *
 * The sources' next messages (heads) lie in a heap; the one with the smallest time leaves, of equal
 * ones that of the first source. So what has gathered leaves as one history, however much of it each
 * partition holds and whichever was read first: when a version begins to serve, everything up to its
 * cut is in its outbox. What comes later is merged as far as it is there, for nobody waits for a
 * message that may come. Within a source the order stays that of its records, whatever their times
 * are; the names by which a crash is survived ascend per source, and know nothing of the merge.
 *
 * A source whose times lie far behind has its way until its messages have left: the others' would
 * have to come behind them in any case. */
#include <stdlib.h>
#include <string.h>

#include "include/kappa/message.h"
#include "replayer/sender_inside.h"

#define ROUND_MESSAGES 8192
#define ROUND_BYTES    (1 << 20)

static int64_t row_time(const struct outbox_row *row)
{
    return row->len < KAPPA_MESSAGE_HEAD ? KAPPA_NO_TIME : (int64_t)load_u64_le(row->message);
}

/* ---- The heap: the head that leaves first is heads[0] */

static bool before(const struct sender_head *a, const struct sender_head *b)
{
    return a->time_ms != b->time_ms ? a->time_ms < b->time_ms : a->source < b->source;
}

static void sink(struct sender_head *heads, uint32_t count, uint32_t at)
{
    struct sender_head moved = heads[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        if (child + 1 < count && before(&heads[child + 1], &heads[child])) {
            child++;
        }
        if (!before(&heads[child], &moved)) {
            break;
        }
        heads[at] = heads[child];
        at = child;
    }
    heads[at] = moved;
}

/* ---- Sources */

/* All that the snapshot holds of this source is taken: `sent` will be where its version stands. */
static int exhausted(struct sender *sender, const struct sender_piece *piece, uint32_t source,
                     struct err *err)
{
    int64_t position = -1;
    int rc = outbox_position(sender->outbox, source, &position, err);
    if (rc < 0) {
        return rc;
    }
    position = i64_min(position, piece->to[source]);
    sender->reach[source] = i64_max(position, sender->inputs[piece->inputs[source]].sent);
    return 0;
}

/* 1: the head is its first message. */
static int source_open(struct sender *sender, const struct sender_piece *piece, uint32_t source,
                       struct sender_head *head, struct err *err)
{
    int64_t sent = sender->inputs[piece->inputs[source]].sent;
    sender->inputs[piece->inputs[source]].waiting = false;
    int64_t from = i64_max(piece->from[source], sent);
    if (from >= piece->to[source]) { /* also when a swap followed at once: nothing was real */
        sender->reach[source] = i64_max(piece->to[source], sent);
        return 0;
    }
    int rc = outbox_cursor_open(sender->outbox, source, from, &head->cursor, &head->row, err);
    if (rc == 1 && head->row.offset >= piece->to[source]) {
        outbox_cursor_close(head->cursor);
        rc = 0;
    }
    if (rc == 1) {
        head->source = source;
        head->time_ms = row_time(&head->row);
        return 1;
    }
    return rc < 0 ? rc : exhausted(sender, piece, source, err);
}

static void keep(struct sender *sender, const struct sender_head *head)
{
    if (sender->message_count == sender->message_cap) {
        sender->message_cap = sender->message_cap == 0 ? 256 : 2 * sender->message_cap;
        sender->messages =
            xrealloc(sender->messages, sender->message_cap * sizeof *sender->messages);
    }
    const struct outbox_row *row = &head->row;
    sender->messages[sender->message_count++] =
        (struct sender_message){.source = head->source,
                                .place = {row->offset, row->output, row->seq},
                                .at = sender->bytes.len,
                                .len = row->len};
    buf_append(&sender->bytes, row->message, row->len);
}

/* Keeps all messages of the head's record. 1: the head is the next record's first message. */
static int take_record(struct sender *sender, const struct sender_piece *piece,
                       struct sender_head *head, struct err *err)
{
    int64_t offset = head->row.offset;
    int rc = 1;
    while (rc == 1 && head->row.offset == offset) {
        keep(sender, head);
        rc = outbox_cursor_next(head->cursor, &head->row, err);
    }
    if (rc == 1 && head->row.offset < piece->to[head->source]) {
        head->time_ms = row_time(&head->row);
        return 1;
    }
    return rc < 0 ? rc : exhausted(sender, piece, head->source, err);
}

static int merge(struct sender *sender, const struct sender_piece *piece, uint32_t *count,
                 struct err *err)
{
    struct sender_head *heads = sender->heads;
    int rc = 0;
    for (uint32_t source = 0; source < piece->source_count && rc >= 0; source++) {
        rc = source_open(sender, piece, source, &heads[*count], err);
        *count += rc == 1 ? 1 : 0;
    }
    for (uint32_t at = *count / 2; at-- > 0;) {
        sink(heads, *count, at);
    }
    while (rc >= 0 && *count > 0 && sender->message_count < ROUND_MESSAGES &&
           sender->bytes.len < ROUND_BYTES) {
        rc = take_record(sender, piece, &heads[0], err);
        if (rc != 1) {
            outbox_cursor_close(heads[0].cursor);
            heads[0] = heads[--*count];
        }
        if (*count > 0) {
            sink(heads, *count, 0);
        }
    }
    for (uint32_t i = 0; i < *count; i++) { /* the round is full */
        sender->reach[heads[i].source] = heads[i].row.offset;
        sender->inputs[piece->inputs[heads[i].source]].waiting = true;
    }
    return rc < 0 ? rc : 0;
}

/* Messages of transactions committed before sender_stop was called, if it was. */
int sender_read(struct sender *sender, const struct sender_piece *piece, struct err *err)
{
    uint32_t count = 0;
    sender->message_count = 0;
    buf_reset(&sender->bytes);
    int rc = outbox_begin(sender->outbox, err);
    if (rc != 0) {
        return rc;
    }
    if (atomic_load(&sender->stopped)) { /* the snapshot may show what came after */
        outbox_end(sender->outbox);
        return err_set(err, KE_CLOSED, "told to stop");
    }
    ASSERT_CMP(piece->source_count, >, 0);
    rc = merge(sender, piece, &count, err);
    for (uint32_t i = 0; i < count; i++) {
        outbox_cursor_close(sender->heads[i].cursor);
    }
    outbox_end(sender->outbox);
    return rc;
}
