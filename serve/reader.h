/* READING: rows of tables, from the serving version or a named one, each request from exactly one
 * version.
 *
 * Serving reads: take the pointer, open the version, begin a snapshot, then look at the pointer
 * again. When the epoch moved, the snapshot may be newer than the cut of the swap: it is dropped
 * and the read starts over. So no read mixes versions and none goes back.
 *
 *     reader_open -> reader_get, reader_scan, reader_dead, reader_version_digest...
 *                 -> reader_close
 *
 * Thread-safe. Plans and environments are opened once and kept; versions that no longer exist are
 * closed.
 */
#ifndef KAPPA_SERVE_READER_H
#define KAPPA_SERVE_READER_H

#include "base/err.h"
#include "base/json.h"
#include "processor/plan.h"

struct reader;

/* Instead of a version's number: the candidate, which is the newest version that is on its way to serve
 * (replaying, catching_up, ready, or paused there). In names, and where a number is read as text:
 * "candidate". NOT_FOUND when there is none. */
#define READER_CANDIDATE      UINT32_MAX
#define READER_CANDIDATE_WORD "candidate"

/* "3" or "candidate"; false: neither. */
bool reader_version_parse(const char *text, size_t len, uint32_t *version);

/* Where an answer comes from. */
#define READER_SINCE_LEN 40

struct reader_stamp {
    char processor[129];
    uint32_t version;
    uint64_t epoch; /* of the processor when read; also for named versions */
    json_t *cut;    /* {"topic": [next offset per partition]}; the caller's reference */
    char since[READER_SINCE_LEN]; /* as in struct reader_row_text */
};

/* Into an object beside the stamp's other members, where the version is not complete: "complete_since", a
 * time, or null when that is not known. */
void reader_stamp_since(const char *since, json_t *object);

/* A row and where it comes from, as text. */
struct reader_row_text {
    struct buf row; /* JSON */
    struct buf cut; /* JSON, as in a stamp */
    uint32_t version;
    uint64_t epoch;
    char since
        [READER_SINCE_LEN]; /* "" when the version is complete; since when it is, or "unknown" */
};

/* Reads DATA/catalog and DATA/versions directly. NOT_FOUND when there is no catalog. */
int reader_open(const char *data_dir, struct reader **out, struct err *err) must_check;
void reader_close(struct reader *reader);
/* Closes versions whose files are gone (dropped) or that nobody read for ten minutes. Reads do it
 * now and then by themselves; a server that may stand idle calls it too. */
void reader_sweep(struct reader *reader);

/* {"table","version","epoch","cut","row":{column: value}}: a new reference.
 *     table     or "table@3", "table@candidate" with version 0, here as in all that takes a table
 *     version   0: the serving one; a named one is read in whatever state it is, as long as its
 *               files exist
 *     keys      one text per group column without the window columns (append views: partition,
 *               offset)
 *     at_us     the window that holds that time, or KAPPA_NO_TIME: the key's newest window; INVALID
 *               on tables without windows
 * NOT_FOUND: no such table, version or row (the text says which). REFUSED: it is a view (query_view_get), or
 * a value is in an error state. */
int reader_get(struct reader *reader, const char *table, uint32_t version, const char *const *keys,
               uint32_t key_count, int64_t at_us, json_t **out, struct err *err) must_check;
/* The same as text, in a row that is zero before. */
int reader_get_text(struct reader *reader, const char *table, uint32_t version,
                    const char *const *keys, uint32_t key_count, int64_t at_us,
                    struct reader_row_text *row, struct err *err) must_check;
/* Also after a failure. */
void reader_row_text_free(struct reader_row_text *row);

/* What this reader has counted of a canary: {"same","different","missing","added","failed"}, a new
 * reference, or NULL. */
void reader_canary_report(struct reader *reader, const char *processor, uint32_t version,
                          json_t **out);

/* Rows in key order at one snapshot. row is called with the output columns; it returns false to
 * stop. limit < 0: all. stamp may be NULL. */
int reader_scan(struct reader *reader, const char *table, uint32_t version, int64_t limit,
                bool (*row)(void *ctx, const struct plan_view *view,
                            const struct kappa_value *values),
                void *ctx, struct reader_stamp *stamp, struct err *err) must_check;

/* One output row as a JSON object: timestamptz as RFC 3339, doubles shortest, NaN and infinities as
 * text, bigint as an integer. A new reference. */
json_t *reader_row_json(const struct plan_view *view, const struct kappa_value *values);

/* One value of it. A new reference. */
json_t *reader_value_json(const struct kappa_value *value);

/* The same two as text, appended. */
void reader_row_write(struct buf *out, const struct plan_view *view,
                      const struct kappa_value *values);
void reader_value_write(struct buf *out, const struct kappa_value *value);

/* The version that a table is read from: its object in the catalog, with which plan_compile_object
 * compiles it; and which of the plan's views the table is. A new reference. Errors as of reader_get. */
int reader_table_object(struct reader *reader, const char *table, uint32_t version, json_t **object,
                        uint32_t *view, struct err *err) must_check;

/* Dead records of a version (0: the serving one): array of
 * {"topic","partition","offset","table"|null,"reason","value","base64"?}, at most limit, by topic,
 * partition, offset. "value" is text; bytes that are not UTF-8 come as base64:true. */
int reader_dead(struct reader *reader, const char *processor, uint32_t version, int64_t limit,
                json_t **out, struct err *err) must_check;

/* Records that came too late for a table, as the same array; those of inputs with late='late'. */
int reader_late(struct reader *reader, const char *processor, uint32_t version, int64_t limit,
                json_t **out, struct err *err) must_check;

/* Messages for topics that a version (0: the serving one; or READER_CANDIDATE) made and that are not
 * sent: array of {"topic","partition","offset","seq","to","time","key","value"}, at most limit, by the
 * record that caused them. "value" is the JSON that the message holds, else text. */
int reader_outbox(struct reader *reader, const char *processor, uint32_t version, int64_t limit,
                  json_t **out, struct err *err) must_check;

/* Cut and digests of a version as committed:
 * {"cut":{topic:[..]},"sources":[{"topic","partition","next", "digest"}],"tables":{name:
 * digest},"digest"}. */
int reader_version_digest(struct reader *reader, const char *processor, uint32_t version,
                          json_t **out, struct err *err) must_check;

#endif
