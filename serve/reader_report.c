/* What a version's commits say: digests, dead and late records. Own headers: reader.h, reader_inner.h. */
#include "serve/reader_inner.h"

#include <string.h>

/* ---- digests */

static json_t *digest_json(struct digest digest)
{
    char text[DIGEST_TEXT_LEN + 1];
    digest_format(digest, text);
    return json_string(text);
}

static json_t *version_digest(struct reader_version *version, struct view_snapshot *snapshot)
{
    const struct plan *plan = version->plan;
    struct digest tables[STORE_DIGESTS] = {{0, 0}};
    struct digest all = {0, 0};
    json_t *sources = json_array();
    for (uint32_t source = 0; source < version->source_count; source++) {
        const struct reader_source *of = &version->sources[source];
        struct store_source found;
        (void)view_source(snapshot, source, &found); /* zeros when never committed */
        for (uint32_t i = 0; i < plan->table_count + plan->topic_count; i++) {
            digest_add(&tables[i], found.digests[i]);
        }
        struct digest sum = store_digest_sum(&found, plan->table_count + plan->topic_count);
        digest_add(&all, sum);
        json_t *item = json_pack("{s:s, s:I, s:I, s:o}", "topic", of->topic, "partition",
                                 (json_int_t)of->partition, "next",
                                 (json_int_t)reader_source_next(version, snapshot, source),
                                 "digest", digest_json(sum));
        ASSERT(item != NULL);
        ASSERT(json_array_append_new(sources, item) == 0);
    }
    json_t *by_table = json_object();
    for (uint32_t i = 0; i < plan->view_count; i++) {
        ASSERT(json_object_set_new(by_table, plan->views[i].shape.name, digest_json(tables[i])) ==
               0);
    }
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        ASSERT(json_object_set_new(by_table, plan->topics[i].name,
                                   digest_json(tables[plan->table_count + i])) == 0);
    }
    json_t *answer = json_pack("{s:o, s:o, s:o, s:o}", "cut", reader_cut(version, snapshot),
                               "sources", sources, "tables", by_table, "digest", digest_json(all));
    ASSERT(answer != NULL);
    return answer;
}

int reader_table_object(struct reader *reader, const char *table, uint32_t version, json_t **object,
                        uint32_t *view, struct err *err)
{
    struct reader_read reading;
    int rc = reader_begin(reader, table, version, &reading, err);
    if (rc == 0) {
        *object = json_incref(reading.version->object);
        *view = reading.table;
        reader_end(reader, &reading);
    }
    return rc;
}

/* ---- dead and late records */

struct dead_list {
    const struct reader_version *version;
    int64_t limit; /* < 0: none */
    json_t *out;
};

static json_t *base64(const uint8_t *bytes, size_t len)
{
    struct buf text = {0};
    buf_append_base64(&text, bytes, len);
    json_t *value = json_stringn(buf_text(&text), text.len);
    ASSERT(value != NULL);
    buf_free(&text);
    return value;
}

/* The record's bytes: text, null, or (*encoded) base64. */
static json_t *dead_value(const struct view_dead *dead, bool *encoded)
{
    *encoded = false;
    if (dead->bytes_len == KAPPA_NULL_LEN) {
        return json_null();
    }
    json_t *text = json_stringn((const char *)dead->bytes, dead->bytes_len);
    if (text != NULL) {
        return text;
    }
    *encoded = true; /* not UTF-8 */
    return base64(dead->bytes, dead->bytes_len);
}

static bool dead_add(void *ctx, const struct view_dead *dead)
{
    struct dead_list *list = ctx;
    if (list->limit >= 0 && (int64_t)json_array_size(list->out) >= list->limit) {
        return false;
    }
    const struct reader_source *of = &list->version->sources[dead->source];
    const struct plan *plan = list->version->plan;
    bool encoded = false;
    json_t *value = dead_value(dead, &encoded);
    json_t *item =
        json_pack("{s:s, s:I, s:I, s:s?, s:o, s:o}", "topic", of->topic, "partition",
                  (json_int_t)of->partition, "offset", (json_int_t)dead->offset, "table",
                  dead->view < 2 * plan->pipeline_count
                      ? plan->views[dead->view % plan->pipeline_count].shape.name
                      : NULL,
                  "reason", json_text_lossy(dead->reason, dead->reason_len), "value", value);
    ASSERT(item != NULL);
    if (encoded) {
        ASSERT(json_object_set_new(item, "base64", json_true()) == 0);
    }
    ASSERT(json_array_append_new(list->out, item) == 0);
    return true;
}

static int dead_list(const struct reader_version *version, struct view_snapshot *snapshot,
                     enum view_kept what, int64_t limit, json_t **out, struct err *err)
{
    struct dead_list list = {.version = version, .limit = limit, .out = json_array()};
    int rc = view_dead_each(snapshot, what, version->source_count, dead_add, &list, err);
    if (rc < 0) {
        json_decref(list.out);
        return rc;
    }
    *out = list.out;
    return 0;
}

/* ---- */

struct report {
    struct reader_version *version;
    struct view_snapshot *snapshot;
};

static int report_begin(struct reader *reader, const char *processor, uint32_t number,
                        struct report *report, struct err *err)
{
    MAGIC_ASSERT(reader, READER_MAGIC);
    int rc = reader_version_take(reader, processor, number, &report->version, err);
    if (rc != 0) {
        return rc;
    }
    rc = view_snapshot_begin(report->version->view, &report->snapshot, err);
    if (rc != 0) {
        reader_version_give(reader, report->version);
    }
    return rc;
}

static void report_end(struct reader *reader, struct report *report)
{
    view_snapshot_end(report->snapshot);
    reader_version_give(reader, report->version);
}

int reader_version_digest(struct reader *reader, const char *processor, uint32_t version,
                          json_t **out, struct err *err)
{
    struct report report;
    int rc = report_begin(reader, processor, version, &report, err);
    if (rc != 0) {
        return rc;
    }
    *out = version_digest(report.version, report.snapshot);
    report_end(reader, &report);
    return 0;
}

static int kept(struct reader *reader, const char *processor, uint32_t version, enum view_kept what,
                int64_t limit, json_t **out, struct err *err)
{
    struct report report;
    uint32_t number = 0;
    int rc = reader_number_of(reader, processor, version, &number, err);
    rc = rc != 0 ? rc : report_begin(reader, processor, number, &report, err);
    if (rc != 0) {
        return rc;
    }
    rc = dead_list(report.version, report.snapshot, what, limit, out, err);
    report_end(reader, &report);
    return rc;
}

int reader_dead(struct reader *reader, const char *processor, uint32_t version, int64_t limit,
                json_t **out, struct err *err)
{
    return kept(reader, processor, version, VIEW_DEAD, limit, out, err);
}

int reader_late(struct reader *reader, const char *processor, uint32_t version, int64_t limit,
                json_t **out, struct err *err)
{
    return kept(reader, processor, version, VIEW_LATE, limit, out, err);
}
