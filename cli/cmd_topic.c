/* kappa topic create, kappa topic list. */
#include "base/timefmt.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "log/log.h"

#include <inttypes.h>
#include <stdio.h>

static int create_run(struct cli *cli, struct err *err);
static int list_run(struct cli *cli, struct err *err);

static const struct cmd_option create_options[] = {
    {"partitions", '\0', "N", "number of partitions (default 1)"},
    {"retain", '\0', "TIME", "keep records so long, by record time (default: for ever)"},
    {"retain-bytes", '\0', "N", "keep so many bytes of each partition (default: no bound)"},
    {"segment-bytes", '\0', "N", "embedded log: size of a segment file (default 64 MiB)"},
    PLACE_KAFKA_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

static const struct cmd_option list_options[] = {
    PLACE_KAFKA_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_topic_create = {
    .name = "topic create",
    .args = "NAME",
    .args_min = 1,
    .args_max = 1,
    .summary = "make a topic",
    .help = "In the embedded log, or in Kafka when the platform runs on one or --kafka is given. "
            "Works without\n"
            "a server.",
    .examples = "kappa topic create user-events --partitions 4\n",
    .options = create_options,
    .run = create_run,
};

const struct cmd_entry cmd_topic_list = {
    .name = "topic list",
    .args = "",
    .summary = "list the topics",
    .help = "Names and numbers of partitions.",
    .examples = "kappa topic list\nkappa topic list --kafka localhost:9092 -o json\n",
    .options = list_options,
    .run = list_run,
};

static int options_read(const struct cli *cli, struct log_topic_options *out, struct err *err)
{
    int64_t partitions = 1;
    int64_t retain_us = -1;
    int rc = cli_option_int(cli, "partitions", 1, INT32_MAX, 1, &partitions, err);
    if (rc == 0) {
        rc = cli_option_duration(cli, "retain", -1, &retain_us, err);
    }
    if (rc == 0) {
        rc = cli_option_int(cli, "retain-bytes", 0, INT64_MAX, -1, &out->retain_bytes, err);
    }
    if (rc == 0) {
        rc = cli_option_int(cli, "segment-bytes", 1, INT64_MAX, 0, &out->segment_bytes, err);
    }
    out->partitions = (uint32_t)partitions;
    out->retain_ms = retain_us < 0 ? -1 : retain_us / 1000;
    return rc;
}

static int create_local(const struct cli *cli, const struct log_topic_options *options,
                        struct err *err)
{
    struct log *log;
    int rc = place_log_write(cli, true, &log, err);
    if (rc == 0) {
        rc = log->ops->topic_create(log, cli->args[0], options, err);
        log->ops->close(log);
    }
    return rc;
}

static int create_remote(const struct cli *cli, const struct log_topic_options *options,
                         struct err *err)
{
    json_t *answer = NULL;
    json_t *body =
        json_pack("{s:s,s:I,s:I,s:I,s:I}", "name", cli->args[0], "partitions",
                  (json_int_t)options->partitions, "retain_ms", (json_int_t)options->retain_ms,
                  "retain_bytes", (json_int_t)options->retain_bytes, "segment_bytes",
                  (json_int_t)options->segment_bytes);
    int rc = call_server(cli, "/v1/topics", body, CLIENT_WAIT_SECONDS, &answer, err);
    json_decref(body);
    if (rc == 0) {
        json_decref(answer);
    }
    return rc;
}

static int create_run(struct cli *cli, struct err *err)
{
    struct log_topic_options options;
    int rc = options_read(cli, &options, err);
    if (rc == 0) {
        rc = place_server(cli) == NULL ? create_local(cli, &options, err)
                                       : create_remote(cli, &options, err);
    }
    if (rc < 0) {
        return rc;
    }
    if (cli->json) {
        json_t *made = json_pack("{s:s,s:I}", "name", cli->args[0], "partitions",
                                 (json_int_t)options.partitions);
        rc = out_json(made, err);
        json_decref(made);
        return rc;
    }
    struct buf text = {0};
    buf_printf(&text, "topic %s made with %" PRIu32 " partition%s\n", cli->args[0],
               options.partitions, options.partitions == 1 ? "" : "s");
    rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}

static int list_local(const struct cli *cli, json_t **out, struct err *err)
{
    struct log *log;
    json_t *topics = NULL;
    int rc = place_log(cli, false, &log, err);
    if (rc < 0) {
        return rc;
    }
    rc = log->ops->topic_list(log, &topics, err);
    log->ops->close(log);
    if (rc == 0) {
        *out = json_pack("{s:o}", "topics", topics);
    }
    return rc;
}

static int list_remote(const struct cli *cli, json_t **out, struct err *err)
{
    return call_server(cli, "/v1/topics", NULL, CLIENT_WAIT_SECONDS, out, err);
}

static int list_run(struct cli *cli, struct err *err)
{
    json_t *answer = NULL;
    int rc =
        place_server(cli) == NULL ? list_local(cli, &answer, err) : list_remote(cli, &answer, err);
    if (rc < 0) {
        return rc;
    }
    json_t *topics = json_object_get(answer, "topics");
    if (cli->json) {
        rc = out_json(answer, err);
    } else if (json_array_size(topics) == 0) {
        (void)fprintf(stderr, "no topics; `kappa topic create NAME` makes one\n");
    } else {
        struct buf text = {0};
        struct out_table table;
        out_table_begin(&table, 2, 1U << 1);
        out_table_cell(&table, "TOPIC");
        out_table_cell(&table, "PARTITIONS");
        size_t i;
        const json_t *topic;
        json_array_foreach (topics, i, topic) {
            out_table_cell(&table, json_text(topic, "name", NULL));
            out_table_cellf(&table, "%" PRId64, json_int(topic, "partitions", 0));
        }
        out_table_end(&table, cli->colour, &text);
        rc = out_write(&text, err);
        buf_free(&text);
    }
    json_decref(answer);
    return rc;
}
