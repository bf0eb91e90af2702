/* Producing JSON lines. Own header: topics.h. */
#include "serve/topics_private.h"

#include "base/limits.h"
#include "serve/json_line.h"

#include <inttypes.h>
#include <string.h>

int topic_sink_open(struct log *log, const char *topic, const char *key_field,
                    const char *time_field, int32_t partition, struct topic_sink *out,
                    struct err *err)
{
    int rc = topic_partition_check(log, topic, partition, err);
    if (rc < 0) {
        return rc;
    }
    *out = (struct topic_sink){
        .key_field = key_field, .time_field = time_field, .partition = partition};
    return log->ops->writer_open(log, topic, &out->writer, err);
}

static bool is_blank(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') {
            return false;
        }
    }
    return true;
}

static int record_fill(struct topic_sink *sink, const char *text, size_t len,
                       struct kappa_record *record, struct err *err)
{
    *record = (struct kappa_record){.time_ms = KAPPA_NO_TIME,
                                    .key_len = KAPPA_NULL_LEN,
                                    .value = (const uint8_t *)text,
                                    .value_len = u32_from(len)};
    if (sink->envelope) {
        record->value = NULL;
        record->value_len = KAPPA_NULL_LEN;
        return topic_envelope_fill(sink, text, len, record, err);
    }
    if (sink->key_field != NULL) {
        bool null;
        int rc = json_line_key(text, len, sink->key_field, &sink->key, &null, err);
        if (rc < 0) {
            return rc;
        }
        if (!null) {
            record->key = (const uint8_t *)buf_text(&sink->key);
            record->key_len = u32_from(sink->key.len);
        }
    }
    return sink->time_field == NULL
               ? 0
               : json_line_time(text, len, sink->time_field, &record->time_ms, err);
}

int topic_sink_line(struct topic_sink *sink, const char *text, size_t len, struct err *err)
{
    sink->lines++;
    if (len > 0 && text[len - 1] == '\r') {
        len--;
    }
    bool field_wanted = sink->key_field != NULL || sink->time_field != NULL || sink->envelope;
    if (field_wanted && is_blank(text, len)) {
        return 0;
    }
    struct kappa_record record;
    int rc = len > LIMIT_RECORD_BYTES
                 ? err_set(err, KE_LIMIT, "longer than %d MiB", LIMIT_RECORD_BYTES >> 20)
                 : record_fill(sink, text, len, &record, err);
    if (rc == 0) {
        rc = sink->writer->ops->append(sink->writer, sink->partition, &record, err);
    }
    if (rc < 0) {
        err_prefix(err, "line %" PRIu64, sink->lines);
        return rc;
    }
    sink->records++;
    return 0;
}

int topic_sink_block(struct topic_sink *sink, const char *block, size_t len, bool at_end,
                     size_t *used, struct err *err)
{
    size_t at = 0;
    int rc = 0;
    while (rc == 0 && at < len) {
        const char *line_end = memchr(block + at, '\n', len - at);
        if (line_end == NULL && !at_end) {
            break;
        }
        size_t line_len = line_end == NULL ? len - at : (size_t)(line_end - (block + at));
        rc = topic_sink_line(sink, block + at, line_len, err);
        at += line_len + (line_end == NULL ? 0 : 1);
    }
    *used = at;
    return rc;
}

int topic_sink_flush(struct topic_sink *sink, bool sync, struct err *err)
{
    return sink->writer->ops->flush(sink->writer, sync, err);
}

void topic_sink_close(struct topic_sink *sink)
{
    if (sink->writer != NULL) {
        sink->writer->ops->close(sink->writer);
    }
    buf_free(&sink->key);
    buf_free(&sink->value);
    buf_free(&sink->headers);
    *sink = (struct topic_sink){0};
}
