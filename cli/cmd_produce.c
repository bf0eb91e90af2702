/* kappa produce. */
#include "base/clock.h"
#include "base/limits.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/place.h"
#include "serve/topics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_BYTES  (1U << 20) /* one read */
#define FLUSH_US_MIN 1000  /* a stream that pauses becomes readable at once, but not more often */
#define FLUSH_US_MAX 20000 /* a stream without pauses becomes readable at least so often */

static int produce_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"key", 'k', "FIELD", "the record's key is this member of the JSON object"},
    {"time", '\0', "FIELD", "the record's time is this member: ms since 1970, or RFC 3339"},
    {"envelope", 'J', NULL,
     "lines are {\"key\",\"value\",\"time\",\"headers\"}, as cat -J prints them"},
    {"partition", 'p', "P", "into this partition (default: by key, or in turn)"},
    PLACE_KAFKA_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_produce = {
    .name = "produce",
    .args = "TOPIC [FILE]",
    .args_min = 1,
    .args_max = 2,
    .summary = "append lines to a topic, a record each",
    .help =
        "Reads JSON lines from FILE, or from standard input. A line that is not JSON is a record "
        "all the\n"
        "same, unless a key or time is to be taken from it: then it stops there with the number of "
        "the line,\n"
        "and what came before stays produced. A slow stream becomes readable within "
        "milliseconds.\n"
        "With --envelope the value null is a tombstone; topic, partition and offset in a line are "
        "not followed.",
    .examples = "kappa produce user-events --key user_id events.jsonl\n"
                "echo '{\"key\":\"u1\",\"value\":null}' | kappa produce users -J\n"
                "tail -f app.log | kappa produce app-log\n",
    .options = options,
    .run = produce_run,
};

/* Input on its way to a topic. */
struct produce {
    const struct cli *cli;
    int fd;
    struct topic_sink sink; /* of the log, when direct */
    struct client *client;  /* else of the server */
    struct buf path;        /* of its requests */
    struct buf pending;     /* read, and not yet produced; KAPPA_RECORD_TAIL bytes of room behind */
    uint64_t records;       /* acknowledged by the server, or surely in the log */
    int64_t flushed_us;
    bool unflushed;
};

static int produce_flush(struct produce *produce, bool sync, struct err *err)
{
    produce->unflushed = false;
    produce->flushed_us = clock_mono_us(clock_real());
    if (produce->client != NULL) {
        return 0;
    }
    int rc = topic_sink_flush(&produce->sink, sync, err);
    if (rc == 0) {
        produce->records = produce->sink.records;
    }
    return rc;
}

/* Sends the whole lines of what is pending. */
static int send_lines(struct produce *produce, size_t len, struct err *err)
{
    json_t *answer;
    if (len == 0) {
        return 0;
    }
    int rc = client_post_lines(produce->client, buf_text(&produce->path), produce->pending.data,
                               len, &answer, err);
    if (rc < 0) {
        if (produce->records > 0) {
            err_prefix(err, "after %" PRIu64 " records", produce->records);
        }
        return rc;
    }
    produce->records += (uint64_t)json_int(answer, "records", 0);
    json_decref(answer);
    return 0;
}

/* Where the last whole line ends. */
static size_t whole_lines(const struct buf *text)
{
    const char *end = text->len == 0 ? NULL : memrchr(text->data, '\n', text->len);
    return end == NULL ? 0 : (size_t)(end + 1 - (const char *)text->data);
}

static int take_pending(struct produce *produce, bool at_end, struct err *err)
{
    struct buf *pending = &produce->pending;
    size_t used = 0;
    int rc = 0;
    if (produce->client == NULL) {
        rc = topic_sink_block(&produce->sink, buf_text(pending), pending->len, at_end, &used, err);
    } else {
        used = at_end ? pending->len : whole_lines(pending);
        rc = send_lines(produce, used, err);
    }
    if (pending->len > used) {
        memmove(pending->data, pending->data + used, pending->len - used);
    }
    pending->len -= used;
    produce->unflushed = true;
    return rc;
}

/* Waits for input; flushes when none comes for a moment, or when it is time. */
static int wait_input(struct produce *produce, struct err *err)
{
    struct pollfd input = {.fd = produce->fd, .events = POLLIN};
    if (produce->unflushed) {
        int64_t since_us = clock_mono_us(clock_real()) - produce->flushed_us;
        int ready = poll(&input, 1, since_us < FLUSH_US_MIN ? 1 : 0);
        if (ready == 0 || since_us > FLUSH_US_MAX) {
            int rc = produce_flush(produce, false, err);
            if (rc < 0) {
                return rc;
            }
        }
    }
    while (poll(&input, 1, -1) < 0 && errno == EINTR) {
    }
    return 0;
}

/* 1: something was read; 0: the end. */
static int read_some(struct produce *produce, struct err *err)
{
    struct buf *pending = &produce->pending;
    if (pending->len > LIMIT_RECORD_BYTES) {
        return err_set(err, KE_LIMIT, "a line is longer than %d MiB", LIMIT_RECORD_BYTES >> 20);
    }
    buf_reserve(pending, BLOCK_BYTES + KAPPA_RECORD_TAIL);
    for (;;) {
        ssize_t len = read(produce->fd, pending->data + pending->len, BLOCK_BYTES);
        if (len >= 0) {
            pending->len += (size_t)len;
            pending->data[pending->len] = '\0';
            return len > 0;
        }
        if (errno != EINTR) {
            return err_errno(err, errno, "cannot read the input");
        }
    }
}

static int pump(struct produce *produce, struct err *err)
{
    for (;;) {
        int rc = wait_input(produce, err);
        if (rc == 0) {
            rc = read_some(produce, err);
        }
        if (rc < 0) {
            return rc;
        }
        bool at_end = rc == 0;
        rc = take_pending(produce, at_end, err);
        if (rc < 0 || at_end) {
            return rc;
        }
    }
}

static int open_remote(struct produce *produce, struct err *err)
{
    const struct cli *cli = produce->cli;
    buf_append_text(&produce->path, "/v1/topics");
    client_path_add(&produce->path, cli->args[0]);
    buf_append_text(&produce->path, "/records");
    client_query_add(&produce->path, "key", cli_option(cli, "key"));
    client_query_add(&produce->path, "time", cli_option(cli, "time"));
    client_query_add(&produce->path, "envelope", cli_option(cli, "envelope") != NULL ? "1" : NULL);
    client_query_add(&produce->path, "partition", cli_option(cli, "partition"));
    return place_client(cli, &produce->client, err);
}

static int say_count(const struct cli *cli, uint64_t records, struct err *err)
{
    if (cli->json) {
        json_t *body = json_pack("{s:I}", "records", (json_int_t)records);
        int rc = out_json(body, err);
        json_decref(body);
        return rc;
    }
    (void)fprintf(stderr, "%" PRIu64 " record%s\n", records, records == 1 ? "" : "s");
    return 0;
}

/* What to send again after an error is known, or it is said that it is not. */
static void hint_what_is_in(const struct produce *produce, bool flushed, struct err *err)
{
    uint64_t records = flushed ? produce->sink.records : produce->records;
    uint64_t unsure = produce->sink.records - records;
    if (unsure == 0) {
        err_hint(err, "%" PRIu64 " record%s went in before it", records, records == 1 ? "" : "s");
    } else {
        err_hint(err,
                 "the first %" PRIu64 " record%s went in; of the next %" PRIu64
                 " some may be in, by "
                 "partition: `kappa cat %s --exit` shows them",
                 records, records == 1 ? "" : "s", unsure, produce->cli->args[0]);
    }
}

/* Runs the pump, then makes what went in durable, whatever happened. */
static int pump_all(struct produce *produce, struct err *err)
{
    produce->flushed_us = clock_mono_us(clock_real());
    int rc = pump(produce, err);
    struct err flush_err = {0};
    int flushed = produce_flush(produce, true, &flush_err);
    if (rc == 0 && flushed < 0) {
        *err = flush_err;
        rc = flushed;
    }
    if (rc == 0) {
        return say_count(produce->cli, produce->records, err);
    }
    if (produce->client == NULL) {
        hint_what_is_in(produce, flushed == 0, err);
    }
    /* A line without its key is bad data, not a bad command line. */
    if (rc == -KE_INVALID && err->code == -KE_INVALID) {
        err->code = -KE_IO;
        rc = err->code;
    }
    return rc;
}

static int produce_direct(struct produce *produce, int64_t partition, struct err *err)
{
    const struct cli *cli = produce->cli;
    struct log *log;
    int rc = place_log_write(cli, false, &log, err);
    if (rc < 0) {
        return rc;
    }
    rc = topic_sink_open(log, cli->args[0], cli_option(cli, "key"), cli_option(cli, "time"),
                         (int32_t)partition, &produce->sink, err);
    if (rc == 0) {
        produce->sink.envelope = cli_option(cli, "envelope") != NULL;
        rc = pump_all(produce, err);
        topic_sink_close(&produce->sink);
    }
    log->ops->close(log);
    return rc;
}

static int produce_run(struct cli *cli, struct err *err)
{
    struct produce produce = {.cli = cli, .fd = STDIN_FILENO};
    int64_t partition;
    const char *file = cli->arg_count == 2 ? cli->args[1] : "-";
    int rc = cli_option_int(cli, "partition", 0, INT32_MAX, -1, &partition, err);
    if (rc < 0) {
        return rc;
    }
    if (strcmp(file, "-") != 0) {
        produce.fd = open(file, O_RDONLY | O_CLOEXEC);
        if (produce.fd < 0) {
            return err_errno(err, errno, "cannot read %s", file);
        }
    }
    if (place_server(cli) == NULL) {
        rc = produce_direct(&produce, partition, err);
    } else {
        rc = open_remote(&produce, err);
        if (rc == 0) {
            rc = pump_all(&produce, err);
            client_close(produce.client);
        }
    }
    if (produce.fd != STDIN_FILENO) {
        (void)close(produce.fd);
    }
    buf_free(&produce.path);
    buf_free(&produce.pending);
    return rc;
}
