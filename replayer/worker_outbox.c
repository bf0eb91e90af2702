/* The object "outbox" parsed and checked. Own header: worker_outbox.h. */
#include "replayer/worker_outbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

#define SPANS_MAX 64

static int bad(struct err *err, const char *what)
{
    return err_set(err, KE_INVALID, "\"outbox\": %s", what);
}

static uint32_t count_sources(const json_t *inputs)
{
    int64_t count = 0;
    size_t i;
    json_t *input;
    json_array_foreach (inputs, i, input) {
        int64_t partitions = json_int(input, "partitions", 0);
        if (partitions < 1 || partitions > LIMIT_SOURCES ||
            json_text(input, "topic", NULL) == NULL) {
            return 0;
        }
        count += partitions;
    }
    return count <= LIMIT_SOURCES ? (uint32_t)count : 0;
}

static void fill_sources(const json_t *object, struct sender_source *sources)
{
    const json_t *from = json_object_get(object, "from");
    const json_t *to = json_object_get(object, "to");
    uint32_t source = 0;
    size_t i;
    json_t *input;
    json_array_foreach (json_object_get(object, "inputs"), i, input) {
        for (int64_t p = 0; p < json_int(input, "partitions", 0); p++, source++) {
            sources[source] = (struct sender_source){
                .topic = json_text(input, "topic", ""),
                .identity = (uint64_t)json_int(input, "identity", 0),
                .partition = (uint32_t)p,
                .from = json_integer_value(json_array_get(from, source)),
                .to =
                    json_is_array(to) ? json_integer_value(json_array_get(to, source)) : INT64_MAX,
            };
        }
    }
}

static int take_span(const json_t *object, struct sender_span *span, struct err *err)
{
    int64_t shards = json_int(object, "shards", 0);
    const json_t *topics = json_object_get(object, "topics");
    const json_t *to = json_object_get(object, "to");
    span->dir = json_text(object, "dir", NULL);
    span->shards = (uint32_t)shards;
    span->source_count = count_sources(json_object_get(object, "inputs"));
    span->topic_count = u32_from(json_array_size(topics));
    if (span->dir == NULL || shards < 1 || shards > LIMIT_SHARDS || span->source_count == 0 ||
        json_array_size(json_object_get(object, "from")) != span->source_count ||
        (json_is_array(to) && json_array_size(to) != span->source_count)) {
        return bad(err, "a span is not whole");
    }
    struct sender_source *sources = xcalloc(span->source_count, sizeof *sources);
    fill_sources(object, sources);
    span->sources = sources;
    const char **names = xcalloc(span->topic_count + 1, sizeof *names);
    span->topics = names;
    for (uint32_t i = 0; i < span->topic_count; i++) {
        names[i] = json_string_value(json_array_get(topics, i));
        if (names[i] == NULL) {
            return bad(err, "a topic has no name");
        }
    }
    return 0;
}

int worker_outbox_parse(const json_t *object, struct worker_outbox *out, struct err *err)
{
    const json_t *spans = json_object_get(object, "spans");
    size_t count = json_array_size(spans);
    *out = (struct worker_outbox){.name = json_text(object, "name", NULL),
                                  .dir = json_text(object, "dir", NULL)};
    if (out->name == NULL || out->dir == NULL || count == 0 || count > SPANS_MAX) {
        return bad(err, "needs \"name\", \"dir\" and \"spans\"");
    }
    out->message = json_incref((json_t *)(uintptr_t)object);
    out->spans = xcalloc(count, sizeof *out->spans);
    out->epochs = xcalloc(count, sizeof *out->epochs);
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        out->span_count++;
        out->epochs[i] = (uint64_t)json_int(json_array_get(spans, i), "epoch", 0);
        rc = take_span(json_array_get(spans, i), &out->spans[i], err);
    }
    if (rc != 0) {
        worker_outbox_free(out);
    }
    return rc;
}

void worker_outbox_free(struct worker_outbox *outbox)
{
    for (uint32_t i = 0; i < outbox->span_count; i++) {
        free((void *)(uintptr_t)outbox->spans[i].sources);
        free((void *)(uintptr_t)outbox->spans[i].topics);
    }
    free(outbox->spans);
    free(outbox->epochs);
    json_decref(outbox->message);
    *outbox = (struct worker_outbox){.message = NULL};
}
