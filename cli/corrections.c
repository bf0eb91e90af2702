/* Replaying, comparing, sending. Own header: corrections.h. */
#include "cli/corrections.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/scratch.h"
#include "cli/call.h"
#include "cli/client.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/place.h"
#include "cli/replaying.h"
#include "log/log.h"
#include "processor/plan_object.h"
#include "replayer/correction.h"
#include "replayer/fail_point.h"

#define HOLDER_LEN 200

struct job {
    const struct cli *cli;
    const char *processor;
    bool send;
    int64_t samples_max;
    struct corrections_known known;
    int lock_fd;
    struct scratch *scratch;
    struct log *log;
    struct plan *plan;
    struct replaying replaying;
    char *replay_dir;
    uint32_t shards;
    bool replayed;
    json_t *topics; /* names */
    atomic_bool *stop;
    struct corrections *corrections;
    struct correction_counts counts;
    json_t *samples;
    uint64_t sent;
};

/* ---- One at a time */

static int lock_take(struct job *job, struct err *err)
{
    char *path = xasprintf("%s/CORRECTIONS", job->known.dir);
    char text[HOLDER_LEN] = "";
    job->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int rc = job->lock_fd >= 0 ? 0 : err_errno(err, errno, "cannot open %s", path);
    if (rc == 0 && flock(job->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = pread(job->lock_fd, text, sizeof text - 1, 0);
        rc = err_set(err, KE_BUSY, "corrections of %s are being sent by %s", job->processor,
                     n > 0 ? text : "another process");
        err_hint(err, "wait until it has ended; the next run finds what is left to do");
    } else if (rc == 0) {
        json_t *who = call_body();
        int len = snprintf(text, sizeof text, "%.100s (pid %ld)", json_text(who, "who", "?"),
                           (long)getpid());
        json_decref(who);
        if (ftruncate(job->lock_fd, 0) != 0 || pwrite(job->lock_fd, text, (size_t)len, 0) != len) {
            rc = err_errno(err, errno, "cannot write %s", path);
        }
    }
    free(path);
    return rc;
}

/* ---- The replay */

static int64_t offset_of(const json_t *receipt, const char *member, const char *topic,
                         uint32_t partition)
{
    const json_t *offsets = json_object_get(json_object_get(receipt, member), topic);
    return i64_max(json_integer_value(json_array_get(offsets, partition)), 0);
}

/* The receipt says what the version's tables and messages were at this cut. */
static int digest_check(const struct job *job, const struct tap_done *done, struct err *err)
{
    char text[DIGEST_TEXT_LEN + 1];
    const char *known = json_text(job->known.receipt, "new_digest", "");
    digest_format(done->digest, text);
    if (known[0] == '\0' || strcmp(known, text) == 0) {
        return 0;
    }
    int rc = err_set(err, KE_REFUSED,
                     "v%" PRIu32 " of %s is not what its definition makes of the log: its digest "
                     "at the cut was %s, replayed it is %s",
                     job->replaying.version, job->processor, known, text);
    err_hint(err, "nothing was sent; `kappa verify %s %" PRIu32 "` compares again", job->processor,
             job->replaying.version);
    return rc;
}

static int replay(struct job *job, struct err *err)
{
    struct tap_done done = {0};
    struct tap *tap = NULL;
    struct tap_replay run = {.plan = job->plan,
                             .log = job->log,
                             .group = "kappa-corrections",
                             .dir = job->replay_dir,
                             .outbox = true,
                             .stop = job->stop};
    int rc = replaying_open(&job->replaying, err);
    for (uint32_t s = 0; s < job->replaying.count && rc == 0; s++) {
        const struct shard_source *source = &job->replaying.list[s];
        job->replaying.cut[s] = i64_max(
            offset_of(job->known.receipt, "cut", source->topic, source->partition), source->start);
    }
    if (rc == 0 && job->plan->topic_count > 0) {
        rc = replaying_run(&job->replaying, &run, &tap, &done, err);
        rc = rc == 0 ? digest_check(job, &done, err) : rc;
        job->replayed = rc == 0;
        job->shards = run.shards;
    }
    free(done.sources);
    return rc;
}

/* ---- The difference */

static json_t *bytes_json(const uint8_t *bytes, uint32_t len, bool parse)
{
    if (len == KAPPA_NULL_LEN) {
        return json_null();
    }
    json_t *value = parse ? json_parse_exact((const char *)bytes, len, NULL) : NULL;
    return value != NULL ? value : json_text_lossy(bytes, len);
}

static int sample(void *ctx, const struct correction *correction, struct err *err)
{
    struct job *job = ctx;
    (void)err;
    if ((int64_t)json_array_size(job->samples) >= job->samples_max) {
        return 0;
    }
    const struct kappa_record *record = &correction->record;
    json_t *item = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:s, s:o, s:o}", "kind", correction_word(correction->kind),
        "topic", correction->input, "partition", (json_int_t)correction->input_partition, "offset",
        (json_int_t)correction->place.offset, "seq", (json_int_t)correction->place.seq, "to",
        correction->topic, "key", bytes_json(record->key, record->key_len, false), "value",
        bytes_json(record->value, record->value_len, true));
    ASSERT(item != NULL);
    ASSERT(json_array_append_new(job->samples, item) == 0);
    return 0;
}

static int may(void *ctx, struct err *err)
{
    const struct job *job = ctx;
    return corrections_still(&job->known, err);
}

/* All that SENT counts is to be in the topics: SENT was read before they are. */
static int names_check(const struct job *job, struct err *err)
{
    struct correction_counts counts;
    int64_t sent = json_int(job->known.sent, "sent", 0);
    correction_counts(job->corrections, &counts);
    if ((int64_t)counts.names >= sent) {
        return 0;
    }
    (void)err_set(err, KE_REFUSED,
                  "%" PRId64 " messages of %s were sent, and its topics hold %" PRIu64
                  " of them: one was deleted and made again, or has lost records",
                  sent, job->processor, counts.names);
    err_hint(err, "deploy the definition under another name, with a topic of its own, to have all "
                  "of its messages");
    return -KE_REFUSED;
}

static uint32_t spread_of(const json_t *sent, const char *name)
{
    size_t i;
    json_t *topic;
    json_array_foreach (json_object_get(sent, "topics"), i, topic) {
        if (strcmp(json_text(topic, "topic", ""), name) == 0) {
            return (uint32_t)json_int(topic, "partitions", 0);
        }
    }
    return 0;
}

static uint32_t topic_number(const json_t *topics, const char *name)
{
    uint32_t i = 0;
    while (i < json_array_size(topics) &&
           strcmp(json_string_value(json_array_get(topics, i)), name) != 0) {
        i++;
    }
    return i;
}

static int walk(struct job *job, struct err *err)
{
    struct correction_sending sending = {.may = may, .told = sample, .ctx = job};
    int rc = correction_find(job->corrections, job->send, err);
    rc = rc == 0 ? names_check(job, err) : rc;
    if (rc == 0 && job->send) {
        fail_point_setup();
        sending.fail_point = fail_point_here;
        rc = correction_send(job->corrections, &sending, &job->sent, err);
    } else if (rc == 0) {
        rc = correction_walk(job->corrections, sample, job, err);
    }
    correction_counts(job->corrections, &job->counts);
    return rc;
}

static int compare(struct job *job, struct err *err)
{
    const struct replaying *replaying = &job->replaying;
    uint32_t topic_count = u32_from(json_array_size(job->topics));
    struct correction_source *sources = xcalloc(replaying->count + 1, sizeof *sources);
    struct correction_topic *topics = xcalloc(topic_count + 1, sizeof *topics);
    uint32_t *outputs = xcalloc(job->plan->topic_count + 1, sizeof *outputs);
    const json_t *inputs = json_object_get(job->known.version, "inputs");
    for (uint32_t s = 0; s < replaying->count; s++) {
        const struct shard_source *source = &replaying->list[s];
        const json_t *input = json_array_get(inputs, source->input);
        sources[s] = (struct correction_source){
            .topic = source->topic,
            .identity = (uint64_t)json_int(input, "identity", 0),
            .partition = source->partition,
            .start = source->start,
            .cut = offset_of(job->known.receipt, "outputs_from", source->topic, source->partition)};
    }
    for (uint32_t t = 0; t < topic_count; t++) {
        topics[t].name = json_string_value(json_array_get(job->topics, t));
        topics[t].spread = spread_of(job->known.sent, topics[t].name);
    }
    for (uint32_t o = 0; o < job->plan->topic_count; o++) {
        outputs[o] = topic_number(job->topics, job->plan->topics[o].topic);
        ASSERT_CMP(outputs[o], <, topic_count);
    }
    struct log *behind = log_archived_behind(job->log);
    struct correction_options options = {
        .log = job->log,
        .base = behind != NULL ? behind : job->log,
        .clock = clock_real(),
        .name = job->known.name,
        .dir = scratch_dir(job->scratch),
        .replayed = job->replayed ? job->replay_dir : NULL,
        .shards = job->shards,
        .epoch = (uint64_t)json_int(job->known.receipt, "epoch", 0),
        .sources = sources,
        .source_count = replaying->count,
        .topics = topics,
        .topic_count = topic_count,
        .outputs = outputs,
        .output_count = job->plan->topic_count,
        .stop = job->stop,
    };
    int rc = correction_open(&options, &job->corrections, err);
    rc = rc == 0 ? walk(job, err) : rc;
    correction_close(job->corrections);
    free(sources);
    free(topics);
    free(outputs);
    return rc;
}

/* ---- What is said about it */

static json_t *answer_make(const struct job *job)
{
    const struct correction_counts *counts = &job->counts;
    const json_t *from = json_object_get(job->known.receipt, "outputs_from");
    json_t *answer = json_pack(
        "{s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "processor", job->processor,
        "version", (json_int_t)json_int(job->known.processor, "serving", 0), "epoch",
        (json_int_t)json_int(job->known.processor, "epoch", 0), "cut",
        from == NULL ? json_null() : json_incref((json_t *)(uintptr_t)from), "sent",
        (json_int_t)job->sent, "same", (json_int_t)counts->same, "replaced",
        (json_int_t)counts->of[CORRECTION_REPLACED], "added",
        (json_int_t)counts->of[CORRECTION_ADDED], "retracted",
        (json_int_t)counts->of[CORRECTION_RETRACTED], "not_compared",
        (json_int_t)counts->unknown + (json_int_t)counts->foreign, "samples", job->samples);
    ASSERT(answer != NULL);
    char *note = NULL;
    if (job->known.none != NULL) {
        note = xstrdup(job->known.none);
    } else if (counts->unknown > 0) {
        note = xstrdup("the version began later than messages that were sent: those of records "
                       "before its start are not compared");
    } else if (counts->foreign > 0) {
        note = xstrdup("messages of a topic that was deleted and made again are not compared");
    }
    if (note != NULL) {
        (void)json_object_set_new(answer, "note", json_string(note));
    }
    free(note);
    return answer;
}

/* The server writes it into its events. That nobody runs there is no harm. */
static void server_tell(const struct job *job, const json_t *answer)
{
    static const char *const members[] = {"version", "epoch", "replaced", "added", "retracted"};
    struct err err = {0};
    json_t *body = call_body();
    json_t *said = NULL;
    if (job->sent == 0 || place_server_pid(job->cli) == 0) {
        json_decref(body);
        return;
    }
    for (size_t i = 0; i < array_len(members); i++) {
        (void)json_object_set(body, members[i], json_object_get(answer, members[i]));
    }
    if (call_post(job->cli, job->processor, 0, "corrected", body, CLIENT_WAIT_SECONDS, &said,
                  &err) != 0) {
        (void)fprintf(stderr, "warning: the server was not told: %s\n", err.text);
    }
    json_decref(said);
}

static int job_run(struct job *job, struct err *err)
{
    char *parent = xasprintf("%s/exports", place_data(job->cli));
    int rc = job->send ? lock_take(job, err) : 0;
    rc = rc == 0 ? scratch_open(parent, &job->scratch, err) : rc;
    free(parent);
    rc = rc == 0 ? plan_compile_object(job->known.version, &job->plan, err) : rc;
    rc = rc == 0 ? place_log_archived(job->cli, &job->log, err) : rc;
    if (rc != 0) {
        return rc;
    }
    job->topics = corrections_topics(&job->known);
    job->replay_dir = xasprintf("%s/replay", scratch_dir(job->scratch));
    job->replaying = (struct replaying){
        .cli = job->cli,
        .processor = job->processor,
        .version = (uint32_t)json_int(job->known.version, "version", 0),
        .object = job->known.version,
    };
    rc = replay(job, err);
    return rc == 0 ? compare(job, err) : rc;
}

static void job_free(struct job *job)
{
    replaying_close(&job->replaying);
    if (job->log != NULL) {
        job->log->ops->close(job->log);
    }
    plan_free(job->plan);
    scratch_close(job->scratch);
    if (job->lock_fd >= 0) {
        (void)close(job->lock_fd);
    }
    corrections_forget(&job->known);
    json_decref(job->topics);
    json_decref(job->samples);
    free(job->replay_dir);
}

int corrections_run(const struct cli *cli, const char *processor, bool send, int64_t samples,
                    json_t **out, struct err *err)
{
    struct job job = {.cli = cli,
                      .processor = processor,
                      .send = send,
                      .samples_max = samples,
                      .lock_fd = -1,
                      .samples = json_array(),
                      .stop = interrupt_catch()};
    int rc = place_own_check(cli, err);
    rc = rc == 0 ? corrections_look(cli, processor, &job.known, err) : rc;
    if (rc == 0 && job.known.none == NULL) {
        rc = job_run(&job, err);
    }
    if (rc == 0 || job.sent > 0) {
        *out = answer_make(&job);
        server_tell(&job, *out);
    }
    if (rc != 0 && job.sent > 0) {
        char hint[300];
        json_decref(*out);
        *out = NULL;
        (void)snprintf(hint, sizeof hint,
                       "%" PRIu64 " corrections were sent; once more: kappa corrections %s --send, "
                       "it finds what is left to do",
                       job.sent, processor);
        err_hint(err, "%s", hint);
    }
    job_free(&job);
    return rc;
}

static void samples_text(const struct cli *cli, const json_t *samples, struct buf *out)
{
    static const char *const titles[] = {"KIND", "RECORD", "TO", "KEY", "VALUE"};
    struct out_table table;
    out_table_begin(&table, array_len(titles), 0);
    out_table_titles(&table, titles);
    size_t i;
    const json_t *item;
    json_array_foreach (samples, i, item) {
        struct buf key = {0};
        struct buf value = {0};
        out_value(&key, json_object_get(item, "key"));
        out_value(&value, json_object_get(item, "value"));
        out_table_cell(&table, json_text(item, "kind", ""));
        out_table_cellf(&table, "%s/%" PRId64 " offset %" PRId64, json_text(item, "topic", ""),
                        json_int(item, "partition", 0), json_int(item, "offset", 0));
        out_table_cell(&table, json_text(item, "to", ""));
        out_table_cell(&table, buf_text(&key));
        out_table_cell(&table, buf_text(&value));
        buf_free(&key);
        buf_free(&value);
    }
    out_table_end(&table, cli->colour, out);
}

void corrections_text(const struct cli *cli, const json_t *answer, struct buf *out)
{
    static const char *const kinds[] = {"replaced", "added", "retracted"};
    char number[OUT_NUMBER_LEN];
    const json_t *samples = json_object_get(answer, "samples");
    const char *note = json_text(answer, "note", NULL);
    const char *processor = json_text(answer, "processor", "");
    bool sent = json_int(answer, "sent", 0) > 0;
    int64_t differ = 0;
    for (size_t k = 0; k < array_len(kinds); k++) {
        differ += json_int(answer, kinds[k], 0);
    }
    buf_printf(out, "%s v%" PRId64 ", records below its cut (epoch %" PRId64 "): ", processor,
               json_int(answer, "version", 0), json_int(answer, "epoch", 0));
    if (differ == 0) {
        buf_append_text(out, "nothing to correct");
    }
    for (size_t k = 0; k < array_len(kinds) && differ > 0; k++) {
        buf_printf(
            out, "%s%s %s", k == 0 ? "" : ", ", out_count(json_int(answer, kinds[k], 0), number),
            sent ? kinds[k]
                 : (const char *const[]){"to be replaced", "to be added", "to be retracted"}[k]);
    }
    buf_printf(out, "; %s as they should be\n", out_count(json_int(answer, "same", 0), number));
    if (note != NULL) {
        buf_printf(out, "%s\n", note);
    }
    if (json_array_size(samples) > 0) {
        samples_text(cli, samples, out);
    }
    if (differ > (int64_t)json_array_size(samples) && json_array_size(samples) > 0) {
        buf_append_text(out, "and more; --limit shows them\n");
    }
    if (differ > 0 && !sent) {
        buf_printf(out, "send them with: kappa corrections %s --send\n", processor);
    }
}
