/* Handlers of topics: straight on the log. Own header: routes_private.h. */
#include "serve/routes_private.h"

#include "base/clock.h"
#include "base/limits.h"
#include "log/archive_report.h"
#include "log/archive_topic.h"
#include "serve/topics.h"

#include <string.h>

#define SEGMENT_TOPIC    2 /* of /v1/topics/TOPIC/records */
#define READ_WAIT_MS     100
#define READ_TIME_US_MAX 5000000 /* a broker that does not answer must not keep the thread */
#define PARTITION_MAX    INT32_MAX

static int log_needed(const struct route_context *context, struct err *err)
{
    return context->log != NULL ? 0 : err_set(err, KE_CLOSED, "this server has no log");
}

int route_topic_list(const struct route_context *context, const struct route_request *request,
                     struct route_answer *answer, struct err *err)
{
    (void)request;
    json_t *topics = NULL;
    int rc = log_needed(context, err);
    if (rc == 0) {
        rc = context->log->ops->topic_list(context->log, &topics, err);
    }
    if (rc < 0) {
        return rc;
    }
    json_t *body = json_pack("{s:o}", "topics", topics);
    route_answer_json(answer, body);
    json_decref(body);
    return 0;
}

int route_archive(const struct route_context *context, const struct route_request *request,
                  struct route_answer *answer, struct err *err)
{
    (void)request;
    json_t *topics = json_array();
    json_t *names = NULL;
    int rc = context->archive == NULL ? 0 : archive_topic_list(context->archive, &names, err);
    size_t i;
    const json_t *name;
    json_array_foreach (names, i, name) {
        json_t *topic = NULL;
        rc = rc == 0 ? archive_report(context->archive, json_string_value(name), &topic, err) : rc;
        if (topic != NULL) {
            int added = json_array_append_new(topics, topic);
            ASSERT(added == 0);
        }
    }
    json_decref(names);
    json_t *body = json_pack("{s:o}", "topics", topics);
    if (rc == 0) {
        route_answer_json(answer, body);
    }
    json_decref(body);
    return rc;
}

static int topic_options_read(const json_t *body, const char **name,
                              struct log_topic_options *options, struct err *err)
{
    *name = json_text(body, "name", NULL);
    int64_t partitions = 1;
    *options = (struct log_topic_options){.retain_ms = -1, .retain_bytes = -1};
    if (*name == NULL) {
        return err_set(err, KE_INVALID, "a topic needs a \"name\"");
    }
    int rc = json_only(body, "name,partitions,retain_ms,retain_bytes,segment_bytes", err);
    if (rc == 0) {
        rc = route_body_int(body, "partitions", 1, UINT32_MAX, &partitions, err);
    }
    if (rc == 0) {
        rc = route_body_int(body, "retain_ms", -1, INT64_MAX, &options->retain_ms, err);
    }
    if (rc == 0) {
        rc = route_body_int(body, "retain_bytes", -1, INT64_MAX, &options->retain_bytes, err);
    }
    if (rc == 0) {
        rc = route_body_int(body, "segment_bytes", 0, INT64_MAX, &options->segment_bytes, err);
    }
    options->partitions = (uint32_t)partitions;
    return rc;
}

int route_topic_create(const struct route_context *context, const struct route_request *request,
                       struct route_answer *answer, struct err *err)
{
    json_t *body = NULL;
    const char *name;
    struct log_topic_options options;
    int rc = log_needed(context, err);
    if (rc == 0) {
        rc = route_body_object(request, &body, err);
    }
    if (rc == 0) {
        rc = topic_options_read(body, &name, &options, err);
    }
    if (rc == 0) {
        rc = context->log->ops->topic_create(context->log, name, &options, err);
    }
    if (rc == 0) {
        json_t *made =
            json_pack("{s:s,s:I}", "name", name, "partitions", (json_int_t)options.partitions);
        route_answer_json(answer, made);
        json_decref(made);
    }
    json_decref(body);
    return rc;
}

int route_topic_produce(const struct route_context *context, const struct route_request *request,
                        struct route_answer *answer, struct err *err)
{
    int64_t partition = -1;
    struct topic_sink sink;
    int rc = log_needed(context, err);
    if (rc == 0) {
        rc = route_query_int(request, "partition", 0, PARTITION_MAX, -1, &partition, err);
    }
    if (rc == 0) {
        rc = topic_sink_open(context->log, request->segments[SEGMENT_TOPIC],
                             route_query(request, "key"), route_query(request, "time"),
                             (int32_t)partition, &sink, err);
    }
    if (rc < 0) {
        return rc;
    }
    size_t used;
    sink.envelope = route_query(request, "envelope") != NULL;
    rc = topic_sink_block(&sink, (const char *)request->body, request->body_len, true, &used, err);
    struct err flush_err = {0};
    int flushed = topic_sink_flush(&sink, true, &flush_err);
    uint64_t records = sink.records;
    if (rc == 0 && flushed < 0) {
        *err = flush_err;
        rc = flushed;
    }
    if (flushed < 0) {
        err_hint(err, "of the %llu lines some may have been produced, by partition",
                 (unsigned long long)records);
    } else if (rc < 0) {
        err_hint(err, "the %llu lines before it were produced", (unsigned long long)records);
    } else {
        json_t *body = json_pack("{s:I}", "records", (json_int_t)records);
        route_answer_json(answer, body);
        json_decref(body);
    }
    topic_sink_close(&sink);
    return rc;
}

/* Adds records until the limit, the end, the size or the time is reached. */
static int read_into(const struct route_context *context, struct topic_cursor *cursor,
                     const char *topic, int64_t limit, struct route_answer *answer, struct err *err)
{
    int64_t until_us = clock_mono_us(clock_real()) + READ_TIME_US_MAX;
    int64_t left = limit;
    while (left > 0 && !topic_cursor_done(cursor) &&
           answer->body.len + answer->spilled < ROUTE_RECORDS_BYTES_MAX &&
           !__atomic_load_n(context->stop, __ATOMIC_RELAXED) &&
           clock_mono_us(clock_real()) < until_us) {
        struct log_batch batch;
        int rc = topic_cursor_next(
            cursor, READ_WAIT_MS, left < LIMIT_BATCH_RECORDS ? (uint32_t)left : LIMIT_BATCH_RECORDS,
            &batch, err);
        if (rc < 0) {
            return rc;
        }
        for (uint32_t i = 0; !batch.none && i < batch.count; i++) {
            topic_record_json(topic, batch.source, &batch.records[i], &answer->body);
            left--;
        }
        rc = route_answer_spill(answer, err);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int route_topic_read(const struct route_context *context, const struct route_request *request,
                     struct route_answer *answer, struct err *err)
{
    int64_t limit = 0;
    int64_t partition = -1;
    struct topic_cursor cursor;
    const char *topic = request->segments[SEGMENT_TOPIC];
    const char *from = route_query(request, "from");
    const char *until = route_query(request, "until");
    int rc = log_needed(context, err);
    if (rc == 0) {
        rc = route_query_int(request, "limit", 0, ROUTE_RECORDS_MAX, ROUTE_RECORDS_DEFAULT, &limit,
                             err);
    }
    if (rc == 0) {
        rc = route_query_int(request, "partition", 0, PARTITION_MAX, -1, &partition, err);
    }
    if (rc == 0) {
        const struct topic_span span = {.from = from == NULL ? "beginning" : from,
                                        .until = until,
                                        .partition = partition,
                                        .now_ms = clock_wall_ms(clock_real())};
        rc = topic_cursor_open(context->log, topic, &span, &cursor, err);
    }
    if (rc < 0) {
        return rc;
    }
    rc = read_into(context, &cursor, topic, limit, answer, err);
    if (rc == 0) {
        struct buf position = {0};
        topic_cursor_position(&cursor, &position);
        answer->type = "application/x-ndjson";
        route_answer_header(answer, "X-Kappa-Next", buf_text(&position));
        route_answer_header(answer, "X-Kappa-At-End", topic_cursor_done(&cursor) ? "yes" : "no");
        if (until != NULL) {
            buf_reset(&position);
            topic_cursor_until(&cursor, &position);
            route_answer_header(answer, "X-Kappa-Until", buf_text(&position));
        }
        buf_free(&position);
    }
    topic_cursor_close(&cursor);
    return rc;
}
