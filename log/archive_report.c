/* Own header: archive_report.h. */
#include "log/archive_report.h"

#include "log/archive_topic.h"

static int partition_object(const char *dir, const char *topic, uint32_t partition, json_t **out,
                            struct err *err)
{
    struct archive_view view;
    int64_t from = -1;
    int64_t to = -1;
    int64_t records = 0;
    int64_t bytes = 0;
    int64_t raw = 0;
    int rc = archive_view_load(dir, topic, partition, &view, err);
    if (rc != 0) {
        return rc;
    }
    json_t *gaps = json_array();
    for (uint32_t i = 0; i < view.count; i++) {
        int64_t low = -1;
        int64_t high = -1;
        bool lost = false;
        records += view.spans[i].records;
        bytes += view.spans[i].size;
        raw += view.spans[i].raw_bytes;
        if (archive_view_gap(&view, i, &low, &high, &lost)) {
            (void)json_array_append_new(gaps, json_pack("{s:I,s:I,s:b}", "from", (json_int_t)low,
                                                        "to", (json_int_t)high, "lost", (int)lost));
        }
    }
    if (!archive_view_tail(&view, &from, &to)) {
        from = view.first;
        to = view.first;
    }
    *out = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "partition", (json_int_t)partition,
                     "from", (json_int_t)from, "to", (json_int_t)to, "records", (json_int_t)records,
                     "bytes", (json_int_t)bytes, "raw_bytes", (json_int_t)raw, "segments",
                     (json_int_t)view.count, "damaged", (json_int_t)view.damaged, "gaps", gaps);
    archive_view_free(&view);
    return 0;
}

int archive_report(const char *dir, const char *topic, json_t **out, struct err *err)
{
    struct archive_topic settings;
    json_t *partitions = json_array();
    int rc = archive_topic_load(dir, topic, &settings, err);
    for (uint32_t i = 0; rc == 0 && i < settings.partitions; i++) {
        json_t *partition = NULL;
        rc = partition_object(dir, topic, i, &partition, err);
        if (rc == 0) {
            (void)json_array_append_new(partitions, partition);
        }
    }
    if (rc != 0) {
        json_decref(partitions);
        return rc;
    }
    json_t *state = archive_topic_state(dir, topic);
    json_t *error = json_object_get(state, "error");
    *out = json_pack("{s:s,s:s,s:I,s:I,s:O,s:o}", "name", topic, "archive",
                     settings.on ? "on" : "off", "retain_ms", (json_int_t)settings.retain.ms,
                     "retain_bytes", (json_int_t)settings.retain.bytes, "error",
                     settings.on && error != NULL ? error : json_null(), "partitions", partitions);
    json_decref(state);
    return 0;
}
