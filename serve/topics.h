/* Topics for people: producing JSON lines and reading records back. Shared by the HTTP routes and
 * by the command line; the log itself is log/log.h.
 *
 *     topic_cursor_open -> next, next, ... (done? position?) -> close
 *     topic_sink_open -> line, line, ... -> flush -> close
 *
 * Where to begin and end is written as log/position.h says; partitions that a list leaves out are
 * not read. */
#ifndef KAPPA_SERVE_TOPICS_H
#define KAPPA_SERVE_TOPICS_H

#include "base/buf.h"
#include "log/log.h"

/* ---- Reading ---- */

struct topic_span {
    const char *from;
    const char *until; /* resolved once, when it is opened; NULL: no end */
    int64_t partition; /* only this one, or -1 */
    int64_t now_ms;    /* wall clock */
};

struct topic_cursor {
    struct log_reader *reader; /* NULL when there is nothing to read */
    bool bounded;              /* nothing at or behind `end` is delivered */
    uint32_t partitions;
    int64_t *next; /* per partition: where it stands, or -1: not read */
    int64_t *end;  /* per partition: the end when it was opened, or where `until` is */
};

int topic_cursor_open(struct log *log, const char *topic, const struct topic_span *span,
                      struct topic_cursor *out, struct err *err) must_check;
/* As next() of a log reader; batch->source is the partition. */
int topic_cursor_next(struct topic_cursor *cursor, int timeout_ms, uint32_t max_records,
                      struct log_batch *batch, struct err *err) must_check;
/* Everything that was there at the open, or lies before `until`, has been read. */
bool topic_cursor_done(const struct topic_cursor *cursor);
/* Where it stands, as a `P:OFFSET,...` to begin at. Appended. */
void topic_cursor_position(const struct topic_cursor *cursor, struct buf *out);
/* Its end in the same form: an `until` that stays where it is. */
void topic_cursor_until(const struct topic_cursor *cursor, struct buf *out);
void topic_cursor_close(struct topic_cursor *cursor);

/* {"topic","partition","offset","time","key","value"} and a line end. A value that is a JSON object
 * or array stands there as it is; anything else, and the key, is its text, or null. Bytes that are
 * not UTF-8 come as base64, and the member "base64" lists which of key and value do. Headers, when
 * there are any, are "headers":[["name","value"],...], the value's text or null. */
void topic_record_json(const char *topic, uint32_t partition, const struct kappa_record *record,
                       struct buf *out);

/* ---- Producing ---- */

struct topic_sink {
    struct log_writer *writer;
    const char *key_field;  /* or NULL */
    const char *time_field; /* or NULL */
    int32_t partition;      /* or -1 */
    bool envelope;          /* lines are envelopes as topic_record_json writes them */
    struct buf key;         /* of the line at hand */
    struct buf value;       /* and its value and headers, when they come from an envelope */
    struct buf headers;
    uint64_t lines;   /* lines seen, also empty ones */
    uint64_t records; /* appended */
};

/* key_field, time_field: names of top-level members, or NULL: borrowed. INVALID: no such
 * partition. The caller may then set envelope; topic, partition and offset in a line are not
 * followed. */
int topic_sink_open(struct log *log, const char *topic, const char *key_field,
                    const char *time_field, int32_t partition, struct topic_sink *out,
                    struct err *err) must_check;
/* One line without its end; a blank one is a record too, but skipped when a key or time is wanted
 * of it. text[len] and KAPPA_RECORD_TAIL bytes behind
 * must be readable. INVALID with the number of the line when its key or time cannot be had. */
int topic_sink_line(struct topic_sink *sink, const char *text, size_t len,
                    struct err *err) must_check;
/* All whole lines of a block; *used: the bytes taken. At the end of input the block's last line may
 * lack its end. */
int topic_sink_block(struct topic_sink *sink, const char *block, size_t len, bool at_end,
                     size_t *used, struct err *err) must_check;
/* Everything so far is readable by others. sync: and survives a crash of the machine. */
int topic_sink_flush(struct topic_sink *sink, bool sync, struct err *err) must_check;
void topic_sink_close(struct topic_sink *sink);

/* Text of a body or option that must be a partition of the topic. */
int topic_partition_check(struct log *log, const char *topic, int64_t partition,
                          struct err *err) must_check;

#endif
