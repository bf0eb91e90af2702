/* Goal: a mark in a topic is true: behind it comes no message of a partition that is waited for with an
 * earlier time, whatever dies whenever and whatever is left of SENT; the last one is as late as it can
 * be; a partition that is silent for long is passed, and only when the log says that it holds no more.
 * Method: a store gets messages whose times ascend in each source, at another pace for each; commits,
 * steps of the sender, deaths and lost SENT files come in random order. The topic is read back:
 * messages and marks of each partition are judged in their order by what was made. The clock is the
 * test's. KAPPA_SEED repeats a run. */
#include "base/prng.h"
#include "include/kappa/message.h"
#include "log/log_memory.h"
#include "replayer/sender.h"
#include "replayer/sender_name.h"
#include "table/store.h"
#include "tests/unit/unit.h"

#include <string.h>

#define SOURCES    3
#define PARTITIONS 2
#define IDLE_US    5000000

struct rig {
    struct prng prng;
    struct log *log;
    struct log_writer *input;
    char dir[40];
    int64_t now_us;
    struct clock_ops clock;
    struct store *store;
    int64_t next[SOURCES];
    int64_t base[SOURCES];
    int64_t idle_us;
    struct sender *sender;
    bool faults;
    uint32_t deaths;
};

static int64_t time_of(const struct rig *rig, uint32_t source, int64_t offset)
{
    return 1000000 + rig->base[source] + offset * (7 + 5 * source);
}

/* ---- What is sent */

static void input_append(struct rig *rig, uint32_t source)
{
    struct err err = {0};
    struct kappa_record record = {
        .time_ms = 1, .key_len = KAPPA_NULL_LEN, .value = (const uint8_t *)"r", .value_len = 1};
    assert_int_equal(rig->input->ops->append(rig->input, (int32_t)source, &record, &err), 0);
    assert_int_equal(rig->input->ops->flush(rig->input, false, &err), 0);
}

static void message_put(struct rig *rig, uint32_t source, int64_t offset)
{
    const struct kappa_change_sink *sink = store_sink(rig->store);
    struct err err = {0};
    struct buf out = {0};
    char key[16];
    int len = snprintf(key, sizeof key, "k%d", (int)(offset * 7 % 11));
    buf_append_u64_le(&out, (uint64_t)time_of(rig, source, offset));
    buf_append_u32_le(&out, (uint32_t)len);
    buf_append_u32_le(&out, 1);
    buf_append_u32_le(&out, 0);
    buf_append(&out, key, (size_t)len);
    buf_append_text(&out, "v");
    assert_int_equal(sink->out(sink->ctx, 0, source, offset, 0, out.data, out.len, &err), 0);
    buf_free(&out);
}

/* Commits records of a source; the log holds them. */
static void advance(struct rig *rig, uint32_t source, int64_t count)
{
    struct err err = {0};
    assert_int_equal(store_begin(rig->store, &err), 0);
    for (int64_t i = 0; i < count; i++, rig->next[source]++) {
        input_append(rig, source);
        if (rig->next[source] % 5 != 3) { /* some records make no message */
            message_put(rig, source, rig->next[source]);
        }
    }
    struct kappa_source_state state = {.next_offset = rig->next[source]};
    assert_int_equal(store_source_put(rig->store, source, &state, &err), 0);
    assert_int_equal(store_commit(rig->store, &err), 0);
}

/* The largest time of a source's messages; KAPPA_NO_TIME: there is none. */
static int64_t largest(const struct rig *rig, uint32_t source)
{
    int64_t last = rig->next[source] - 1;
    if (last % 5 == 3) {
        last--;
    }
    return last < 0 ? KAPPA_NO_TIME : time_of(rig, source, last);
}

/* ---- The sender */

static int die_at(void *ctx, const char *step)
{
    struct rig *rig = ctx;
    (void)step;
    bool dies = rig->faults && prng_below(&rig->prng, 10) == 0;
    rig->deaths += dies;
    return dies;
}

static void sender_start(struct rig *rig)
{
    static const char *const outputs[] = {"out"};
    static const bool feeds[SOURCES] = {true, true, true};
    char *dir = xasprintf("%s/1", rig->dir);
    struct sender_source sources[SOURCES];
    struct sender_marks marks = {.on = true, .idle_us = rig->idle_us, .feeds = feeds};
    for (uint32_t s = 0; s < SOURCES; s++) {
        sources[s] = (struct sender_source){.topic = "in", .partition = s, .to = INT64_MAX};
    }
    struct sender_span span = {.dir = dir,
                               .shards = 1,
                               .sources = sources,
                               .source_count = SOURCES,
                               .topics = outputs,
                               .topic_count = 1};
    struct sender_options options = {.log = rig->log,
                                     .clock = &rig->clock,
                                     .dir = rig->dir,
                                     .name = "p#1",
                                     .spans = &span,
                                     .span_count = 1,
                                     .marks = &marks,
                                     .fail_point = die_at,
                                     .fail_ctx = rig};
    sender_open(&options, &rig->sender);
    free(dir);
}

static void shell(const struct rig *rig, const char *what)
{
    char *command = xasprintf("cd '%s' && %s", rig->dir, what);
    assert_int_equal(system(command), 0); // NOLINT
    free(command);
}

static void step(struct rig *rig)
{
    (void)sender_step(rig->sender);
    if (sender_died(rig->sender)) {
        sender_close(rig->sender);
        if (prng_below(&rig->prng, 4) == 0) {
            shell(rig, "rm -f SENT");
        }
        sender_start(rig);
    }
}

/* For so long, and until nothing is left to do. */
static void pass(struct rig *rig, int64_t us)
{
    for (int64_t until = rig->now_us + us; rig->now_us < until;) {
        rig->now_us += 50000;
        step(rig);
    }
}

/* The outbox gives up what is sent. */
static void trim(struct rig *rig)
{
    int64_t positions[SOURCES];
    uint64_t gone = 0;
    struct err err = {0};
    sender_positions(rig->sender, positions);
    assert_int_equal(store_begin(rig->store, &err), 0);
    for (uint32_t s = 0; s < SOURCES; s++) {
        assert_int_equal(store_outbox_trim(rig->store, s, positions[s], 0, UINT64_MAX, &gone, &err),
                         0);
    }
    assert_int_equal(store_commit(rig->store, &err), 0);
}

static int64_t rig_now(void *ctx)
{
    return ++((struct rig *)ctx)->now_us;
}

static void topic_make(struct rig *rig, const char *name, uint32_t partitions)
{
    struct err err = {0};
    struct log_topic_options options = {
        .partitions = partitions, .retain_ms = -1, .retain_bytes = -1};
    assert_int_equal(rig->log->ops->topic_create(rig->log, name, &options, &err), 0);
}

static struct rig *rig_new(uint64_t seed, int64_t idle_us)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    struct err err = {0};
    prng_init(&rig->prng, seed);
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/kappa-marks-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    shell(rig, "mkdir -p 1/0");
    char *path = xasprintf("%s/1/0", rig->dir);
    struct store_options options = {.dir = path, .output_count = 1, .building = true};
    assert_int_equal(store_open(&options, &rig->store, &err), 0);
    free(path);
    assert_int_equal(log_open_memory(&rig->log, &err), 0);
    topic_make(rig, "in", SOURCES);
    topic_make(rig, "out", PARTITIONS);
    assert_int_equal(rig->log->ops->writer_open(rig->log, "in", &rig->input, &err), 0);
    rig->now_us = 1000000;
    rig->clock = (struct clock_ops){.ctx = rig, .mono_us = rig_now, .wall_ms = rig_now};
    rig->idle_us = idle_us;
    for (uint32_t s = 0; s < SOURCES; s++) {
        rig->base[s] = (int64_t)prng_below(&rig->prng, 3000);
    }
    sender_start(rig);
    return rig;
}

static void rig_free(struct rig *rig)
{
    sender_close(rig->sender);
    store_close(rig->store);
    rig->input->ops->close(rig->input);
    rig->log->ops->close(rig->log);
    shell(rig, "rm -rf ../\"${PWD##*/}\"");
    free(rig);
}

/* ---- The oracle */

struct seen {
    uint64_t messages;
    uint64_t marks;
    int64_t last[PARTITIONS]; /* the largest mark of each partition */
};

static int64_t mark_of(const struct kappa_record *record)
{
    char text[32] = {0};
    uint32_t name_len = load_u32_le(record->headers);
    assert_int_equal(name_len, sizeof KAPPA_MESSAGE_MARK - 1);
    assert_memory_equal(record->headers + 4, KAPPA_MESSAGE_MARK, name_len);
    uint32_t len = load_u32_le(record->headers + 4 + name_len);
    assert_true(len < sizeof text);
    assert_int_equal(record->headers_len, 8 + name_len + len);
    memcpy(text, record->headers + 8 + name_len, len);
    int64_t mark = strtoll(text, NULL, 10);
    assert_int_equal(record->key_len, KAPPA_NULL_LEN);
    assert_int_equal(record->time_ms, mark);
    return mark;
}

/* late: sources that may be behind a mark. */
static void judge(const struct rig *rig, const struct kappa_record *record, uint32_t partition,
                  const bool *late, struct seen *seen)
{
    if (record->value_len == KAPPA_NULL_LEN) {
        seen->last[partition] = i64_max(seen->last[partition], mark_of(record));
        seen->marks++;
        return;
    }
    struct sender_name name;
    assert_true(sender_name_find(record, &name));
    assert_int_equal(record->time_ms, time_of(rig, name.partition, name.place.offset));
    if (record->time_ms < seen->last[partition] && !late[name.partition]) {
        fail_msg("partition %u: source %u offset %lld has time %lld, behind the mark %lld",
                 partition, name.partition, (long long)name.place.offset,
                 (long long)record->time_ms, (long long)seen->last[partition]);
    }
    seen->messages++;
}

static struct seen check(const struct rig *rig, const bool *late)
{
    struct seen seen = {.messages = 0};
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct log_reader *reader = NULL;
        struct log_batch batch = {.at_end = false};
        struct err err = {0};
        seen.last[p] = KAPPA_NO_TIME;
        assert_int_equal(rig->log->ops->reader_open(rig->log, "check", &reader, &err), 0);
        assert_int_equal(reader->ops->add(reader, 0, "out", p, 0, &err), 0);
        while (!batch.none && !batch.at_end) {
            assert_int_equal(reader->ops->next(reader, 0, 100, &batch, &err), 0);
            for (uint32_t i = 0; !batch.none && i < batch.count; i++) {
                judge(rig, &batch.records[i], p, late, &seen);
            }
        }
        reader->ops->close(reader);
    }
    uint64_t made = 0;
    for (uint32_t s = 0; s < SOURCES; s++) {
        made += (uint64_t)(rig->next[s] - (rig->next[s] + 1) / 5);
    }
    assert_int_equal(seen.messages, made);
    return seen;
}

static int64_t least_of(const struct rig *rig)
{
    int64_t least = INT64_MAX;
    for (uint32_t s = 0; s < SOURCES; s++) {
        least = i64_min(least, largest(rig, s));
    }
    return least;
}

/* ---- Runs */

static const bool nobody[SOURCES] = {false, false, false};

static void run(uint64_t seed)
{
    struct rig *rig = rig_new(seed, -1);
    rig->faults = true;
    for (int i = 0; i < 300; i++) {
        uint64_t dice = prng_below(&rig->prng, 10);
        rig->now_us += (int64_t)prng_below(&rig->prng, 100000);
        if (dice < 3) {
            advance(rig, (uint32_t)prng_below(&rig->prng, SOURCES),
                    (int64_t)prng_below(&rig->prng, 30));
        } else if (dice < 4) {
            trim(rig);
        } else {
            step(rig);
        }
    }
    rig->faults = false;
    pass(rig, 10000000);
    struct seen seen = check(rig, nobody);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_int_equal(seen.last[p], least_of(rig));
    }
    assert_true(seen.marks > 10);
    (void)printf("%llu messages, %llu marks, %u deaths\n", (unsigned long long)seen.messages,
                 (unsigned long long)seen.marks, rig->deaths);
    rig_free(rig);
}

static void test_random(void **state)
{
    (void)state;
    uint64_t seed = unit_seed("marks");
    for (uint64_t i = 0; i < 12; i++) {
        run(seed + i);
    }
}

/* A partition from which nothing came holds the marks up; with `idle` it does so only for a while; and
 * when all are silent, the largest time has passed. */
static void test_idle(void **state)
{
    (void)state;
    for (int with = 0; with < 2; with++) {
        struct rig *rig = rig_new(unit_seed("idle"), with ? IDLE_US : -1);
        for (int i = 0; i < 20; i++) {
            advance(rig, 0, 10);
            advance(rig, 1, 10);
            pass(rig, 200000);
        }
        struct seen seen = check(rig, nobody);
        assert_int_equal(seen.marks, 0);
        for (int i = 0; i < 20; i++) {
            advance(rig, 0, 10);
            advance(rig, 1, 10);
            pass(rig, 300000);
        }
        pass(rig, 300000);
        seen = check(rig, nobody);
        assert_int_equal(seen.marks > 10, with);
        assert_int_equal(seen.last[0] == i64_min(largest(rig, 0), largest(rig, 1)), with);
        pass(rig, 2 * IDLE_US);
        seen = check(rig, nobody);
        assert_int_equal(seen.last[0] == i64_max(largest(rig, 0), largest(rig, 1)), with);
        assert_true(seen.last[0] == seen.last[1]);
        /* It comes back, behind what was said when all were silent, and holds up again. */
        const bool late[SOURCES] = {with, with, with};
        int64_t before = seen.last[0];
        advance(rig, 2, 3);
        pass(rig, 1000000);
        advance(rig, 0, 1000);
        advance(rig, 1, 1000);
        pass(rig, 1000000);
        seen = check(rig, late);
        assert_int_equal(seen.last[0], i64_max(before, largest(rig, 2)));
        rig_free(rig);
    }
}

/* What lies in the log and was not read yet is no silence. */
static void test_unread(void **state)
{
    (void)state;
    struct rig *rig = rig_new(unit_seed("unread"), IDLE_US);
    advance(rig, 0, 10);
    advance(rig, 1, 10);
    input_append(rig, 2); /* the version has not applied it */
    pass(rig, 4 * IDLE_US);
    struct seen seen = check(rig, nobody);
    assert_int_equal(seen.marks, 0);
    struct err err = {0};
    assert_int_equal(store_begin(rig->store, &err), 0);
    message_put(rig, 2, 0);
    struct kappa_source_state at = {.next_offset = 1};
    assert_int_equal(store_source_put(rig->store, 2, &at, &err), 0);
    assert_int_equal(store_commit(rig->store, &err), 0);
    rig->next[2] = 1;
    pass(rig, 1000000);
    seen = check(rig, nobody);
    assert_true(seen.last[0] != KAPPA_NO_TIME);
    pass(rig, 4 * IDLE_US);
    seen = check(rig, nobody);
    int64_t most = i64_max(i64_max(largest(rig, 0), largest(rig, 1)), largest(rig, 2));
    assert_int_equal(seen.last[0], most);
    rig_free(rig);
}

/* A sender that begins knows from SENT, or from the topic, what the one before it had sent. */
static void test_restart(void **state)
{
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        struct rig *rig = rig_new(unit_seed("restart"), -1);
        rig->base[2] = 100000; /* ahead of the others */
        for (uint32_t s = 0; s < SOURCES; s++) {
            advance(rig, s, 50);
        }
        pass(rig, 3000000);
        trim(rig);
        sender_close(rig->sender);
        if (lost) {
            shell(rig, "rm SENT");
        }
        sender_start(rig);
        int64_t before = least_of(rig);
        for (uint32_t s = 0; s + 1 < SOURCES; s++) {
            advance(rig, s, 500);
        }
        pass(rig, 2000000); /* source 2 has sent nothing since */
        struct seen seen = check(rig, nobody);
        assert_true(least_of(rig) > before);
        assert_int_equal(seen.last[0], least_of(rig));
        rig_free(rig);
    }
}

static void publish(struct rig *rig, struct log_writer *writer, int64_t offset, const char *key)
{
    struct err err = {0};
    struct buf name = {0};
    struct buf headers = {0};
    sender_name_write(&name, "p#1", "in", 0, 0, &(struct sender_place){.offset = offset});
    buf_append_u32_le(&headers, sizeof SENDER_HEADER - 1);
    buf_append_text(&headers, SENDER_HEADER);
    buf_append_u32_le(&headers, u32_from(name.len));
    buf_append(&headers, name.data, name.len);
    struct kappa_record record = {.time_ms = time_of(rig, 0, offset),
                                  .key = (const uint8_t *)key,
                                  .key_len = u32_from(strlen(key)),
                                  .value = (const uint8_t *)"v",
                                  .value_len = 1,
                                  .headers = headers.data,
                                  .headers_len = u32_from(headers.len)};
    assert_int_equal(writer->ops->append(writer, 0, &record, &err), 0);
    buf_free(&name);
    buf_free(&headers);
}

/* As commits leave it that were cut off between partitions: source 0's messages below `to` are in
 * partition 0, and not in the other. */
static void publish_ahead(struct rig *rig, int64_t to)
{
    struct log_writer *writer = NULL;
    struct err err = {0};
    assert_int_equal(rig->log->ops->writer_open(rig->log, "out", &writer, &err), 0);
    for (int64_t offset = 0; offset < to; offset++) {
        char key[16];
        int len = snprintf(key, sizeof key, "k%d", (int)(offset * 7 % 11));
        if (offset % 5 != 3 &&
            log_partition_of_key((const uint8_t *)key, (size_t)len, PARTITIONS) == 0) {
            publish(rig, writer, offset, key);
        }
    }
    assert_int_equal(writer->ops->flush(writer, false, &err), 0);
    writer->ops->close(writer);
}

/* What was found says which time has passed only when all before it has left, too. */
static void test_found_ahead(void **state)
{
    (void)state;
    struct rig *rig = rig_new(unit_seed("ahead"), -1);
    rig->base[1] = 1000000;
    rig->base[2] = 1000000;
    advance(rig, 1, 2);
    advance(rig, 2, 2);
    pass(rig, 1000000);
    sender_close(rig->sender);
    shell(rig, "sed -i 's/\"clean\":true/\"clean\":false/' SENT");
    advance(rig, 0, 25001); /* several rounds */
    publish_ahead(rig, 25001);
    sender_start(rig);
    for (int i = 0; i < 10; i++) {
        rig->now_us += 300000; /* a mark behind each round */
        step(rig);
    }
    struct seen seen = check(rig, nobody);
    assert_int_equal(seen.last[0], largest(rig, 0));
    assert_true(seen.marks > PARTITIONS);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),      cmocka_unit_test(test_idle),
        cmocka_unit_test(test_unread),      cmocka_unit_test(test_restart),
        cmocka_unit_test(test_found_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
