/* How far a version is as of a snapshot, and its epoch. Own header: reader_inner.h. */
#include "serve/reader_inner.h"

#include <string.h>

int64_t reader_source_next(const struct reader_version *version, struct view_snapshot *snapshot,
                           uint32_t source)
{
    struct store_source found;
    ASSERT_CMP(source, <, version->source_count);
    return view_source(snapshot, source, &found) ? found.state.next_offset
                                                 : version->sources[source].start;
}

/* Where a partition of an input's topic stands. Two inputs may read one topic: its cut is what both
 * have applied. */
static int64_t topic_next(const struct reader_version *version, struct view_snapshot *snapshot,
                          uint32_t input, uint32_t partition)
{
    const char *topic = version->sources[version->input_first[input]].topic;
    int64_t next = INT64_MAX;
    for (uint32_t i = input; i < version->plan->input_count; i++) {
        uint32_t source = version->input_first[i] + partition;
        if (source < version->input_first[i + 1] &&
            strcmp(version->sources[source].topic, topic) == 0) {
            next = i64_min(next, reader_source_next(version, snapshot, source));
        }
    }
    return next;
}

/* An input before this one reads its topic. */
static bool topic_is_known(const struct reader_version *version, uint32_t input)
{
    const char *topic = version->sources[version->input_first[input]].topic;
    for (uint32_t i = 0; i < input; i++) {
        uint32_t first = version->input_first[i];
        if (first < version->input_first[i + 1] &&
            strcmp(version->sources[first].topic, topic) == 0) {
            return true;
        }
    }
    return false;
}

static void cut_make(struct buf *out, const struct reader_version *version,
                     struct view_snapshot *snapshot)
{
    char before = '{';
    for (uint32_t i = 0; i < version->plan->input_count; i++) {
        uint32_t partitions = version->input_first[i + 1] - version->input_first[i];
        if (partitions == 0 || topic_is_known(version, i)) {
            continue;
        }
        const char *topic = version->sources[version->input_first[i]].topic;
        buf_append_u8(out, (uint8_t)before);
        json_write_text(out, topic, strlen(topic));
        buf_append_u8(out, ':');
        for (uint32_t p = 0; p < partitions; p++) {
            buf_append_u8(out, p == 0 ? '[' : ',');
            json_write_int(out, topic_next(version, snapshot, i, p));
        }
        buf_append_u8(out, ']');
        before = ',';
    }
    buf_append_text(out, before == '{' ? "{}" : "}");
}

void reader_cut_write(struct buf *out, struct reader_version *version,
                      struct view_snapshot *snapshot)
{
    struct reader_cut_text *known = &version->cut;
    uint64_t commits[LIMIT_SHARDS];
    size_t size = view_snapshot_commits(snapshot, commits) * sizeof commits[0];
    size_t begin = out->len;
    (void)pthread_mutex_lock(&known->lock);
    bool same = known->text.len > 0 && memcmp(known->commits, commits, size) == 0;
    if (same) {
        buf_append(out, known->text.data, known->text.len);
    }
    (void)pthread_mutex_unlock(&known->lock);
    if (same) {
        return;
    }
    cut_make(out, version, snapshot);
    (void)pthread_mutex_lock(&known->lock);
    buf_reset(&known->text);
    buf_append(&known->text, out->data + begin, out->len - begin);
    memcpy(known->commits, commits, size);
    (void)pthread_mutex_unlock(&known->lock);
}

json_t *reader_cut(struct reader_version *version, struct view_snapshot *snapshot)
{
    struct buf text = {0};
    struct err none;
    reader_cut_write(&text, version, snapshot);
    json_t *cut = json_parse(buf_text(&text), text.len, &none);
    ASSERT(cut != NULL);
    buf_free(&text);
    return cut;
}

uint64_t reader_epoch(struct reader *reader, const char *processor)
{
    char key[CATALOG_KEY_LEN];
    json_t *object = NULL;
    catalog_key_processor(key, processor);
    if (catalog_get(reader->catalog, key, &object, NULL) != 0) {
        return 0;
    }
    int64_t epoch = json_int(object, "epoch", 0);
    json_decref(object);
    return epoch > 0 ? (uint64_t)epoch : 0;
}

void reader_stamp_since(const char *since, json_t *object)
{
    if (since[0] != '\0') {
        bool known = strcmp(since, "unknown") != 0;
        int rc =
            json_object_set_new(object, "complete_since", known ? json_string(since) : json_null());
        ASSERT(rc == 0);
    }
}

void reader_stamp_of(const struct reader_read *reading, struct reader_stamp *out)
{
    *out = (struct reader_stamp){
        .version = reading->version->number,
        .epoch = reading->epoch,
        .cut = reader_cut(reading->version, reading->snapshot),
    };
    memcpy(out->processor, reading->version->processor, sizeof out->processor);
    memcpy(out->since, reading->version->since, sizeof out->since);
}
