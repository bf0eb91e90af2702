/* kappa cat. */
#include "base/clock.h"
#include "base/limits.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "serve/json_line.h"
#include "serve/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS        200
#define AWAY_US_MAX    INT64_C(30000000) /* a log that fails for so long is given up */
#define WRITE_BYTES    (64U << 10)
#define REMOTE_RECORDS 10000 /* of one request */

static int cat_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"from", 'f', "POSITION",
     "beginning (default), end, @TIME, -N for the last N, -DURATION, or PARTITION:OFFSET,..."},
    {"until", 'u', "POSITION", "end there: the same forms, looked up once at the start"},
    {"envelope", 'J', NULL,
     "whole records as JSON objects: topic, partition, offset, time, key, value"},
    {"exit", 'e', NULL, "end at the end of the topic instead of following it"},
    {"limit", 'n', "N", "end after N records"},
    {"partition", 'p', "P", "only this partition"},
    PLACE_KAFKA_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_cat = {
    .name = "cat",
    .args = "TOPIC",
    .args_min = 1,
    .args_max = 1,
    .summary = "print the records of a topic",
    .help = "Values as lines, or whole records with -J (also -o json). Follows the topic until "
            "interrupted, unless\n"
            "-e. Within a partition records come in the order of their offsets.",
    .examples = "kappa cat user-events -e --limit 10\n"
                "kappa cat user-events -J --from @2026-01-01T00:00:00Z\n"
                "kappa cat user-events --from -5 -e\n"
                "kappa cat user-events --from -2h --until -1h\n",
    .options = options,
    .run = cat_run,
};

struct cat {
    const struct cli *cli;
    const char *from;
    const char *until; /* or NULL */
    bool envelope;
    bool exit_at_end;
    int64_t partition; /* or -1 */
    int64_t left;      /* records still wanted; INT64_MAX: all */
    struct buf out;
    bool raw; /* not a terminal: bytes as they are */
};

static int cat_write(struct cat *cat, struct err *err)
{
    int rc = cat->out.len > 0 ? out_write(&cat->out, err) : 0;
    buf_reset(&cat->out);
    return rc;
}

static void value_add(struct cat *cat, const char *value, size_t len)
{
    if (cat->raw) {
        buf_append(&cat->out, value, len);
    } else {
        out_safe(&cat->out, value, len);
    }
    buf_append_u8(&cat->out, '\n');
}

static void record_add(struct cat *cat, uint32_t partition, const struct kappa_record *record)
{
    if (cat->envelope) {
        topic_record_json(cat->cli->args[0], partition, record, &cat->out);
    } else {
        bool null = record->value_len == KAPPA_NULL_LEN || record->value_len == 0;
        value_add(cat, null ? "" : (const char *)record->value, null ? 0 : record->value_len);
    }
    cat->left--;
}

/* One batch. A log that is away for a while is waited for. */
static int step(struct cat *cat, struct topic_cursor *cursor, int64_t *good_us, struct err *err)
{
    struct log_batch batch;
    uint32_t most = cat->left < LIMIT_BATCH_RECORDS ? (uint32_t)cat->left : LIMIT_BATCH_RECORDS;
    int rc = topic_cursor_next(cursor, WAIT_MS, most, &batch, err);
    int64_t now_us = clock_mono_us(clock_real());
    if (rc == -KE_BROKER || rc == -KE_AGAIN) {
        return now_us - *good_us > AWAY_US_MAX ? rc : 0;
    }
    if (rc < 0) {
        return rc;
    }
    *good_us = now_us;
    for (uint32_t i = 0; !batch.none && i < batch.count && cat->left > 0; i++) {
        record_add(cat, batch.source, &batch.records[i]);
    }
    return batch.none || batch.at_end || cat->out.len > WRITE_BYTES ? cat_write(cat, err) : 0;
}

static int cat_direct(struct cat *cat, struct err *err)
{
    struct log *log;
    struct topic_cursor cursor;
    int rc = place_log(cat->cli, false, &log, err);
    if (rc < 0) {
        return rc;
    }
    const struct topic_span span = {.from = cat->from,
                                    .until = cat->until,
                                    .partition = cat->partition,
                                    .now_ms = clock_wall_ms(clock_real())};
    rc = topic_cursor_open(log, cat->cli->args[0], &span, &cursor, err);
    if (rc == 0) {
        int64_t good_us = clock_mono_us(clock_real());
        while (rc == 0 && cat->left > 0 && !(cat->exit_at_end && topic_cursor_done(&cursor))) {
            rc = step(cat, &cursor, &good_us, err);
        }
        int written = cat_write(cat, rc == 0 ? err : NULL);
        rc = rc == 0 ? written : rc;
        topic_cursor_close(&cursor);
    }
    log->ops->close(log);
    return rc;
}

/* An envelope from the server. */
static bool line_add(void *ctx, const char *text, size_t len)
{
    struct cat *cat = ctx;
    const char *value;
    size_t value_len;
    if (cat->envelope) {
        buf_append(&cat->out, text, len);
        buf_append_u8(&cat->out, '\n');
    } else if (json_line_field(text, len, "value", &value, &value_len, NULL) == 0 &&
               (*value == '{' || *value == '[')) {
        value_add(cat, value, value_len);
    } else {
        struct buf text_value = {0};
        bool null;
        if (json_line_key(text, len, "value", &text_value, &null, NULL) == 0) {
            value_add(cat, buf_text(&text_value), text_value.len);
        }
        buf_free(&text_value);
    }
    cat->left--;
    if (cat->out.len > WRITE_BYTES) {
        return cat_write(cat, NULL) == 0;
    }
    return true;
}

static void remote_path(const struct cat *cat, const char *from, const char *until,
                        struct buf *path)
{
    char number[24];
    buf_reset(path);
    buf_append_text(path, "/v1/topics");
    client_path_add(path, cat->cli->args[0]);
    buf_append_text(path, "/records");
    client_query_add(path, "from", from);
    client_query_add(path, "until", until);
    (void)snprintf(number, sizeof number, "%" PRId64,
                   cat->left < REMOTE_RECORDS ? cat->left : REMOTE_RECORDS);
    client_query_add(path, "limit", number);
    client_query_add(path, "partition", cli_option(cat->cli, "partition"));
}

/* Takes a copy of what is there. */
static void keep_text(char **text, const char *newer)
{
    if (newer != NULL) {
        free(*text);
        *text = xstrdup(newer);
    }
}

static int cat_remote(struct cat *cat, struct err *err)
{
    struct client *client;
    struct buf path = {0};
    int rc = place_client(cat->cli, &client, err);
    if (rc < 0) {
        return rc;
    }
    char *from = xstrdup(cat->from);
    char *until = cat->until == NULL ? NULL : xstrdup(cat->until);
    bool done = false;
    while (rc == 0 && cat->left > 0 && !done) {
        int64_t before = cat->left;
        remote_path(cat, from, until, &path);
        rc = client_lines(client, buf_text(&path), line_add, cat, err);
        const char *next = rc == 0 ? client_header(client, "X-Kappa-Next") : NULL;
        if (next != NULL && next[0] != '\0') {
            keep_text(&from, next);
            const char *at_end = client_header(client, "X-Kappa-At-End");
            done = cat->exit_at_end && at_end != NULL && strcmp(at_end, "yes") == 0;
            keep_text(&until, client_header(client, "X-Kappa-Until"));
        } else if (rc == 0) {
            rc = err_set(err, KE_UNREACHABLE, "the server did not say where to go on");
        }
        if (rc == 0) {
            rc = cat_write(cat, err);
        }
        if (rc == 0 && !done && cat->left == before) {
            (void)nanosleep(&(struct timespec){.tv_nsec = WAIT_MS * 1000000L}, NULL);
        }
    }
    free(from);
    free(until);
    buf_free(&path);
    client_close(client);
    return rc;
}

static int cat_run(struct cli *cli, struct err *err)
{
    const char *from = cli_option(cli, "from");
    struct cat cat = {.cli = cli,
                      .from = from == NULL ? "beginning" : from,
                      .envelope = cli->json || cli_option(cli, "envelope") != NULL,
                      .until = cli_option(cli, "until"),
                      .exit_at_end =
                          cli_option(cli, "exit") != NULL || cli_option(cli, "until") != NULL,
                      .raw = isatty(STDOUT_FILENO) != 1};
    int rc = cli_option_int(cli, "limit", 0, INT64_MAX, INT64_MAX, &cat.left, err);
    if (rc == 0) {
        rc = cli_option_int(cli, "partition", 0, INT32_MAX, -1, &cat.partition, err);
    }
    if (rc == 0) {
        rc = place_server(cli) == NULL ? cat_direct(&cat, err) : cat_remote(&cat, err);
    }
    buf_free(&cat.out);
    return rc;
}
