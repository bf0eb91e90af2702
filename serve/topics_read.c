/* Reading a topic for people. Own header: topics.h. */
#include "serve/topics.h"

#include "base/json.h"
#include "base/timefmt.h"
#include "serve/json_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NOT_READ (-1)

static int from_invalid(const char *from, struct err *err)
{
    int rc = err_set(err, KE_INVALID, "\"%s\" is not a place to begin at", from);
    err_hint(err, "write beginning, end, @2026-01-31T12:00:00Z, -N for the last N, or "
                  "PARTITION:OFFSET,...");
    return rc;
}

static bool number_read(const char **text, int64_t *value)
{
    char *end = NULL;
    if (**text < '0' || **text > '9') {
        return false;
    }
    errno = 0;
    *value = strtoll(*text, &end, 10);
    *text = end;
    return errno == 0;
}

/* P:OFFSET,... ; or one offset for a topic of one partition. */
static int starts_from_list(const char *from, uint32_t partitions, int64_t *starts, struct err *err)
{
    const char *at = from;
    for (uint32_t p = 0; p < partitions; p++) {
        starts[p] = NOT_READ;
    }
    do {
        int64_t partition = 0;
        int64_t offset;
        if (!number_read(&at, &offset)) {
            return from_invalid(from, err);
        }
        if (*at == ':') {
            at++;
            partition = offset;
            if (!number_read(&at, &offset)) {
                return from_invalid(from, err);
            }
        } else if (partitions != 1) {
            return from_invalid(from, err);
        }
        if (partition >= partitions) {
            return err_set(err, KE_NOT_FOUND,
                           "there is no partition %" PRId64 ": the topic has %" PRIu32, partition,
                           partitions);
        }
        starts[partition] = offset;
    } while (*at++ == ',');
    return at[-1] == '\0' ? 0 : from_invalid(from, err);
}

/* Of one partition, for the forms that mean all of them. */
static int start_find(struct log *log, const char *topic, uint32_t p, const char *from,
                      int64_t *start, struct err *err)
{
    int64_t first;
    int64_t end;
    int rc = log->ops->offsets(log, topic, p, &first, &end, err);
    if (rc < 0) {
        return rc;
    }
    int64_t number;
    const char *digits = from + 1;
    if (strcmp(from, "beginning") == 0) {
        *start = first;
    } else if (strcmp(from, "end") == 0) {
        *start = end;
    } else if (from[0] == '-' && number_read(&digits, &number) && *digits == '\0') {
        *start = end - number > first ? end - number : first;
    } else if (from[0] == '@' && time_parse_ms(digits, strlen(digits), &number) && number >= 0) {
        rc = log->ops->offset_at_time(log, topic, p, number, start, err);
        *start = rc == 0 && *start < 0 ? end : *start;
    } else {
        rc = from_invalid(from, err);
    }
    return rc;
}

static int starts_find(struct log *log, const char *topic, const char *from, uint32_t partitions,
                       int64_t *starts, struct err *err)
{
    if (from[0] >= '0' && from[0] <= '9') {
        return starts_from_list(from, partitions, starts, err);
    }
    for (uint32_t p = 0; p < partitions; p++) {
        int rc = start_find(log, topic, p, from, &starts[p], err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

/* Neither moved nor waited for: somebody meant something else. */
static int start_check(uint32_t p, int64_t start, int64_t first, int64_t end, struct err *err)
{
    int rc = 0;
    if (start > end) {
        rc = err_set(err, KE_INVALID,
                     "offset %" PRId64 " lies beyond the end of partition %" PRIu32
                     ", which is %" PRId64,
                     start, p, end);
    } else if (start < first) {
        rc = err_set(err, KE_RANGE_LOST,
                     "partition %" PRIu32 " begins at offset %" PRId64 ": %" PRId64
                     " is no longer in the log",
                     p, first, start);
        err_hint(err, "begin at `beginning`, or at %" PRIu32 ":%" PRId64, p, first);
    }
    return rc;
}

static int sources_add(struct log *log, const char *topic, struct topic_cursor *cursor,
                       struct err *err)
{
    int rc = log->ops->reader_open(log, "kappa.cat", &cursor->reader, err);
    for (uint32_t p = 0; rc == 0 && p < cursor->partitions; p++) {
        int64_t first;
        rc = log->ops->offsets(log, topic, p, &first, &cursor->end[p], err);
        if (rc == 0 && cursor->next[p] != NOT_READ) {
            rc = start_check(p, cursor->next[p], first, cursor->end[p], err);
        }
        if (rc == 0 && cursor->next[p] != NOT_READ) {
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
                     "topic \"%s\" has no partition %" PRId64 ": its partitions are 0 to %" PRIu32,
                     topic, partition, count - 1);
    }
    return rc;
}

int topic_cursor_open(struct log *log, const char *topic, const char *from, int64_t partition,
                      struct topic_cursor *out, struct err *err)
{
    struct topic_cursor cursor = {0};
    int rc = log->ops->topic_partitions(log, topic, &cursor.partitions, err);
    if (rc == 0 && partition >= 0) {
        rc = topic_partition_check(log, topic, partition, err);
    }
    if (rc < 0) {
        return rc;
    }
    cursor.next = xcalloc(cursor.partitions, sizeof *cursor.next);
    cursor.end = xcalloc(cursor.partitions, sizeof *cursor.end);
    rc = starts_find(log, topic, from, cursor.partitions, cursor.next, err);
    for (uint32_t p = 0; p < cursor.partitions; p++) {
        if (partition >= 0 && p != partition) {
            cursor.next[p] = NOT_READ;
        }
    }
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

int topic_cursor_next(struct topic_cursor *cursor, int timeout_ms, uint32_t max_records,
                      struct log_batch *batch, struct err *err)
{
    int rc = cursor->reader->ops->next(cursor->reader, timeout_ms, max_records, batch, err);
    if (rc == 0 && !batch->none) {
        ASSERT_CMP(batch->source, <, cursor->partitions);
        cursor->next[batch->source] = batch->next_offset;
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

void topic_cursor_position(const struct topic_cursor *cursor, struct buf *out)
{
    const char *comma = "";
    for (uint32_t p = 0; p < cursor->partitions; p++) {
        if (cursor->next[p] != NOT_READ) {
            buf_printf(out, "%s%" PRIu32 ":%" PRId64, comma, p, cursor->next[p]);
            comma = ",";
        }
    }
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
        json_quote(out, text, len);
    } else {
        buf_append_u8(out, '"');
        buf_append_base64(out, bytes, len);
        buf_append_u8(out, '"');
        return true;
    }
    return false;
}

static uint32_t u32_at(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
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
        uint32_t name_len = u32_at(at);
        const uint8_t *value = at + 4 + name_len;
        uint32_t value_len = u32_at(value);
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
    json_quote(out, topic, strlen(topic));
    buf_printf(out, ",\"partition\":%" PRIu32 ",\"offset\":%" PRId64 ",\"time\":", partition,
               record->offset);
    if (record->time_ms == KAPPA_NO_TIME) {
        buf_append_text(out, "null");
    } else {
        time_format(record->time_ms * 1000, time);
        json_quote(out, time, strlen(time));
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
