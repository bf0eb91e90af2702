/* The outbox of a version as JSON: what it has made for topics and is not sent. Own header: reader.h. */
#include "serve/reader.h"

#include "base/timefmt.h"
#include "include/kappa/message.h"
#include "serve/reader_inner.h"
#include "table/outbox.h"

#include <stdlib.h>
#include <string.h>

struct listing {
    const struct reader_version *version;
    int64_t limit;
    json_t *out;
};

/* Text, or what the text says if it is JSON; other bytes as they come out of UTF-8. */
static json_t *bytes_json(const uint8_t *bytes, uint32_t len, bool parse)
{
    if (len == KAPPA_NULL_LEN) {
        return json_null();
    }
    json_t *value = parse ? json_parse_exact((const char *)bytes, len, NULL) : NULL;
    return value != NULL ? value : json_text_lossy(bytes, len);
}

static bool list_row(void *ctx, const struct outbox_row *row)
{
    struct listing *listing = ctx;
    struct kappa_record record;
    if ((int64_t)json_array_size(listing->out) >= listing->limit) {
        return false;
    }
    const struct reader_version *version = listing->version;
    if (row->output >= version->plan->topic_count ||
        !kappa_message_read(row->message, row->len, &record)) {
        return true;
    }
    const struct reader_source *of = &version->sources[row->source];
    char time[TIME_TEXT_LEN] = "";
    if (record.time_ms != KAPPA_NO_TIME) {
        time_format(record.time_ms * 1000, time);
    }
    json_t *item =
        json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:o, s:o}", "topic", of->topic, "partition",
                  (json_int_t)of->partition, "offset", (json_int_t)row->offset, "seq",
                  (json_int_t)row->seq, "to", version->plan->topics[row->output].topic, "time",
                  time, "key", bytes_json(record.key, record.key_len, false), "value",
                  bytes_json(record.value, record.value_len, true));
    ASSERT(item != NULL);
    ASSERT(json_array_append_new(listing->out, item) == 0);
    return true;
}

static int list(struct listing *listing, struct outbox *outbox, struct err *err)
{
    int rc = outbox_begin(outbox, err);
    if (rc != 0) {
        return rc;
    }
    for (uint32_t source = 0; source < listing->version->source_count && rc == 0; source++) {
        rc = outbox_each(outbox, source, INT64_MIN, list_row, listing, err);
    }
    outbox_end(outbox);
    return rc;
}

int reader_outbox(struct reader *reader, const char *processor, uint32_t version, int64_t limit,
                  json_t **out, struct err *err)
{
    MAGIC_ASSERT(reader, READER_MAGIC);
    struct reader_version *taken = NULL;
    struct outbox *outbox = NULL;
    uint32_t number = 0;
    int rc = reader_number_of(reader, processor, version, &number, err);
    if (rc == 0) {
        rc = reader_version_take(reader, processor, number, &taken, err);
    }
    if (rc != 0) {
        return rc;
    }
    struct listing listing = {.version = taken, .limit = limit, .out = json_array()};
    char *dir = xasprintf("%s/versions/%s/%u", reader->data_dir, processor, number);
    rc = outbox_open(dir, (uint32_t)json_int(taken->object, "shards", 1), &outbox, err);
    free(dir);
    if (rc == 0) {
        rc = list(&listing, outbox, err);
        outbox_close(outbox);
    }
    reader_version_give(reader, taken);
    if (rc != 0) {
        json_decref(listing.out);
        return rc;
    }
    *out = listing.out;
    return 0;
}
