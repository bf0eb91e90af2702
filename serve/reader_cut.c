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

json_t *reader_cut(const struct reader_version *version, struct view_snapshot *snapshot)
{
    json_t *cut = json_object();
    for (uint32_t source = 0; source < version->source_count; source++) {
        const struct reader_source *of = &version->sources[source];
        int64_t next = reader_source_next(version, snapshot, source);
        json_t *offsets = json_object_get(cut, of->topic);
        if (offsets == NULL) {
            offsets = json_array();
            ASSERT(json_object_set_new(cut, of->topic, offsets) == 0);
        }
        /* Two inputs may read one topic: its cut is what both have applied. */
        if (of->partition < json_array_size(offsets)) {
            int64_t other = (int64_t)json_integer_value(json_array_get(offsets, of->partition));
            ASSERT(json_array_set_new(offsets, of->partition, json_integer(i64_min(other, next))) ==
                   0);
        } else {
            ASSERT(json_array_append_new(offsets, json_integer(next)) == 0);
        }
    }
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

void reader_stamp_of(const struct reader_read *reading, struct reader_stamp *out)
{
    *out = (struct reader_stamp){
        .version = reading->version->number,
        .epoch = reading->epoch,
        .cut = reader_cut(reading->version, reading->snapshot),
    };
    memcpy(out->processor, reading->version->processor, sizeof out->processor);
}
