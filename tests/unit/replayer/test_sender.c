/* Goal: whatever dies whenever, each message of each record is in its topic exactly once, sent by the
 * version whose span holds the record, and those of one input partition in order; old and lost SENT
 * files, and writers beside us, change nothing.
 * Method: versions are stores that get made-up messages (a pure function of version, partition and
 * offset); commits, swaps, trims and steps of the sender come in random order. The log's sender may
 * publish a part of a commit and fail; the process may die at every fail point; SENT may be gone or
 * older afterwards. In the end the topics are read and compared with what must be there.
 * KAPPA_SEED repeats a run. */
#include "base/prng.h"
#include "include/kappa/message.h"
#include "log/log_memory.h"
#include "replayer/sender.h"
#include "replayer/sender_name.h"
#include "replayer/worker_outbox.h"
#include "table/store.h"
#include "tests/unit/unit.h"

#include <string.h>

#define SOURCES      3
#define SHARDS       2
#define OUTPUTS      2
#define SPANS_MAX    12
#define VERSIONS_MAX 12
#define PARTITIONS   4 /* of the larger output topic */
#define NAME         "alerts#7e57"

static const char *const outputs[OUTPUTS] = {"out-0", "out-1"};
static const uint32_t output_partitions[OUTPUTS] = {PARTITIONS, 2};

struct version {
    struct store *shards[SHARDS];
    char *dir;
    int64_t next[SOURCES];
};

struct rig {
    struct prng prng;
    struct log *log;
    struct log_ops ops; /* of the log, with our own sender_open */
    char dir[40];
    int64_t now_us;
    struct clock_ops clock;
    struct version versions[VERSIONS_MAX];
    uint32_t version_count;
    /* Spans: version and first offset. */
    uint32_t span_version[SPANS_MAX];
    int64_t span_from[SPANS_MAX][SOURCES];
    uint32_t span_count;
    struct sender *sender; /* of the last span's version */
    bool faults;
    uint32_t deaths, partial;
};

static struct rig *the_rig; /* of the log's sender, which gets no context */

/* ---- A log whose commits may be cut off */

struct part {
    uint32_t topic;
    uint32_t partition;
    struct buf bytes; /* messages: u32 length, message */
};

struct test_sender {
    struct log_sender base;
    struct log *log;
    struct part parts[OUTPUTS * PARTITIONS];
};

static int test_range(struct log_sender *base, const char *topic, uint32_t partition,
                      int64_t *start, int64_t *end, struct err *err)
{
    struct test_sender *sender = container_of(base, struct test_sender, base);
    return sender->log->ops->offsets(sender->log, topic, partition, start, end, err);
}

static void message_write(struct buf *out, const struct kappa_record *record)
{
    buf_append_u64_le(out, (uint64_t)record->time_ms);
    buf_append_u32_le(out, record->key_len);
    buf_append_u32_le(out, record->value_len);
    buf_append_u32_le(out, record->headers_len);
    if (record->key_len != KAPPA_NULL_LEN) {
        buf_append(out, record->key, record->key_len);
    }
    if (record->value_len != KAPPA_NULL_LEN) {
        buf_append(out, record->value, record->value_len);
    }
    buf_append(out, record->headers, record->headers_len);
}

static int test_append(struct log_sender *base, const char *topic, uint32_t partition,
                       const struct kappa_record *record, struct err *err)
{
    struct test_sender *sender = container_of(base, struct test_sender, base);
    uint32_t number = strcmp(topic, outputs[0]) == 0 ? 0 : 1;
    (void)err;
    assert_true(partition < output_partitions[number]);
    struct part *part = &sender->parts[number * PARTITIONS + partition];
    struct buf message = {0};
    part->topic = number;
    part->partition = partition;
    message_write(&message, record);
    buf_append_u32_le(&part->bytes, u32_from(message.len));
    buf_append(&part->bytes, message.data, message.len);
    buf_free(&message);
    return 0;
}

/* Publishes the messages of one partition; false: died on the way. */
static bool publish(struct test_sender *sender, const struct part *part)
{
    struct log_writer *writer = NULL;
    struct err err = {0};
    assert_int_equal(
        sender->log->ops->writer_open(sender->log, outputs[part->topic], &writer, &err), 0);
    bool whole = true;
    for (size_t at = 0; at < part->bytes.len && whole;) {
        uint32_t len = load_u32_le(part->bytes.data + at);
        struct kappa_record record;
        assert_true(kappa_message_read(part->bytes.data + at + 4, len, &record));
        if (the_rig->faults && prng_below(&the_rig->prng, 60) == 0) {
            whole = false;
            break;
        }
        assert_int_equal(writer->ops->append(writer, (int32_t)part->partition, &record, &err), 0);
        at += 4 + len;
    }
    assert_int_equal(writer->ops->flush(writer, false, &err), 0);
    writer->ops->close(writer);
    return whole;
}

static int test_commit(struct log_sender *base, struct err *err)
{
    struct test_sender *sender = container_of(base, struct test_sender, base);
    uint32_t first = (uint32_t)prng_below(&the_rig->prng, OUTPUTS * PARTITIONS);
    bool whole = true;
    for (uint32_t i = 0; i < OUTPUTS * PARTITIONS && whole; i++) {
        struct part *part = &sender->parts[(first + i) % (OUTPUTS * PARTITIONS)];
        whole = publish(sender, part);
        buf_reset(&part->bytes);
    }
    if (!whole || (the_rig->faults && prng_below(&the_rig->prng, 20) == 0)) {
        the_rig->partial++;
        return err_set(err, KE_BROKER, "the broker went away in the middle of a commit");
    }
    return 0;
}

static void test_close(struct log_sender *base)
{
    struct test_sender *sender = container_of(base, struct test_sender, base);
    for (uint32_t i = 0; i < OUTPUTS * PARTITIONS; i++) {
        buf_free(&sender->parts[i].bytes);
    }
    free(sender);
}

static const struct log_sender_ops test_sender_ops = {
    .close = test_close, .range = test_range, .append = test_append, .commit = test_commit};

static int test_sender_open(struct log *log, const char *name, struct log_sender **out,
                            struct err *err)
{
    assert_string_equal(name, "kappa-" NAME);
    if (the_rig->faults && prng_below(&the_rig->prng, 8) == 0) {
        return err_set(err, KE_BROKER, "nobody answers");
    }
    struct test_sender *sender = xcalloc(1, sizeof *sender);
    sender->base.ops = &test_sender_ops;
    sender->log = log;
    *out = &sender->base;
    return 0;
}

/* ---- Versions */

static uint64_t mix(uint64_t a, uint64_t b, uint64_t c)
{
    struct prng prng;
    prng_init(&prng, a * 1000003 + b * 10007 + c);
    (void)prng_next(&prng);
    return prng_next(&prng);
}

/* Messages of a record, per output. */
static uint32_t messages_of(uint32_t version, uint32_t source, int64_t offset, uint32_t output)
{
    return (uint32_t)(mix(version + 100 * output, source, (uint64_t)offset) % 4 / (1 + output));
}

static bool keyed(uint32_t source, int64_t offset, uint32_t seq)
{
    return mix(77, source, (uint64_t)offset + seq) % 3 != 0;
}

static void message_make(struct buf *out, uint32_t version, uint32_t source, int64_t offset,
                         uint32_t seq)
{
    char key[16];
    char value[64];
    (void)snprintf(key, sizeof key, "k%u", (unsigned)(mix(1, source, (uint64_t)offset) % 7));
    (void)snprintf(value, sizeof value, "v%u", version);
    struct kappa_record record = {.time_ms = offset,
                                  .key = (const uint8_t *)key,
                                  .key_len = u32_from(strlen(key)),
                                  .value = (const uint8_t *)value,
                                  .value_len = u32_from(strlen(value))};
    if (!keyed(source, offset, seq)) {
        record.key_len = KAPPA_NULL_LEN;
    }
    message_write(out, &record);
}

static void version_add(struct rig *rig)
{
    struct version *version = &rig->versions[rig->version_count++];
    assert_true(rig->version_count <= VERSIONS_MAX);
    *version = (struct version){.dir = xasprintf("%s/%u", rig->dir, rig->version_count)};
    for (uint32_t i = 0; i < SHARDS; i++) {
        char *path = xasprintf("%s/%u", version->dir, i);
        char *command = xasprintf("mkdir -p '%s'", path);
        assert_int_equal(system(command), 0); // NOLINT
        free(command);
        struct store_options options = {.dir = path, .output_count = OUTPUTS, .building = true};
        struct err err = {0};
        if (store_open(&options, &version->shards[i], &err) != 0) {
            fail_msg("%s", err.text);
        }
        free(path);
    }
}

static void put_record(struct store *store, uint32_t version, uint32_t source, int64_t offset)
{
    const struct kappa_change_sink *sink = store_sink(store);
    struct err err = {0};
    for (uint32_t output = 0; output < OUTPUTS; output++) {
        for (uint32_t seq = 0; seq < messages_of(version, source, offset, output); seq++) {
            struct buf message = {0};
            message_make(&message, version, source, offset, seq);
            assert_int_equal(
                sink->out(sink->ctx, output, source, offset, seq, message.data, message.len, &err),
                0);
            buf_free(&message);
        }
    }
}

/* Commits a shard up to these offsets. */
static void version_advance(struct rig *rig, uint32_t number, uint32_t shard, const int64_t *to)
{
    struct version *version = &rig->versions[number];
    struct store *store = version->shards[shard];
    struct err err = {0};
    assert_int_equal(store_begin(store, &err), 0);
    for (uint32_t source = shard; source < SOURCES; source += SHARDS) {
        for (int64_t offset = version->next[source]; offset < to[source]; offset++) {
            put_record(store, number, source, offset);
        }
        version->next[source] = i64_max(version->next[source], to[source]);
        struct kappa_source_state state = {.next_offset = version->next[source]};
        assert_int_equal(store_source_put(store, source, &state, &err), 0);
    }
    assert_int_equal(store_commit(store, &err), 0);
}

static void version_run(struct rig *rig, uint32_t number)
{
    int64_t to[SOURCES];
    for (uint32_t source = 0; source < SOURCES; source++) {
        to[source] = rig->versions[number].next[source] + (int64_t)prng_below(&rig->prng, 12);
    }
    version_advance(rig, number, (uint32_t)prng_below(&rig->prng, SHARDS), to);
}

/* ---- The sender */

static int die_at(void *ctx, const char *step)
{
    struct rig *rig = ctx;
    (void)step;
    if (rig->faults && prng_below(&rig->prng, 12) == 0) {
        rig->deaths++;
        return 1;
    }
    return 0;
}

static void sender_start(struct rig *rig)
{
    struct sender_source sources[SPANS_MAX][SOURCES];
    struct sender_span spans[SPANS_MAX];
    for (uint32_t i = 0; i < rig->span_count; i++) {
        for (uint32_t s = 0; s < SOURCES; s++) {
            sources[i][s] = (struct sender_source){
                .topic = "in",
                .identity = 42,
                .partition = s,
                .from = rig->span_from[i][s],
                .to = i + 1 < rig->span_count ? rig->span_from[i + 1][s] : INT64_MAX};
        }
        spans[i] = (struct sender_span){.dir = rig->versions[rig->span_version[i]].dir,
                                        .shards = SHARDS,
                                        .sources = sources[i],
                                        .source_count = SOURCES,
                                        .topics = outputs,
                                        .topic_count = OUTPUTS};
    }
    struct sender_options options = {.log = rig->log,
                                     .clock = &rig->clock,
                                     .dir = rig->dir,
                                     .name = NAME,
                                     .spans = spans,
                                     .span_count = rig->span_count,
                                     .fail_point = die_at,
                                     .fail_ctx = rig};
    sender_open(&options, &rig->sender);
}

/* In the processor's directory. */
static void run_command(const struct rig *rig, const char *what)
{
    char *command = xasprintf("cd '%s' && %s", rig->dir, what);
    assert_int_equal(system(command), 0); // NOLINT
    free(command);
}

/* What a crash of the system may leave of SENT. */
static void sent_damage(struct rig *rig)
{
    switch (prng_below(&rig->prng, 6)) {
    case 0:
        run_command(rig, "rm -f SENT");
        break;
    case 1:
        run_command(rig, "if [ -e SENT ]; then : > SENT; fi");
        break;
    default:
        break;
    }
}

static void sender_end(struct rig *rig)
{
    bool died = sender_died(rig->sender);
    sender_close(rig->sender);
    rig->sender = NULL;
    if (died) {
        sent_damage(rig);
    }
}

static void sender_run(struct rig *rig)
{
    rig->now_us += (int64_t)prng_below(&rig->prng, 400000);
    (void)sender_step(rig->sender);
    if (sender_died(rig->sender)) {
        sender_end(rig);
        sender_start(rig);
    }
}

/* The serving version gives up what is sent. */
static void trim(struct rig *rig)
{
    struct version *version = &rig->versions[rig->span_version[rig->span_count - 1]];
    int64_t positions[SOURCES];
    sender_positions(rig->sender, positions);
    for (uint32_t source = 0; source < SOURCES; source++) {
        struct store *store = version->shards[source % SHARDS];
        uint64_t gone = 0;
        struct err err = {0};
        assert_int_equal(store_begin(store, &err), 0);
        assert_int_equal(
            store_outbox_trim(store, source, positions[source], 0, UINT64_MAX, &gone, &err), 0);
        assert_int_equal(store_commit(store, &err), 0);
    }
}

/* A swap: both at one cut, the new one is real from there on. The old one goes on. */
static void swap(struct rig *rig, uint32_t to)
{
    uint32_t from = rig->span_version[rig->span_count - 1];
    int64_t cut[SOURCES];
    for (uint32_t source = 0; source < SOURCES; source++) {
        cut[source] = i64_max(rig->versions[from].next[source], rig->versions[to].next[source]);
    }
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        version_advance(rig, from, shard, cut);
        version_advance(rig, to, shard, cut);
    }
    rig->span_version[rig->span_count] = to;
    memcpy(rig->span_from[rig->span_count], cut, sizeof cut);
    rig->span_count++;
    sender_stop(rig->sender);
    version_run(rig, from); /* what comes after the cut is not real */
    assert_false(sender_step(rig->sender));
    sender_end(rig);
    sender_start(rig);
}

static void header_put(struct buf *headers, const char *name, const char *value)
{
    buf_append_u32_le(headers, u32_from(strlen(name)));
    buf_append_text(headers, name);
    buf_append_u32_le(headers, u32_from(strlen(value)));
    buf_append_text(headers, value);
}

/* Somebody else writes to our topics, even in our words; and corrections of what was sent, and of what
 * was not yet. */
static void foreign(struct rig *rig)
{
    struct log_writer *writer = NULL;
    struct err err = {0};
    struct buf header = {0};
    uint32_t output = (uint32_t)prng_below(&rig->prng, OUTPUTS);
    static const char *const names[] = {"alerts#0000 in:2a/0@99999.0.0", "nonsense",
                                        NAME " other/0@99999.0.0",       NAME " in:2b/1@5000.0.0",
                                        NAME " in:2a/0@5.1.0",           NAME " in:2a/1@99999.0.0"};
    size_t number = prng_below(&rig->prng, array_len(names));
    if (number >= 4) {
        header_put(&header, SENDER_CORRECTION, "2 replaced");
    }
    header_put(&header, SENDER_HEADER, names[number]);
    struct kappa_record record = {.time_ms = 5,
                                  .key_len = KAPPA_NULL_LEN,
                                  .value = (const uint8_t *)"foreign",
                                  .value_len = 7,
                                  .headers = header.data,
                                  .headers_len = u32_from(header.len)};
    assert_int_equal(rig->log->ops->writer_open(rig->log, outputs[output], &writer, &err), 0);
    assert_int_equal(writer->ops->append(writer, -1, &record, &err), 0);
    assert_int_equal(writer->ops->flush(writer, false, &err), 0);
    writer->ops->close(writer);
    buf_free(&header);
}

/* ---- The oracle */

struct seen {
    uint8_t *count[SOURCES]; /* per offset, output and seq */
    struct sender_place last[SOURCES];
};

#define OFFSETS_MAX               20000
#define SLOT(offset, output, seq) ((size_t)(offset)*8 + (output)*4 + (seq))

static uint32_t real_version(const struct rig *rig, uint32_t source, int64_t offset)
{
    uint32_t span = 0;
    while (span + 1 < rig->span_count && rig->span_from[span + 1][source] <= offset) {
        span++;
    }
    return rig->span_version[span];
}

static void check_record(struct rig *rig, struct seen *seen, struct sender_place *last,
                         uint32_t output, uint32_t partition, const struct kappa_record *record)
{
    struct sender_name name;
    if (record->value_len == 7) {
        return; /* foreign */
    }
    assert_true(sender_name_find(record, &name));
    assert_int_equal(name.identity, 42);
    assert_int_equal(name.place.output, output);
    assert_true(name.place.offset < OFFSETS_MAX);
    uint32_t s = name.partition;
    uint32_t version = real_version(rig, s, name.place.offset);
    char value[16];
    (void)snprintf(value, sizeof value, "v%u", version);
    assert_int_equal(record->value_len, strlen(value));
    assert_memory_equal(record->value, value, record->value_len);
    assert_int_equal(record->time_ms, name.place.offset);
    assert_true(name.place.seq < messages_of(version, s, name.place.offset, output));
    bool has_key = keyed(s, name.place.offset, name.place.seq);
    assert_int_equal(record->key_len != KAPPA_NULL_LEN, has_key);
    assert_int_equal(partition, has_key ? log_partition_of_key(record->key, record->key_len,
                                                               output_partitions[output])
                                        : s % output_partitions[output]);
    assert_true(sender_place_order(&name.place, &last[s]) > 0);
    last[s] = name.place;
    seen->count[s][SLOT(name.place.offset, output, name.place.seq)]++;
}

static void read_topic(struct rig *rig, struct seen *seen, uint32_t output)
{
    for (uint32_t p = 0; p < output_partitions[output]; p++) {
        struct sender_place last[SOURCES];
        struct log_reader *reader = NULL;
        struct err err = {0};
        struct log_batch batch = {.at_end = false};
        for (uint32_t s = 0; s < SOURCES; s++) {
            last[s] = (struct sender_place){.offset = -1};
        }
        assert_int_equal(rig->log->ops->reader_open(rig->log, "check", &reader, &err), 0);
        assert_int_equal(reader->ops->add(reader, 0, outputs[output], p, 0, &err), 0);
        while (!batch.none && !batch.at_end) {
            assert_int_equal(reader->ops->next(reader, 0, 100, &batch, &err), 0);
            for (uint32_t i = 0; !batch.none && i < batch.count; i++) {
                check_record(rig, seen, last, output, p, &batch.records[i]);
            }
        }
        reader->ops->close(reader);
    }
}

static void check(struct rig *rig)
{
    struct seen seen;
    const struct version *serving = &rig->versions[rig->span_version[rig->span_count - 1]];
    uint64_t total = 0;
    for (uint32_t s = 0; s < SOURCES; s++) {
        seen.count[s] = xcalloc(OFFSETS_MAX, 8);
    }
    for (uint32_t output = 0; output < OUTPUTS; output++) {
        read_topic(rig, &seen, output);
    }
    for (uint32_t s = 0; s < SOURCES; s++) {
        for (int64_t offset = 0; offset < OFFSETS_MAX; offset++) {
            uint32_t version = real_version(rig, s, offset);
            for (uint32_t output = 0; output < OUTPUTS; output++) {
                for (uint32_t seq = 0; seq < 4; seq++) {
                    uint32_t made = offset >= rig->span_from[0][s] && offset < serving->next[s]
                                        ? messages_of(version, s, offset, output)
                                        : 0;
                    uint32_t wanted = seq < made ? 1 : 0;
                    uint32_t got = seen.count[s][SLOT(offset, output, seq)];
                    if (got != wanted) {
                        fail_msg("source %u offset %lld output %u seq %u: %u times, wanted %u", s,
                                 (long long)offset, output, seq, got, wanted);
                    }
                    total += got;
                }
            }
        }
        free(seen.count[s]);
    }
    struct sender_status status;
    sender_status(rig->sender, &status);
    (void)printf("%llu messages, %u spans, %u deaths, %u cut commits\n", (unsigned long long)total,
                 rig->span_count, rig->deaths, rig->partial);
}

/* ---- Runs */

static int64_t rig_now(void *ctx)
{
    struct rig *rig = ctx;
    return rig->now_us += 20;
}

static struct rig *rig_new(uint64_t seed)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    struct err err = {0};
    the_rig = rig;
    prng_init(&rig->prng, seed);
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/kappa-sender-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    assert_int_equal(log_open_memory(&rig->log, &err), 0);
    rig->ops = *rig->log->ops;
    rig->ops.sender_open = test_sender_open;
    rig->log->ops = &rig->ops;
    rig->now_us = 1000000;
    rig->clock = (struct clock_ops){.ctx = rig, .mono_us = rig_now, .wall_ms = rig_now};
    for (uint32_t i = 0; i < OUTPUTS; i++) {
        struct log_topic_options options = {
            .partitions = output_partitions[i], .retain_ms = -1, .retain_bytes = -1};
        assert_int_equal(rig->log->ops->topic_create(rig->log, outputs[i], &options, &err), 0);
    }
    version_add(rig);
    for (uint32_t s = 0; s < SOURCES; s++) {
        rig->versions[0].next[s] = (int64_t)prng_below(&rig->prng, 10); /* its start */
        rig->span_from[0][s] = rig->versions[0].next[s];
    }
    rig->span_count = 1;
    sender_start(rig);
    return rig;
}

static void rig_free(struct rig *rig)
{
    sender_close(rig->sender);
    for (uint32_t i = 0; i < rig->version_count; i++) {
        for (uint32_t k = 0; k < SHARDS; k++) {
            store_close(rig->versions[i].shards[k]);
        }
        free(rig->versions[i].dir);
    }
    rig->log->ops->close(rig->log);
    run_command(rig, "rm -rf ../\"${PWD##*/}\"");
    free(rig);
}

/* Until nothing is left to send. */
static void drain(struct rig *rig)
{
    rig->faults = false;
    for (int i = 0; i < 300; i++) {
        rig->now_us += 100000;
        (void)sender_step(rig->sender);
    }
    struct sender_status status;
    sender_status(rig->sender, &status);
    if (status.trouble.code != 0 || !status.sending) {
        fail_msg("not sending: %s", status.trouble.text);
    }
}

static void act(struct rig *rig)
{
    uint32_t serving = rig->span_version[rig->span_count - 1];
    uint64_t dice = prng_below(&rig->prng, 100);
    if (dice < 45) {
        sender_run(rig);
    } else if (dice < 75) {
        version_run(rig, serving);
    } else if (dice < 90) {
        version_run(rig, (uint32_t)prng_below(&rig->prng, rig->version_count));
    } else if (dice < 93) {
        foreign(rig);
    } else if (dice < 97) {
        trim(rig);
    } else if (dice < 98 && rig->version_count < VERSIONS_MAX) {
        version_add(rig);
    } else if (rig->version_count > 1 && rig->span_count < SPANS_MAX) {
        uint32_t to = (uint32_t)prng_below(&rig->prng, rig->version_count);
        if (to != serving) {
            swap(rig, to);
        }
    }
}

static void run(uint64_t seed, bool faults)
{
    struct rig *rig = rig_new(seed);
    rig->faults = faults;
    for (int i = 0; i < 400; i++) {
        act(rig);
    }
    drain(rig);
    check(rig);
    rig_free(rig);
}

static void test_without_faults(void **state)
{
    (void)state;
    run(unit_seed("sender"), false);
}

static void test_with_faults(void **state)
{
    (void)state;
    uint64_t seed = unit_seed("sender, faults");
    for (uint64_t i = 0; i < 12; i++) {
        run(seed + i, true);
    }
}

/* A clean SENT spares the reading of the topic; an unclean one whose tail is gone stops the sender,
 * and removing it goes on with what is left. */
static void test_tail_lost(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1);
    struct sender_status status;
    version_run(rig, 0);
    version_run(rig, 0);
    drain(rig);
    sender_end(rig); /* clean */
    for (uint32_t i = 0; i < OUTPUTS; i++) {
        for (uint32_t p = 0; p < output_partitions[i]; p++) {
            int64_t start = 0;
            int64_t end = 0;
            foreign(rig);
            assert_int_equal(rig->log->ops->offsets(rig->log, outputs[i], p, &start, &end, NULL),
                             0);
            log_memory_trim(rig->log, outputs[i], p, end);
        }
    }
    sender_start(rig);
    drain(rig); /* it works: SENT was clean */
    sender_end(rig);
    run_command(rig, "sed -i 's/\"clean\":true/\"clean\":false/' SENT");
    for (uint32_t i = 0; i < 20; i++) {
        foreign(rig);
    }
    for (uint32_t p = 0; p < output_partitions[0]; p++) {
        int64_t start = 0;
        int64_t end = 0;
        assert_int_equal(rig->log->ops->offsets(rig->log, outputs[0], p, &start, &end, NULL), 0);
        log_memory_trim(rig->log, outputs[0], p, end);
    }
    sender_start(rig);
    for (int i = 0; i < 20; i++) {
        rig->now_us += 1000000;
        (void)sender_step(rig->sender);
    }
    sender_status(rig->sender, &status);
    assert_int_equal(status.trouble.code, -KE_RANGE_LOST);
    sender_end(rig);
    run_command(rig, "rm SENT");
    sender_start(rig);
    drain(rig);
    rig_free(rig);
}

/* Times in a partition of a topic: the sum of records, and how often one is below the one before. */
static void count_steps_back(struct rig *rig, uint32_t output, uint32_t partition,
                             uint32_t *records, uint32_t *back)
{
    struct log_reader *reader = NULL;
    struct err err = {0};
    struct log_batch batch = {.at_end = false};
    int64_t last = INT64_MIN;
    uint32_t last_source = 0;
    assert_int_equal(rig->log->ops->reader_open(rig->log, "check", &reader, &err), 0);
    assert_int_equal(reader->ops->add(reader, 0, outputs[output], partition, 0, &err), 0);
    while (!batch.none && !batch.at_end) {
        assert_int_equal(reader->ops->next(reader, 0, 100, &batch, &err), 0);
        for (uint32_t i = 0; !batch.none && i < batch.count; i++, ++*records) {
            struct sender_name name;
            assert_true(sender_name_find(&batch.records[i], &name));
            int64_t time = batch.records[i].time_ms;
            *back += time < last || (time == last && name.partition < last_source);
            last = time;
            last_source = name.partition;
        }
    }
    reader->ops->close(reader);
}

/* What lies in the outboxes when sending begins leaves by time, of equal times by source, although
 * there is very much more of one source than of another, and the sender dies on the way. */
static void test_merged_by_time(void **state)
{
    (void)state;
    struct rig *rig = rig_new(unit_seed("sender, merge"));
    int64_t to[SOURCES] = {16000, 3000, 9000};
    uint32_t records = 0;
    uint32_t back = 0;
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        version_advance(rig, 0, shard, to);
    }
    for (int i = 0; i < 6; i++) {
        (void)sender_step(rig->sender);
    }
    sender_abandon(rig->sender);
    sender_start(rig);
    drain(rig);
    for (uint32_t output = 0; output < OUTPUTS; output++) {
        for (uint32_t p = 0; p < output_partitions[output]; p++) {
            count_steps_back(rig, output, p, &records, &back);
        }
    }
    assert_true(records > 30000);
    assert_int_equal(back, 0);
    check(rig);
    rig_free(rig);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "a",
                                      "a b",
                                      "a b/1@2.3",
                                      "a b/1@2.3.x",
                                      "ab/1@2.3.4",
                                      "a b/-1@2.3.4",
                                      "a b/1@2.3.",
                                      "a b/1@2.3.9999999999",
                                      "a b:zz/1@2.3.4",
                                      "a b/1@99999999999999999999.1.1"};
    struct prng prng;
    prng_init(&prng, unit_seed("names"));
    struct sender_name name;
    for (size_t i = 0; i < array_len(bad); i++) {
        assert_false(sender_name_read(bad[i], strlen(bad[i]), &name));
    }
    for (int i = 0; i < 1000; i++) {
        struct buf text = {0};
        struct sender_place place = {(int64_t)(prng_next(&prng) >> 1), (uint32_t)prng_next(&prng),
                                     (uint32_t)prng_next(&prng)};
        uint64_t identity = prng_below(&prng, 2) ? prng_next(&prng) : 0;
        uint32_t partition = (uint32_t)prng_next(&prng);
        sender_name_write(&text, "p#1", "to.pic-1", identity, partition, &place);
        assert_true(sender_name_read(buf_text(&text), text.len, &name));
        assert_int_equal(name.sender_len, 3);
        assert_int_equal(name.topic_len, 8);
        assert_memory_equal(name.topic, "to.pic-1", 8);
        assert_true(name.identity == identity);
        assert_int_equal(name.partition, partition);
        assert_int_equal(sender_place_order(&name.place, &place), 0);
        buf_free(&text);
    }
}

/* The object "outbox": what is whole is taken, anything else refused. */
static void test_outbox_object(void **state)
{
    (void)state;
    static const char good[] =
        "{\"name\":\"p#1\",\"dir\":\"/d\",\"spans\":[{\"epoch\":3,\"dir\":\"/d/1\",\"shards\":2,"
        "\"inputs\":[{\"topic\":\"a\",\"identity\":7,\"partitions\":2},{\"topic\":\"b\","
        "\"partitions\":1}],\"topics\":[\"x\"],\"from\":[5,6,7],\"to\":null}]}";
    static const char *const damage[][2] = {
        {"\"name\":\"p#1\",", ""},
        {"\"shards\":2", "\"shards\":0"},
        {"[5,6,7]", "[5,6]"},
        {"\"to\":null", "\"to\":[1]"},
        {"[\"x\"]", "[3]"},
        {"\"partitions\":1", "\"partitions\":-1"},
        {"\"spans\":[{", "\"spans\":[],\"other\":[{"},
    };
    struct worker_outbox outbox;
    struct err err = {0};
    json_t *object = json_parse(good, strlen(good), &err);
    assert_non_null(object);
    assert_int_equal(worker_outbox_parse(object, &outbox, &err), 0);
    json_decref(object);
    assert_int_equal(outbox.span_count, 1);
    assert_int_equal(outbox.epochs[0], 3);
    assert_int_equal(outbox.spans[0].source_count, 3);
    const struct sender_source *last = &outbox.spans[0].sources[2];
    assert_string_equal(last->topic, "b");
    assert_int_equal(last->partition, 0);
    assert_int_equal(last->from, 7);
    assert_true(last->to == INT64_MAX);
    assert_int_equal(outbox.spans[0].sources[1].identity, 7);
    worker_outbox_free(&outbox);
    for (size_t i = 0; i < array_len(damage); i++) {
        const char *at = strstr(good, damage[i][0]);
        assert_non_null(at);
        char *bad =
            xasprintf("%.*s%s%s", (int)(at - good), good, damage[i][1], at + strlen(damage[i][0]));
        object = json_parse(bad, strlen(bad), &err);
        assert_non_null(object);
        assert_int_equal(worker_outbox_parse(object, &outbox, &err), -KE_INVALID);
        json_decref(object);
        free(bad);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),          cmocka_unit_test(test_outbox_object),
        cmocka_unit_test(test_without_faults), cmocka_unit_test(test_with_faults),
        cmocka_unit_test(test_tail_lost),      cmocka_unit_test(test_merged_by_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
