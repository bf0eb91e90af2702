/* A round of a sender: some messages out of the outbox (sender_read.c), into the topics. Own header:
 * sender_inside.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "include/kappa/message.h"
#include "replayer/sender_inside.h"

#define SAVE_US  200000  /* between writes of SENT while busy */
#define CHECK_US 5000000 /* between moves of the checkpoints while busy */
#define REST_US  1000000 /* idle for so long: SENT is made clean */

/* ---- Sending */

/* Was it found in its topic? */
static bool is_known(const struct sender_topic *topic, uint32_t partition, uint32_t input,
                     const struct sender_place *place)
{
    const struct sender_place *places = topic->found[partition];
    return places != NULL && sender_place_order(place, &places[input]) <= 0;
}

static int send_one(struct sender *sender, const struct sender_piece *piece,
                    const struct sender_message *message, bool *sent, struct err *err)
{
    uint32_t number = piece->inputs[message->source];
    const struct sender_input *input = &sender->inputs[number];
    struct kappa_record record;
    if (message->place.output >= piece->topic_count ||
        !kappa_message_read(sender->bytes.data + message->at, message->len, &record)) {
        return err_set(err, KE_CORRUPT,
                       "the outbox %s holds something that is no message, of the record at offset "
                       "%" PRId64 " of %s/%" PRIu32,
                       piece->dir, message->place.offset, input->topic, input->partition);
    }
    struct sender_topic *topic = &sender->topics[piece->topics[message->place.output]];
    uint32_t partition = sender_partition(topic, input->partition, &record);
    *sent = !is_known(topic, partition, number, &message->place);
    if (!*sent) {
        return 0;
    }
    struct buf *header = &sender->header;
    buf_reset(header);
    buf_append(header, record.headers, record.headers_len);
    buf_append_u32_le(header, sizeof SENDER_HEADER - 1);
    buf_append(header, SENDER_HEADER, sizeof SENDER_HEADER - 1);
    size_t len_at = header->len;
    buf_append_u32_le(header, 0);
    sender_name_write(header, sender->name, input->topic, input->identity, input->partition,
                      &message->place);
    store_u32_le(header->data + len_at, u32_from(header->len - len_at - 4));
    record.headers = header->data;
    record.headers_len = u32_from(header->len);
    topic->written[partition] = true;
    return sender->out->ops->append(sender->out, topic->name, partition, &record, err);
}

/* SENT must say that something may have been sent before anything is. */
static int mark(struct sender *sender, struct err *err)
{
    if (sender->marked) {
        return 0;
    }
    int rc = sender_sent_save(sender, false, true, err);
    sender->marked = rc == 0;
    return rc;
}

/* marks: are to be written behind the messages. */
static int send_all(struct sender *sender, const struct sender_piece *piece, bool marks,
                    struct err *err)
{
    uint64_t count = 0;
    int rc = sender->message_count > 0 ? mark(sender, err) : 0;
    if (rc == 0 && sender_fails(sender, "mark")) {
        return -KE_CLOSED;
    }
    for (uint32_t i = 0; i < sender->message_count && rc == 0; i++) {
        bool sent = false;
        rc = send_one(sender, piece, &sender->messages[i], &sent, err);
        count += sent;
    }
    if (rc == 0 && marks) {
        rc = sender_marks_append(sender, err);
    }
    if (rc == 0 && sender_fails(sender, "appended")) {
        return -KE_CLOSED;
    }
    if (rc == 0 && (count > 0 || marks)) {
        rc = sender->out->ops->commit(sender->out, err);
    }
    if (rc == 0 && sender_fails(sender, "sent")) {
        return -KE_CLOSED;
    }
    if (rc == 0) {
        sender->sent += sender->message_count;
        sender->recognised += sender->message_count - count;
    }
    return rc;
}

/* The positions follow. True when one moved. */
static bool arrive(struct sender *sender, const struct sender_piece *piece)
{
    bool moved = false;
    for (uint32_t source = 0; source < piece->source_count; source++) {
        struct sender_input *input = &sender->inputs[piece->inputs[source]];
        ASSERT_CMP(sender->reach[source], >=, input->sent);
        moved |= sender->reach[source] > input->sent;
        input->sent = sender->reach[source];
    }
    if (sender->marking) {
        sender_marks_arrive(sender, piece);
    }
    return moved;
}

static bool piece_done(const struct sender *sender, const struct sender_piece *piece)
{
    for (uint32_t source = 0; source < piece->source_count; source++) {
        if (sender->inputs[piece->inputs[source]].sent < piece->to[source]) {
            return false;
        }
    }
    return true;
}

static int save_sometimes(struct sender *sender, struct err *err)
{
    int64_t now = clock_mono_us(sender->clock);
    int rc = 0;
    bool moved = false;
    if (now - sender->checked_us >= CHECK_US) {
        rc = sender_checkpoint(sender, &moved, err);
    }
    if (rc == 0 && (moved || now - sender->saved_us >= SAVE_US)) {
        rc = sender_sent_save(sender, false, false, err);
        if (rc == 0 && sender_fails(sender, "saved")) {
            return -KE_CLOSED;
        }
    }
    return rc;
}

/* Finished ones are passed. True when the present one is another now. */
static bool piece_next(struct sender *sender)
{
    uint32_t before = sender->piece;
    while (sender->piece + 1 < sender->piece_count &&
           piece_done(sender, &sender->pieces[sender->piece])) {
        sender->piece++;
    }
    if (sender->piece != before) {
        outbox_close(sender->outbox);
        sender->outbox = NULL;
    }
    return sender->piece != before;
}

int sender_round(struct sender *sender, bool *more, struct err *err)
{
    (void)piece_next(sender);
    const struct sender_piece *piece = &sender->pieces[sender->piece];
    int rc = 0;
    *more = false;
    if (sender->outbox == NULL) {
        rc = outbox_open(piece->dir, piece->shards, &sender->outbox, err);
    }
    if (rc == 0) {
        rc = sender_read(sender, piece, err);
    }
    bool marks = rc == 0 && sender->marking && sender_marks_due(sender, piece);
    if (rc == 0 && (marks || sender->message_count > 0)) {
        *more = sender->message_count > 0;
        rc = send_all(sender, piece, marks, err);
    }
    if (rc != 0) {
        return rc;
    }
    sender->changed |= arrive(sender, piece);
    *more |= piece_next(sender);
    return *more ? save_sometimes(sender, err) : 0;
}

int sender_rest(struct sender *sender, bool last, struct err *err)
{
    int64_t idle_us = clock_mono_us(sender->clock) - sender->saved_us;
    bool moved = false;
    if ((sender->clean && !sender->changed) || (!last && idle_us < REST_US)) {
        return 0;
    }
    if (sender->clean) { /* nothing was sent: only the positions are new */
        return last || idle_us >= CHECK_US ? sender_sent_save(sender, true, false, err) : 0;
    }
    int rc = sender_checkpoint(sender, &moved, err);
    if (rc == 0 && (moved || sender->changed)) {
        rc = sender_sent_save(sender, moved, false, err);
        sender->marked = rc == 0 ? !moved : sender->marked;
    }
    return rc;
}
