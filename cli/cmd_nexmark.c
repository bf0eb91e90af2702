/* kappa nexmark. */
#include "base/clock.h"
#include "cli/cmd.h"
#include "cli/nexmark.h"
#include "cli/output.h"
#include "cli/place.h"
#include "log/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define EVENTS_DEFAULT     100000
#define RATE_DEFAULT       10000
#define PARTITIONS_DEFAULT 4
#define PRINT_BYTES        (1U << 18) /* one write */
#define PACE_US            2000       /* a paced stream goes on in steps of so long */

static int nexmark_run(struct cli *cli, struct err *err);

static const struct cmd_option options[] = {
    {"events", 'n', "N", "number of events (default 100000); 0: until stopped"},
    {"first", '\0', "N", "number of the first event (default 0)"},
    {"seed", '\0', "S", "another seed makes other events (default 1)"},
    {"rate", '\0', "R", "events per second of event time (default 10000)"},
    {"pace", '\0', NULL, "let the events go at that rate, instead of at once"},
    {"disorder", '\0', "N", "shuffle the events within groups of N (default 1: in order)"},
    {"topic", '\0', "TOPIC", "the topic to append to; made when it is missing (default nexmark)"},
    {"partitions", '\0', "P", "partitions of a topic that is made (default 4)"},
    {"print", '\0', NULL, "print the events as JSON lines instead"},
    PLACE_KAFKA_OPTIONS,
    {NULL, '\0', NULL, NULL},
};

const struct cmd_entry cmd_nexmark = {
    .name = "nexmark",
    .args = "",
    .summary = "make the events of the Nexmark benchmark",
    .help =
        "People, auctions and bids of an auction site (1 : 3 : 46) in one topic, as flat JSON with "
        "a member\n"
        "\"event\" that says which; keyed by \"id\", so that an auction and its bids share a "
        "partition. The same\n"
        "seed makes the same bytes anywhere; event times begin at 2025-10-09T08:53:20Z, whatever "
        "the clock says.",
    .examples = "kappa nexmark --events 1000000\n"
                "kappa nexmark --print --events 50 --seed 7\n"
                "kappa nexmark --events 0 --rate 2000 --pace\n",
    .options = options,
    .run = nexmark_run,
};

/* A range of events on its way. */
struct stream {
    struct nexmark nexmark;
    uint64_t first;
    uint64_t count; /* UINT64_MAX: until stopped */
    bool paced;
    struct log_writer *writer; /* NULL: stdout */
    struct buf text;           /* one event; when printing, lines not yet written */
};

static int stream_print(struct stream *stream, uint64_t n, struct err *err)
{
    (void)nexmark_write(&stream->nexmark, n, &stream->text);
    buf_append_u8(&stream->text, '\n');
    if (stream->text.len < PRINT_BYTES) {
        return 0;
    }
    int rc = out_write(&stream->text, err);
    buf_reset(&stream->text);
    return rc;
}

static int stream_append(struct stream *stream, uint64_t n, struct err *err)
{
    char key[24];
    struct buf *text = &stream->text;
    buf_reset(text);
    struct nexmark_event event = nexmark_write(&stream->nexmark, n, text);
    buf_reserve(text, KAPPA_RECORD_TAIL);
    struct kappa_record record = {
        .time_ms = event.time_ms,
        .key = (const uint8_t *)key,
        .key_len = (uint32_t)snprintf(key, sizeof key, "%" PRIu64, event.key),
        .value = text->data,
        .value_len = (uint32_t)text->len,
    };
    return stream->writer->ops->append(stream->writer, -1, &record, err);
}

static int stream_flush(struct stream *stream, bool sync, struct err *err)
{
    if (stream->writer != NULL) {
        return stream->writer->ops->flush(stream->writer, sync, err);
    }
    int rc = stream->text.len > 0 ? out_write(&stream->text, err) : 0;
    buf_reset(&stream->text);
    return rc;
}

/* Shows what there is, and sleeps until the `done`-th event is due. */
static int stream_pace(struct stream *stream, int64_t begin_us, uint64_t done, struct err *err)
{
    int rc = stream_flush(stream, false, err);
    int64_t due_us = begin_us + (int64_t)((double)done * 1e6 / (double)stream->nexmark.rate);
    int64_t wait_us = due_us - clock_mono_us(clock_real());
    if (wait_us > 0) {
        (void)nanosleep(&(struct timespec){wait_us / 1000000, wait_us % 1000000 * 1000}, NULL);
    }
    return rc;
}

static int stream_run(struct stream *stream, struct err *err)
{
    int64_t begin_us = clock_mono_us(clock_real());
    uint64_t burst = stream->nexmark.rate * PACE_US / 1000000 + 1;
    int rc = 0;
    for (uint64_t done = 0; rc == 0 && done < stream->count;) {
        uint64_t n = stream->first + done++;
        rc = stream->writer == NULL ? stream_print(stream, n, err) : stream_append(stream, n, err);
        if (rc == 0 && stream->paced && done % burst == 0) {
            rc = stream_pace(stream, begin_us, done, err);
        }
    }
    return rc == 0 ? stream_flush(stream, true, err) : rc;
}

static int stream_options(const struct cli *cli, struct stream *out, struct err *err)
{
    const struct {
        const char *name;
        int64_t least;
        int64_t most;
        int64_t fallback;
        uint64_t *value;
    } numbers[] = {
        {"events", 0, INT64_C(1) << 48, EVENTS_DEFAULT, &out->count},
        {"first", 0, INT64_C(1) << 48, 0, &out->first},
        {"seed", 0, INT64_MAX, 1, &out->nexmark.seed},
        {"rate", 1, NEXMARK_RATE_MAX, RATE_DEFAULT, &out->nexmark.rate},
        {"disorder", 1, 1 << 20, 1, &out->nexmark.disorder},
    };

    for (size_t i = 0; i < array_len(numbers); i++) {
        int64_t value = 0;
        int rc = cli_option_int(cli, numbers[i].name, numbers[i].least, numbers[i].most,
                                numbers[i].fallback, &value, err);
        if (rc < 0) {
            return rc;
        }
        *numbers[i].value = (uint64_t)value;
    }
    if (out->nexmark.disorder % NEXMARK_SHUFFLE == 0) {
        return err_set(err, KE_INVALID, "--disorder cannot be a multiple of %d", NEXMARK_SHUFFLE);
    }
    out->count = out->count == 0 ? INT64_C(1) << 48 : out->count;
    out->paced = cli_option(cli, "pace") != NULL;
    return 0;
}

/* The topic is there, with the partitions that were asked for. */
static int topic_make(const struct cli *cli, struct log *log, const char *topic, struct err *err)
{
    int64_t wish = 0;
    uint32_t partitions = 0;
    struct err missing = {0};
    int rc = cli_option_int(cli, "partitions", 1, INT32_MAX, 0, &wish, err);
    if (rc < 0) {
        return rc;
    }
    rc = log->ops->topic_partitions(log, topic, &partitions, &missing);
    if (rc == -KE_NOT_FOUND) {
        struct log_topic_options made = {
            .partitions = wish == 0 ? PARTITIONS_DEFAULT : (uint32_t)wish,
            .retain_ms = -1,
            .retain_bytes = -1,
        };
        return log->ops->topic_create(log, topic, &made, err);
    }
    if (rc < 0) {
        *err = missing;
        return rc;
    }
    if (wish != 0 && wish != partitions) {
        return err_set(err, KE_EXISTS, "topic %s is there with %" PRIu32 " partitions", topic,
                       partitions);
    }
    return 0;
}

static int say_count(const struct cli *cli, const char *topic, uint64_t count, struct err *err)
{
    if (cli->json) {
        json_t *body = json_pack("{s:s,s:I}", "topic", topic, "records", (json_int_t)count);
        int rc = out_json(body, err);
        json_decref(body);
        return rc;
    }
    (void)fprintf(stderr, "%" PRIu64 " events in topic %s\n", count, topic);
    return 0;
}

static int produce(const struct cli *cli, struct stream *stream, struct err *err)
{
    struct log *log;
    const char *topic = cli_option(cli, "topic");
    topic = topic == NULL ? "nexmark" : topic;
    if (place_server(cli) != NULL) {
        int rc = err_set(err, KE_INVALID, "kappa nexmark appends to a log, not through a server");
        err_hint(err, "kappa nexmark --print | kappa produce %s --key id --time date_time", topic);
        return rc;
    }
    int rc = place_log_write(cli, true, &log, err);
    if (rc < 0) {
        return rc;
    }
    rc = topic_make(cli, log, topic, err);
    if (rc == 0) {
        rc = log->ops->writer_open(log, topic, &stream->writer, err);
    }
    if (rc == 0) {
        rc = stream_run(stream, err);
        stream->writer->ops->close(stream->writer);
    }
    log->ops->close(log);
    return rc < 0 ? rc : say_count(cli, topic, stream->count, err);
}

static int nexmark_run(struct cli *cli, struct err *err)
{
    struct stream stream = {.writer = NULL};
    int rc = stream_options(cli, &stream, err);
    if (rc == 0) {
        rc = cli_option(cli, "print") != NULL ? stream_run(&stream, err)
                                              : produce(cli, &stream, err);
    }
    buf_free(&stream.text);
    return rc;
}
