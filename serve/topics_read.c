/* Reading a topic for people. Own header: topics.h. */
#include "serve/topics.h"

#include "base/json.h"
#include "base/timefmt.h"
#include "log/position.h"
#include "processor/value_text.h"
#include "serve/json_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NOT_READ (-1)

/* Positions of the topic's partitions, resolved. */
static int span_resolve(struct log *log, const char *topic, const char *text, int64_t now_ms,
                        uint32_t partitions, struct position_range *ranges, struct err *err)
{
    const struct position_topic topics[] = {{topic, partitions}};
    struct position position;
    int rc = position_parse(text, now_ms, &position, err);
    if (rc == 0) {
        rc = position_resolve_some(&position, log, topics, ranges, err);
        position_free(&position);
    }
    return rc;
}

static int cursor_place(struct log *log, const char *topic, const struct topic_span *span,
                        struct topic_cursor *cursor, struct err *err)
{
    struct position_range *from = xcalloc(cursor->partitions, sizeof *from);
    struct position_range *until = xcalloc(cursor->partitions, sizeof *until);
    int rc = span_resolve(log, topic, span->from, span->now_ms, cursor->partitions, from, err);
    if (rc == 0 && span->until != NULL) {
        cursor->bounded = true;
        rc = span_resolve(log, topic, span->until, span->now_ms, cursor->partitions, until, err);
    }
    for (uint32_t p = 0; rc == 0 && p < cursor->partitions; p++) {
        bool wanted = (span->partition < 0 || p == span->partition) &&
                      from[p].start != POSITION_LEFT_OUT &&
                      !(cursor->bounded && until[p].start == POSITION_LEFT_OUT);
        cursor->next[p] = wanted ? from[p].start : NOT_READ;
        cursor->end[p] = cursor->bounded ? until[p].start : from[p].target;
    }
    free(from);
    free(until);
    return rc;
}

static int sources_add(struct log *log, const char *topic, struct topic_cursor *cursor,
                       struct err *err)
{
    int rc = log->ops->reader_open(log, "kappa.cat", &cursor->reader, err);
    for (uint32_t p = 0; rc == 0 && p < cursor->partitions; p++) {
        bool empty = cursor->bounded && cursor->next[p] >= cursor->end[p];
        if (cursor->next[p] != NOT_READ && !empty) {
            rc = cursor->reader->ops->add(cursor->reader, p, topic, p, cursor->next[p], err);
        }
    }
    return rc;
}

int topic_partition_check(struct log *log, const char *topic, int64_t partition, struct err *err)
{
    uint32_t count;
    int rc = log->ops->topic_partitions(log, topic, &count, err);
    if (rc == 0 && partition >= count) {
        rc = err_set(err, KE_NOT_FOUND,
                     "topic \"%s\" has no partition %" PRId64 ": it has %" PRIu32 ", from 0", topic,
                     partition, count);
    }
    return rc;
}

int topic_cursor_open(struct log *log, const char *topic, const struct topic_span *span,
                      struct topic_cursor *out, struct err *err)
{
    struct topic_cursor cursor = {0};
    int rc = log->ops->topic_partitions(log, topic, &cursor.partitions, err);
    if (rc == 0 && span->partition >= 0) {
        rc = topic_partition_check(log, topic, span->partition, err);
    }
    if (rc < 0) {
        return rc;
    }
    cursor.next = xcalloc(cursor.partitions, sizeof *cursor.next);
    cursor.end = xcalloc(cursor.partitions, sizeof *cursor.end);
    rc = cursor_place(log, topic, span, &cursor, err);
    if (rc == 0) {
        rc = sources_add(log, topic, &cursor, err);
    }
    if (rc < 0) {
        topic_cursor_close(&cursor);
        return rc;
    }
    *out = cursor;
    return 0;
}

/* Takes off what lies at or behind the end. */
static void batch_trim(int64_t end, struct log_batch *batch)
{
    while (batch->count > 0 && batch->records[batch->count - 1].offset >= end) {
        batch->count--;
    }
}

int topic_cursor_next(struct topic_cursor *cursor, int timeout_ms, uint32_t max_records,
                      struct log_batch *batch, struct err *err)
{
    int rc = cursor->reader->ops->next(cursor->reader, timeout_ms, max_records, batch, err);
    if (rc == 0 && !batch->none) {
        ASSERT_CMP(batch->source, <, cursor->partitions);
        if (cursor->bounded) {
            batch_trim(cursor->end[batch->source], batch);
        }
        cursor->next[batch->source] = cursor->bounded
                                          ? i64_min(batch->next_offset, cursor->end[batch->source])
                                          : batch->next_offset;
    }
    return rc;
}

bool topic_cursor_done(const struct topic_cursor *cursor)
{
    for (uint32_t p = 0; p < cursor->partitions; p++) {
        if (cursor->next[p] != NOT_READ && cursor->next[p] < cursor->end[p]) {
            return false;
        }
    }
    return true;
}

static void offsets_text(const struct topic_cursor *cursor, const int64_t *offsets, struct buf *out)
{
    const char *comma = "";
    for (uint32_t p = 0; p < cursor->partitions; p++) {
        if (cursor->next[p] != NOT_READ) {
            buf_printf(out, "%s%" PRIu32 ":%" PRId64, comma, p, offsets[p]);
            comma = ",";
        }
    }
}

void topic_cursor_position(const struct topic_cursor *cursor, struct buf *out)
{
    offsets_text(cursor, cursor->next, out);
}

void topic_cursor_until(const struct topic_cursor *cursor, struct buf *out)
{
    offsets_text(cursor, cursor->end, out);
}

void topic_cursor_close(struct topic_cursor *cursor)
{
    if (cursor->reader != NULL) {
        cursor->reader->ops->close(cursor->reader);
    }
    free(cursor->next);
    free(cursor->end);
    *cursor = (struct topic_cursor){0};
}

/* ---- Records as JSON ---- */

/* JSON as it stands, but on one line: outside of strings a line end is only a blank. */
static void json_on_one_line(struct buf *out, const char *text, size_t len)
{
    size_t from = out->len;
    buf_append(out, text, len);
    for (size_t i = from; i < out->len; i++) {
        if (out->data[i] == '\n' || out->data[i] == '\r') {
            out->data[i] = ' ';
        }
    }
}

/* Appends the bytes; true: they are not UTF-8 and stand there as base64. */
static bool bytes_json(struct buf *out, const uint8_t *bytes, uint32_t len, bool may_nest)
{
    const char *text = len == 0 ? "" : (const char *)bytes;
    if (len == KAPPA_NULL_LEN) {
        buf_append_text(out, "null");
    } else if (may_nest && json_check_container(text, len)) {
        json_on_one_line(out, text, len);
    } else if (utf8_check(text, len)) {
        value_json_string(out, text, len);
    } else {
        buf_append_u8(out, '"');
        buf_append_base64(out, bytes, len);
        buf_append_u8(out, '"');
        return true;
    }
    return false;
}

static void text_json(struct buf *out, const uint8_t *bytes, size_t len)
{
    json_t *text = json_text_lossy(bytes, len);
    json_write(out, text);
    json_decref(text);
}

static void headers_json(struct buf *out, const struct kappa_record *record)
{
    const uint8_t *at = record->headers;
    const uint8_t *end = record->headers_len == 0 ? at : at + record->headers_len;
    if (at == end) {
        return;
    }
    buf_append_text(out, ",\"headers\":[");
    for (const char *comma = ""; at < end; comma = ",") {
        uint32_t name_len = load_u32_le(at);
        const uint8_t *value = at + 4 + name_len;
        uint32_t value_len = load_u32_le(value);
        bool null = value_len == KAPPA_NULL_LEN;
        buf_printf(out, "%s[", comma);
        text_json(out, at + 4, name_len);
        buf_append_u8(out, ',');
        if (null) {
            buf_append_text(out, "null");
        } else {
            text_json(out, value + 4, value_len);
        }
        buf_append_u8(out, ']');
        at = value + 4 + (null ? 0 : value_len);
    }
    buf_append_u8(out, ']');
}

void topic_record_json(const char *topic, uint32_t partition, const struct kappa_record *record,
                       struct buf *out)
{
    char time[TIME_TEXT_LEN];
    buf_append_text(out, "{\"topic\":");
    value_json_string(out, topic, strlen(topic));
    buf_printf(out, ",\"partition\":%" PRIu32 ",\"offset\":%" PRId64 ",\"time\":", partition,
               record->offset);
    if (record->time_ms == KAPPA_NO_TIME) {
        buf_append_text(out, "null");
    } else {
        time_format(record->time_ms * 1000, time);
        value_json_string(out, time, strlen(time));
    }
    buf_append_text(out, ",\"key\":");
    bool key_encoded = bytes_json(out, record->key, record->key_len, false);
    buf_append_text(out, ",\"value\":");
    bool value_encoded = bytes_json(out, record->value, record->value_len, true);
    headers_json(out, record);
    if (key_encoded || value_encoded) {
        buf_printf(out, ",\"base64\":[%s%s%s]", key_encoded ? "\"key\"" : "",
                   key_encoded && value_encoded ? "," : "", value_encoded ? "\"value\"" : "");
    }
    buf_append_text(out, "}\n");
}
