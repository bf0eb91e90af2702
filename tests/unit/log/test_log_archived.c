/* Goal: a log with its archive gives every record that either has, once, in order, and says so when
 * neither has it; a log that is not the one that was archived is noticed; the archiver keeps up and
 * goes on where it ended.
 * Method: a log in memory whose records are a function of partition and offset, archives made of it
 * whose files are removed and damaged at random, and readers from anywhere. */
#include "tests/unit/log/log_test.h"

#include "base/clock.h"
#include "log/archive_topic.h"
#include "log/archiver.h"
#include "log/segment_name.h"

#include <unistd.h>

#define TOPIC      "clicks"
#define PARTITIONS 3

struct world {
    char dir[64];
    struct prng prng;
    struct log *base; /* owned by `log` */
    struct log *log;
    int64_t end[PARTITIONS];
    int64_t start[PARTITIONS]; /* of the base */
};

/* ---- Records */

/* Offsets that no record has. */
static bool is_hole(uint32_t partition, int64_t offset)
{
    return (offset * 7 + partition) % 11 == 3;
}

static void make_value(uint32_t partition, int64_t offset, char *value, size_t size)
{
    (void)snprintf(value, size, "%u:%" PRId64 ":%.*s", partition, offset, (int)(offset % 60),
                   "abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc");
}

static void append_to(struct world *world, uint32_t partition, int64_t end)
{
    for (int64_t offset = world->end[partition]; offset < end; offset++) {
        if (!is_hole(partition, offset)) {
            char value[100];
            make_value(partition, offset, value, sizeof value);
            struct kappa_record record = text_record("k", value, 1000 + offset * 10);
            record.offset = offset;
            log_memory_append(world->base, TOPIC, partition, &record);
        }
    }
    log_memory_skip_to(world->base, TOPIC, partition, end);
    world->end[partition] = i64_max(world->end[partition], end);
}

/* The batch is what comes next in the partition. */
static int64_t check_batch(const struct log_batch *batch, uint32_t partition, int64_t next)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct kappa_record *record = &batch->records[i];
        char value[100];
        for (; is_hole(partition, next); next++) {
        }
        make_value(partition, next, value, sizeof value);
        assert_int_equal(record->offset, next);
        assert_int_equal(record->time_ms, 1000 + next * 10);
        assert_int_equal(record->value_len, strlen(value));
        assert_memory_equal(record->value, value, record->value_len);
        next++;
    }
    for (; next < batch->next_offset; next++) {
        assert_true(is_hole(partition, next));
    }
    assert_int_equal(next, batch->next_offset);
    return next;
}

/* ---- A world */

static void world_open(struct world *world, const char *test)
{
    const struct log_topic_options options = {PARTITIONS, -1, -1, 0};
    memset(world->end, 0, sizeof world->end);
    memset(world->start, 0, sizeof world->start);
    temp_dir(world->dir, sizeof world->dir);
    if (test != NULL) {
        prng_init(&world->prng, unit_seed(test));
    }
    OK(log_open_memory(&world->base, &test_err));
    OK(world->base->ops->topic_create(world->base, TOPIC, &options, &test_err));
    world->log = log_open_archived(world->dir, world->base);
}

static void world_close(struct world *world)
{
    world->log->ops->close(world->log);
    remove_tree(world->dir);
}

static void settings_store(const struct world *world, bool on)
{
    struct archive_topic settings = {.partitions = PARTITIONS, .on = on, .retain = {-1, -1}};
    OK(world->base->ops->topic_identity(world->base, TOPIC, &settings.identity, &test_err));
    OK(archive_topic_store(world->dir, TOPIC, &settings, &test_err));
}

/* Archives what the base has below `to`. */
static void archive_to(struct world *world, uint32_t partition, int64_t to)
{
    struct archive_writer writer;
    struct log_reader *reader = NULL;
    int rc = archive_writer_open(&writer, world->dir, TOPIC, partition, &test_err);
    if (rc == -KE_CORRUPT) { /* of a file that was damaged here: nobody writes behind it */
        return;
    }
    OK(rc);
    writer.segment_bytes = 3000;
    OK(archive_writer_begin(&writer, i64_max(writer.end, world->start[partition]), &test_err));
    OK(world->base->ops->reader_open(world->base, "test", &reader, &test_err));
    OK(reader->ops->add(reader, 0, TOPIC, partition, writer.end, &test_err));
    while (writer.end < to) {
        struct log_batch batch;
        OK(reader->ops->next(reader, 0, 37, &batch, &test_err));
        assert_false(batch.none);
        OK(archive_writer_add(&writer, batch.records, batch.count, batch.next_offset, &test_err));
        OK(archive_writer_flush(&writer, &test_err));
    }
    reader->ops->close(reader);
    archive_writer_close(&writer);
}

static void trim(struct world *world, uint32_t partition, int64_t start)
{
    log_memory_trim(world->base, TOPIC, partition, start);
    world->start[partition] = i64_max(world->start[partition], start);
}

/* One of the partition's files goes, or gets a wrong bit. */
static void damage(struct world *world, uint32_t partition)
{
    char *dir = xasprintf("%s/" TOPIC "/%u", world->dir, partition);
    int64_t *bases = NULL;
    size_t count = 0;
    struct stat st;
    int rc = segment_name_list(dir, ARCHIVE_SUFFIX, &bases, &count, &test_err);
    if (rc == 0 && count > 0) {
        char *path = segment_name_path(dir, bases[prng_below(&world->prng, count)], ARCHIVE_SUFFIX);
        assert_int_equal(stat(path, &st), 0);
        off_t at = (off_t)prng_below(&world->prng, (uint64_t)st.st_size);
        if (prng_below(&world->prng, 2) == 0) {
            assert_int_equal(unlink(path), 0);
        } else {
            flip(path, at, (uint8_t)(1U << prng_below(&world->prng, 8)));
        }
        free(path);
    }
    free(bases);
    free(dir);
}

/* ---- Reading */

struct reading {
    struct log_reader *reader;
    int64_t next[PARTITIONS];
    bool wanted[PARTITIONS];
};

static void reading_begin(struct world *world, struct reading *reading)
{
    OK(world->log->ops->reader_open(world->log, "test", &reading->reader, &test_err));
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        if (reading->wanted[p]) {
            OK(reading->reader->ops->add(reading->reader, p, TOPIC, p, reading->next[p],
                                         &test_err));
        }
    }
}

/* Until all is read, or an error, whose source is told. Now and then the log behind the archive may give
 * little, or nothing. */
static int read_all(const struct world *world, struct reading *reading, uint32_t *source)
{
    static const uint32_t behind[] = {UINT32_MAX, 5, 0, 1};
    for (uint32_t step = 0;; step++) {
        struct log_batch batch;
        uint32_t most = behind[step % array_len(behind)];
        bool done = true;
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            done &= !reading->wanted[p] || reading->next[p] == world->end[p];
        }
        if (done) {
            return 0;
        }
        uint32_t max = 1 + (uint32_t)(reading->next[0] % 50);
        reading->reader->ops->behind_most(reading->reader, most);
        int rc = reading->reader->ops->next(reading->reader, 10, max, &batch, &test_err);
        *source = batch.source;
        if (rc != 0) {
            int again = reading->reader->ops->next(reading->reader, 0, max, &batch, NULL);
            assert_int_equal(again, rc);
            return rc;
        }
        if (!batch.none) {
            assert_true(batch.source < PARTITIONS && reading->wanted[batch.source]);
            assert_true(batch.count <= max);
            assert_true(batch.archived || (most > 0 && batch.count <= most));
            reading->next[batch.source] =
                check_batch(&batch, batch.source, reading->next[batch.source]);
        }
    }
}

static int64_t archived_end(const struct world *world, uint32_t partition)
{
    struct archive_view view;
    int64_t from = 0;
    int64_t to = 0;
    OK(archive_view_load(world->dir, TOPIC, partition, &view, &test_err));
    (void)archive_view_tail(&view, &from, &to);
    archive_view_free(&view);
    return to;
}

/* The archive has no sound bytes for the offset. */
static bool archive_lacks(const struct world *world, uint32_t partition, int64_t offset)
{
    struct archive_view view;
    OK(archive_view_load(world->dir, TOPIC, partition, &view, &test_err));
    uint32_t span = archive_view_find(&view, offset);
    bool lacks = span == UINT32_MAX;
    if (!lacks) {
        struct archive_check check = {0};
        OK(archive_view_check(&view, span, &check, &test_err));
        lacks = check.bad_blocks > 0 && check.bad_from <= offset;
    }
    archive_view_free(&view);
    return lacks;
}

/* Partitions with their archives, in any state; half of the worlds have damage too. */
static void fill_world(struct world *world)
{
    struct prng *prng = &world->prng;
    bool any_damage = prng_below(prng, 2) == 0;
    if (prng_below(prng, 8) > 0) {
        settings_store(world, true);
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (int step = 0; step < 6; step++) {
            append_to(world, p, world->end[p] + (int64_t)prng_below(prng, 300));
            uint64_t room = (uint64_t)(world->end[p] - world->start[p] + 1);
            if (prng_below(prng, 2) == 0) {
                archive_to(world, p, world->start[p] + (int64_t)prng_below(prng, room));
            }
            if (prng_below(prng, 4) == 0) {
                trim(world, p, world->start[p] + (int64_t)prng_below(prng, room));
            }
            if (any_damage && prng_below(prng, 6) == 0) {
                damage(world, p);
            }
        }
    }
}

static void test_random(void **state)
{
    (void)state;
    struct world world;
    uint32_t errors = 0;
    for (int round = 0; round < 150; round++) {
        world_open(&world, round == 0 ? "random" : NULL);
        struct prng *prng = &world.prng;
        fill_world(&world);
        struct reading reading = {0};
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            reading.wanted[p] = prng_below(prng, 3) > 0 || p == 0;
            reading.next[p] = (int64_t)prng_below(prng, (uint64_t)world.end[p] + 1);
        }
        reading_begin(&world, &reading);
        uint32_t source = UINT32_MAX;
        int rc = read_all(&world, &reading, &source);
        if (rc != 0) {
            errors++;
            assert_true(rc == -KE_RANGE_LOST || rc == -KE_CORRUPT);
            assert_true(source < PARTITIONS);
            assert_true(reading.next[source] < world.start[source]);
            struct archive_topic settings;
            assert_true(archive_topic_load(world.dir, TOPIC, &settings, NULL) != 0 ||
                        archive_lacks(&world, source, reading.next[source]));
        } else { /* and live */
            for (uint32_t p = 0; p < PARTITIONS; p++) {
                append_to(&world, p, world.end[p] + 100);
            }
            assert_int_equal(read_all(&world, &reading, &source), 0);
        }
        reading.reader->ops->close(reading.reader);
        world_close(&world);
    }
    assert_true(errors > 0);
}

/* start, end and the first offset of a time: of both together. */
static void test_offsets(void **state)
{
    (void)state;
    struct world world;
    int64_t start = 0;
    int64_t end = 0;
    int64_t offset = 0;
    world_open(&world, "offsets");
    append_to(&world, 0, 1000);
    test_err.code = 0;
    OK(world.log->ops->offsets(world.log, TOPIC, 0, &start, &end, &test_err));
    assert_int_equal(test_err.code, 0);
    settings_store(&world, true);
    archive_to(&world, 0, 800);
    trim(&world, 0, 600);
    test_err.code = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) { /* success says nothing in err */
        OK(world.log->ops->offsets(world.log, TOPIC, p, &start, &end, &test_err));
        OK(world.log->ops->offset_at_time(world.log, TOPIC, p, 1, &offset, &test_err));
        assert_int_equal(test_err.code, 0);
    }
    OK(world.log->ops->offsets(world.log, TOPIC, 0, &start, &end, &test_err));
    assert_int_equal(start, 0);
    assert_int_equal(end, 1000);
    for (int64_t at = 0; at < 1000; at += 50) {
        int64_t first = at;
        for (; is_hole(0, first); first++) {
        }
        OK(world.log->ops->offset_at_time(world.log, TOPIC, 0, 1000 + at * 10, &offset, &test_err));
        assert_int_equal(offset, first);
    }
    OK(world.log->ops->offset_at_time(world.log, TOPIC, 0, 1000 + 10000, &offset, &test_err));
    assert_int_equal(offset, -1);
    trim(&world, 0, 900); /* a gap: only the log counts */
    OK(world.log->ops->offsets(world.log, TOPIC, 0, &start, &end, &test_err));
    assert_int_equal(start, 900);
    world_close(&world);
}

/* The log keeps its name and is another: found out at the seam, before anything of it is given. */
static void test_other_log(void **state)
{
    (void)state;

    const struct {
        int64_t end;
        bool same_offsets; /* only what the records hold is other */
    } cases[] = {{100, false}, {600, false}, {600, true}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool shorter = cases[i].end < 400;
        struct world world;
        struct reading reading = {.wanted = {true}};
        uint32_t source = 0;
        int64_t start = 0;
        int64_t end = 0;
        world_open(&world, "other");
        append_to(&world, 0, 500);
        settings_store(&world, true);
        struct archive_topic settings;
        OK(archive_topic_load(world.dir, TOPIC, &settings, &test_err));
        settings.identity = 0; /* a log that cannot tell, as Kafka */
        OK(archive_topic_store(world.dir, TOPIC, &settings, &test_err));
        archive_to(&world, 0, 400);
        log_memory_recreate(world.base, TOPIC);
        for (int64_t offset = 0; offset < cases[i].end; offset++) {
            struct kappa_record record = text_record("k", "other", 5);
            record.offset = offset;
            if (!cases[i].same_offsets || !is_hole(0, offset)) {
                log_memory_append(world.base, TOPIC, 0, &record);
            }
        }
        world.end[0] = 600;
        int rc = world.log->ops->offsets(world.log, TOPIC, 0, &start, &end, &test_err);
        assert_int_equal(rc, shorter ? -KE_TOPIC_CHANGED : 0);
        reading_begin(&world, &reading);
        assert_int_equal(read_all(&world, &reading, &source), -KE_TOPIC_CHANGED);
        assert_int_equal(source, 0);
        assert_int_equal(reading.next[0], archived_end(&world, 0));
        reading.reader->ops->close(reading.reader);
        world_close(&world);
    }
}

/* The same with all of the archive at the seam, so that the reader stands in the log, which is empty. */
static void test_empty_log(void **state)
{
    (void)state;
    struct world world;
    struct reading reading = {.wanted = {true}};
    uint32_t source = 0;
    world_open(&world, "empty");
    append_to(&world, 0, 30);
    settings_store(&world, true);
    struct archive_topic settings;
    OK(archive_topic_load(world.dir, TOPIC, &settings, &test_err));
    settings.identity = 0;
    OK(archive_topic_store(world.dir, TOPIC, &settings, &test_err));
    archive_to(&world, 0, 30);
    log_memory_recreate(world.base, TOPIC);
    reading_begin(&world, &reading);
    int rc = 0;
    for (int i = 0; rc == 0 && i < 1000; i++) { /* of 10 ms each, and it takes 3 s */
        struct log_batch batch;
        rc = reading.reader->ops->next(reading.reader, 10, 50, &batch, &test_err);
        source = batch.source;
    }
    assert_int_equal(rc, -KE_TOPIC_CHANGED);
    assert_int_equal(source, 0);
    reading.reader->ops->close(reading.reader);
    world_close(&world);
}

/* An archive of a topic that was deleted is not read for the one that has its name now. */
static void test_other_identity(void **state)
{
    (void)state;
    struct world world;
    struct reading reading = {.wanted = {true}};
    uint32_t source = 0;
    world_open(&world, "identity");
    append_to(&world, 0, 500);
    settings_store(&world, true);
    archive_to(&world, 0, 500);
    log_memory_recreate(world.base, TOPIC);
    world.end[0] = 0;
    append_to(&world, 0, 50);
    trim(&world, 0, 20);
    reading_begin(&world, &reading);
    assert_int_equal(read_all(&world, &reading, &source), -KE_RANGE_LOST);
    reading.reader->ops->close(reading.reader);
    world_close(&world);
}

static void test_alone(void **state)
{
    (void)state;
    struct world world;
    struct reading reading = {.wanted = {true, true, true}};
    struct log_batch batch;
    uint32_t source = 0;
    world_open(&world, "alone");
    settings_store(&world, true);
    for (uint32_t p = 0; p < 2; p++) {
        append_to(&world, p, 700);
        archive_to(&world, p, 700);
    }
    world.log->ops->close(world.log);
    world.log = log_open_archived(world.dir, NULL);
    reading_begin(&world, &reading);
    assert_int_equal(read_all(&world, &reading, &source), 0);
    OK(reading.reader->ops->next(reading.reader, 0, 10, &batch, &test_err));
    assert_true(batch.none);
    int64_t start = -1;
    int64_t end = -1;
    int64_t high = -1;
    reading.reader->ops->progress(reading.reader, 1, &start, &end, &high);
    assert_int_equal(start, 0);
    assert_int_equal(end, 700);
    reading.reader->ops->close(reading.reader);

    struct log_writer *writer = NULL;
    int rc = world.log->ops->writer_open(world.log, TOPIC, &writer, &test_err);
    assert_int_equal(rc, -KE_REFUSED);

    reading = (struct reading){.wanted = {true}, .next = {701}};
    reading_begin(&world, &reading);
    assert_int_equal(read_all(&world, &reading, &source), -KE_TOPIC_CHANGED);
    reading.reader->ops->close(reading.reader);

    /* A file is missing: told there, and not before. */
    struct archive_view view;
    OK(archive_view_load(world.dir, TOPIC, 0, &view, &test_err));
    assert_true(view.count > 3);
    char *path = segment_name_path(view.dir, view.spans[2].base, ARCHIVE_SUFFIX);
    assert_int_equal(unlink(path), 0);
    free(path);
    reading = (struct reading){.wanted = {true}};
    reading_begin(&world, &reading);
    assert_int_equal(read_all(&world, &reading, &source), -KE_RANGE_LOST);
    assert_int_equal(reading.next[0], view.spans[2].base);
    reading.reader->ops->close(reading.reader);
    archive_view_free(&view);
    world_close(&world);
}

/* ---- Brokers away */

static int opened; /* tries */

static int open_fails(struct log *log, const char *group, struct log_reader **out, struct err *err)
{
    (void)log;
    (void)group;
    (void)out;
    opened++;
    return err_set(err, KE_BROKER, "no broker");
}

/* Who reads an archive does not ask brokers that are away at each of its blocks. */
static void test_brokers_away(void **state)
{
    (void)state;
    struct world world;
    struct reading reading = {.wanted = {true, true}};
    world_open(&world, "away");
    append_to(&world, 0, 3000);
    append_to(&world, 1, 10);
    settings_store(&world, true);
    archive_to(&world, 0, 3000);
    struct log_ops ops = *world.base->ops;
    ops.reader_open = open_fails;
    world.base->ops = &ops;
    opened = 0;
    int64_t began = clock_mono_us(clock_real());
    reading_begin(&world, &reading);
    while (reading.next[0] < 3000) {
        struct log_batch batch;
        OK(reading.reader->ops->next(reading.reader, 0, 50, &batch, &test_err));
        assert_int_equal(batch.source, 0);
        reading.next[0] = check_batch(&batch, 0, reading.next[0]);
    }
    int64_t seconds = (clock_mono_us(clock_real()) - began) / 1000000;
    assert_true(opened > 0 && opened <= 1 + seconds);
    reading.reader->ops->close(reading.reader);
    world_close(&world);
}

/* ---- The archiver */

static void await_archived(const struct world *world)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (int i = 0; archived_end(world, p) < world->end[p]; i++) {
            assert_true(i < 6000);
            (void)usleep(10000);
        }
    }
}

static void test_archiver(void **state)
{
    (void)state;
    struct world world;
    struct reading reading = {.wanted = {true, true, true}};
    uint32_t source = 0;
    world_open(&world, "archiver");
    const struct archiver_options options = {
        .log = world.log, .dir = world.dir, .flush_ms = 1, .segment_bytes = 3000};
    settings_store(&world, true);
    for (int life = 0; life < 3; life++) {
        struct archiver *archiver = archiver_start(&options);
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            append_to(&world, p, world.end[p] + 200 + (int64_t)prng_below(&world.prng, 300));
        }
        await_archived(&world);
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            trim(&world, p, world.end[p]);
        }
        /* Who asks for the lock gets it, and the archiver goes on. */
        int fd = -1;
        OK(archive_topic_lock(world.dir, TOPIC, 60000, &fd, &test_err));
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            append_to(&world, p, world.end[p] + 10);
        }
        (void)close(fd);
        await_archived(&world);
        while (!archiver_stop(archiver)) {
        }
    }
    reading_begin(&world, &reading);
    assert_int_equal(read_all(&world, &reading, &source), 0);
    reading.reader->ops->close(reading.reader);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),         cmocka_unit_test(test_offsets),
        cmocka_unit_test(test_other_log),      cmocka_unit_test(test_empty_log),
        cmocka_unit_test(test_other_identity), cmocka_unit_test(test_alone),
        cmocka_unit_test(test_brokers_away),   cmocka_unit_test(test_archiver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
