/* Corrections on their way: batches of a sender of their own. Own header: correction.h.
 *
 * What is sent is copied first, and appended and committed in one go: a transaction of Kafka does not stay
 * open while the next difference is looked for. */
#include <stdlib.h>
#include <string.h>

#include "replayer/correction_inside.h"

#define BATCH_MESSAGES 1000
#define BATCH_BYTES    ((size_t)1 << 20)

struct batched {
    const char *topic;
    uint32_t partition;
    struct kappa_record record; /* lengths; the bytes lie one behind the other at `at` */
    size_t at;
};

struct sending {
    struct corrections *c;
    const struct correction_sending *how;
    struct batched batch[BATCH_MESSAGES];
    uint32_t count;
    struct buf bytes;
    uint64_t sent;
};

static void header_append(struct buf *headers, const char *name, size_t *len_at)
{
    buf_append_u32_le(headers, u32_from(strlen(name)));
    buf_append_text(headers, name);
    *len_at = headers->len;
    buf_append_u32_le(headers, 0);
}

static void header_end(struct buf *headers, size_t len_at)
{
    store_u32_le(headers->data + len_at, u32_from(headers->len - len_at - 4));
}

/* The message's own headers, then what it corrects and how, then its name. */
static void headers_append(struct buf *out, const struct corrections *c,
                           const struct correction *correction)
{
    size_t len_at = 0;
    buf_append(out, correction->record.headers, correction->record.headers_len);
    header_append(out, SENDER_CORRECTION, &len_at);
    buf_printf(out, "%llu %s", (unsigned long long)c->options.epoch,
               correction_word(correction->kind));
    header_end(out, len_at);
    header_append(out, SENDER_HEADER, &len_at);
    sender_name_write(out, c->options.name, correction->input, correction->identity,
                      correction->input_partition, &correction->place);
    header_end(out, len_at);
}

static int batch_append(struct sending *sending, const struct batched *item, struct err *err)
{
    struct log_sender *sender = sending->c->sender;
    struct kappa_record record = item->record;
    const uint8_t *at = sending->bytes.data + item->at;
    record.key = record.key_len == KAPPA_NULL_LEN ? NULL : at;
    at += record.key_len == KAPPA_NULL_LEN ? 0 : record.key_len;
    record.value = record.value_len == KAPPA_NULL_LEN ? NULL : at;
    at += record.value_len == KAPPA_NULL_LEN ? 0 : record.value_len;
    record.headers = at;
    return sender->ops->append(sender, item->topic, item->partition, &record, err);
}

static int fails(const struct sending *sending, const char *step)
{
    return sending->how->fail_point == NULL ? 0 : sending->how->fail_point(NULL, step);
}

static int batch_send(struct sending *sending, struct err *err)
{
    struct log_sender *sender = sending->c->sender;
    if (sending->count == 0) {
        return 0;
    }
    int rc = sending->how->may(sending->how->ctx, err);
    if (rc == 0 && fails(sending, "correct") != 0) {
        return err_set(err, KE_CLOSED, "stopped");
    }
    for (uint32_t i = 0; i < sending->count && rc == 0; i++) {
        rc = batch_append(sending, &sending->batch[i], err);
    }
    rc = rc == 0 ? sender->ops->commit(sender, err) : rc;
    if (rc == 0) {
        sending->sent += sending->count;
        sending->count = 0;
        buf_reset(&sending->bytes);
    }
    if (rc == 0 && fails(sending, "corrected") != 0) {
        return err_set(err, KE_CLOSED, "stopped");
    }
    return rc;
}

static int keep(void *ctx, const struct correction *correction, struct err *err)
{
    struct sending *sending = ctx;
    const struct kappa_record *record = &correction->record;
    struct buf *bytes = &sending->bytes;
    int rc =
        sending->how->told == NULL ? 0 : sending->how->told(sending->how->ctx, correction, err);
    struct batched *item = &sending->batch[sending->count++];
    *item = (struct batched){correction->topic, correction->partition, *record, bytes->len};
    buf_append(bytes, record->key, record->key_len == KAPPA_NULL_LEN ? 0 : record->key_len);
    buf_append(bytes, record->value, record->value_len == KAPPA_NULL_LEN ? 0 : record->value_len);
    size_t headers = bytes->len;
    headers_append(bytes, sending->c, correction);
    item->record.headers_len = u32_from(bytes->len - headers);
    bool full = sending->count == BATCH_MESSAGES || bytes->len >= BATCH_BYTES;
    return rc == 0 && full ? batch_send(sending, err) : rc;
}

int correction_send(struct corrections *corrections, const struct correction_sending *how,
                    uint64_t *sent, struct err *err)
{
    struct sending *sending = xcalloc(1, sizeof *sending);
    ASSERT(corrections->sender != NULL);
    sending->c = corrections;
    sending->how = how;
    int rc = correction_walk(corrections, keep, sending, err);
    rc = rc == 0 ? batch_send(sending, err) : rc;
    *sent = sending->sent;
    buf_free(&sending->bytes);
    free(sending);
    return rc;
}
