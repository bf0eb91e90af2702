/* Goal: libkappa gives the rows that a recount of the events gives, each scope from one version at one
 * cut, and no argument, swap, drop, fork or damaged file ends the process. Method: worlds made by hand as
 * in the reader's tests; keys as text and typed, ranges compared with a filter over all rows; threads
 * read while versions are made, swapped in and deleted. KAPPA_SEED repeats a run. */
#include "library/inner.h"
#include "tests/unit/serve/reader_world.h"

#include <fcntl.h>
#include <sys/wait.h>

static struct kappa_error error;

#define assert_kappa(call)                                                                         \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        if (rc_ < 0) {                                                                             \
            fail_msg("%s: %d %s", #call, rc_, error.text);                                         \
        }                                                                                          \
    } while (0)

#define assert_refused(call, code_)                                                                \
    do {                                                                                           \
        error = (struct kappa_error){0};                                                           \
        assert_int_equal((call), -(code_));                                                        \
        assert_int_equal(error.code, -(code_));                                                    \
        assert_true(strlen(error.text) > 8);                                                       \
    } while (0)

static struct kappa_value text_value(const char *text)
{
    return (struct kappa_value){.type = KAPPA_TYPE_TEXT, .s = {text, (uint32_t)strlen(text)}};
}

static struct kappa_value big_value(int64_t i)
{
    return (struct kappa_value){.type = KAPPA_TYPE_BIGINT, .i = i};
}

static bool text_is(const struct kappa_value *value, const char *text)
{
    return value->s.len == strlen(text) && memcmp(value->s.bytes, text, value->s.len) == 0;
}

struct rig {
    struct world world;
    struct kappa_reader *reader;
    struct kappa_scope *scope;
};

static struct kappa_table *table(struct rig *rig, const char *name)
{
    struct kappa_table *found = NULL;
    assert_kappa(kappa_scope_table(rig->scope, name, &found, &error));
    return found;
}

static void rig_open(struct rig *rig, const char *name)
{
    world_open(&rig->world, unit_seed(name));
    make_version(&rig->world, 1, EVENTS);
    serve(&rig->world, 1, 4);
    assert_kappa(kappa_reader_open(rig->world.dir, &rig->reader, &error));
    assert_kappa(kappa_scope_begin(rig->reader, "totals", &rig->scope, &error));
}

static void rig_close(struct rig *rig)
{
    kappa_scope_end(rig->scope);
    assert_kappa(kappa_reader_close(rig->reader, &error));
    world_close(&rig->world);
}

/* Events of a user: how many and their sum. */
static int64_t recount(const struct world *world, uint32_t user, int64_t *sum)
{
    int64_t count = 0;
    *sum = 0;
    for (uint32_t i = 0; i < world->count; i++) {
        count += world->events[i].user == user ? 1 : 0;
        *sum += world->events[i].user == user ? world->events[i].n : 0;
    }
    return count;
}

/* ---- rows by key */

static void test_get(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, "get");
    struct kappa_table *totals = table(&rig, NULL);
    struct kappa_value keys[USERS + 1];
    const struct kappa_value *rows[USERS + 1];
    char names[USERS + 1][16];
    for (uint32_t user = 0; user <= USERS; user++) {
        (void)snprintf(names[user], sizeof names[user], "u%u", user);
        keys[user] = text_value(names[user]);
    }
    assert_kappa(kappa_get_many(totals, keys, 1, USERS + 1, KAPPA_NEWEST, rows, &error));
    for (uint32_t user = 0; user <= USERS; user++) {
        const struct kappa_value *row = NULL;
        const char *text = names[user];
        int64_t sum = 0;
        int64_t count = recount(&rig.world, user, &sum);
        int rc = kappa_get(totals, &keys[user], 1, KAPPA_NEWEST, &row, &error);
        assert_int_equal(rc, count > 0 ? 1 : 0);
        assert_true((rows[user] != NULL) == (count > 0));
        for (int way = 0; way < 3 && count > 0; way++) {
            if (way == 1) {
                rc = kappa_get_text(totals, &text, 1, KAPPA_NEWEST, &row, &error);
                assert_int_equal(rc, 1);
            }
            const struct kappa_value *seen = way == 2 ? rows[user] : row;
            assert_true(text_is(&seen[0], names[user]));
            assert_int_equal(seen[1].i, count);
            assert_int_equal(seen[2].i, sum);
            assert_int_equal(seen[3].type, KAPPA_TYPE_DOUBLE);
        }
    }
    assert_int_equal(kappa_get(table(&rig, "everything"), NULL, 0, KAPPA_NEWEST, &rows[0], &error),
                     1);
    assert_int_equal(rows[0][0].i, EVENTS);
    /* A row per record, by partition and offset in whole numbers or text. */
    const struct event *event = &rig.world.events[0];
    for (uint32_t i = 0; event->n <= 3; i++) {
        event = &rig.world.events[i];
    }
    struct kappa_value place[] = {big_value(event->partition), big_value(event->offset)};
    assert_int_equal(kappa_get(table(&rig, "raw"), place, 2, KAPPA_NEWEST, &rows[0], &error), 1);
    assert_int_equal(rows[0][1].i, event->n);
    rig_close(&rig);
}

static void test_windows(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, "windows");
    struct kappa_table *minutes = table(&rig, "per_minute");
    struct kappa_value key = text_value("u3");
    int64_t ends[64];
    uint32_t count = 0;
    int64_t records = 0;
    const struct kappa_value *row = NULL;
    struct kappa_rows *rows = NULL;
    struct kappa_range range = {.keys = &key, .key_count = 1};
    assert_kappa(kappa_scan(minutes, &range, &rows, &error));
    while (kappa_rows_next(rows, &row, &error) == 1) {
        assert_true(text_is(&row[0], "u3"));
        assert_true(count == 0 || row[2].i > ends[count - 1]);
        ends[count++] = row[2].i;
        records += row[3].i;
        /* The same row by a time within. */
        const struct kappa_value *again = NULL;
        int64_t value = row[3].i;
        assert_int_equal(kappa_get(minutes, &key, 1, row[2].i - 1, &again, &error), 1);
        assert_int_equal(again[3].i, value);
    }
    kappa_rows_close(rows);
    int64_t sum = 0;
    assert_int_equal(records, recount(&rig.world, 3, &sum));
    assert_true(count > 3);
    assert_int_equal(kappa_get(minutes, &key, 1, KAPPA_NEWEST, &row, &error), 1);
    assert_int_equal(row[2].i, ends[count - 1]);
    assert_int_equal(kappa_get(minutes, &key, 1, ends[count - 1] + 3600000000, &row, &error), 0);
    range.windows = true;
    range.window_end_least = ends[1];
    range.window_end_most = ends[2];
    assert_kappa(kappa_scan(minutes, &range, &rows, &error));
    for (uint32_t i = 1; i <= 2; i++) {
        assert_int_equal(kappa_rows_next(rows, &row, &error), 1);
        assert_int_equal(row[2].i, ends[i]);
    }
    assert_int_equal(kappa_rows_next(rows, &row, &error), 0);
    rig_close(&rig); /* closes the scan */
}

/* ---- ranges against a filter */

/* Does a row of a user belong to the range? */
static bool wanted(const struct kappa_range *range, const char *user)
{
    struct kappa_text all = {user, (uint32_t)strlen(user)};
    const struct kappa_text *prefix = range->prefix;
    if (prefix != NULL) {
        return all.len >= prefix->len && memcmp(user, prefix->bytes, prefix->len) == 0;
    }
    char from[32] = "";
    char below[32] = "~";
    if (range->from != NULL) {
        (void)snprintf(from, sizeof from, "%.*s", (int)range->from->s.len, range->from->s.bytes);
    }
    if (range->below != NULL) {
        (void)snprintf(below, sizeof below, "%.*s", (int)range->below->s.len,
                       range->below->s.bytes);
    }
    return strcmp(user, from) >= 0 && strcmp(user, below) < 0;
}

static void check_range(struct rig *rig, const char *name, const struct kappa_range *range)
{
    struct kappa_rows *all = NULL;
    struct kappa_rows *some = NULL;
    const struct kappa_value *row = NULL;
    const struct kappa_value *chosen = NULL;
    assert_kappa(kappa_scan(table(rig, name), NULL, &all, &error));
    assert_kappa(kappa_scan(table(rig, name), range, &some, &error));
    while (kappa_rows_next(all, &row, &error) == 1) {
        char user[32];
        (void)snprintf(user, sizeof user, "%.*s", (int)row[0].s.len, row[0].s.bytes);
        if (wanted(range, user)) {
            assert_int_equal(kappa_rows_next(some, &chosen, &error), 1);
            assert_true(text_is(&chosen[0], user));
            assert_int_equal(chosen[1].i, row[1].i);
            assert_int_equal(chosen[2].i, row[2].i);
        }
    }
    assert_int_equal(kappa_rows_next(some, &chosen, &error), 0);
    kappa_rows_close(all);
    kappa_rows_close(some);
}

static void test_ranges(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, "ranges");
    static const char *const tables[] = {"totals", "per_minute", "big"};
    static const char *const words[] = {"",   "u",  "u1", "u10",   "u12",
                                        "u2", "u9", "v",  "t\xff", "u1\xff"};
    for (size_t t = 0; t < array_len(tables); t++) {
        for (size_t a = 0; a < array_len(words); a++) {
            struct kappa_value from = text_value(words[a]);
            check_range(&rig, tables[t], &(struct kappa_range){.prefix = &from.s});
            check_range(&rig, tables[t], &(struct kappa_range){.from = &from});
            check_range(&rig, tables[t], &(struct kappa_range){.below = &from});
            for (size_t b = 0; b < array_len(words); b++) {
                struct kappa_value below = text_value(words[b]);
                check_range(&rig, tables[t], &(struct kappa_range){.from = &from, .below = &below});
            }
        }
    }
    rig_close(&rig);
}

/* ---- what it looks like */

static bool count_entry(void *ctx, const struct kappa_catalog_entry *entry)
{
    assert_string_equal(entry->processor, "p");
    assert_int_equal(entry->version, 1);
    *(uint32_t *)ctx += 1;
    return true;
}

static void test_shape(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, "shape");
    struct kappa_table_shape_info shape;
    struct kappa_column column;
    struct kappa_stamp stamp;
    uint32_t entries = 0;
    assert_kappa(kappa_reader_tables(rig.reader, count_entry, &entries, &error));
    assert_int_equal(entries, 5);
    assert_kappa(kappa_table_describe(table(&rig, "per_minute"), &shape, &error));
    assert_string_equal(shape.name, "per_minute");
    assert_int_equal(shape.kind, KAPPA_TABLE_WINDOWS);
    assert_int_equal(shape.column_count, 4);
    assert_int_equal(shape.key_count, 1);
    assert_kappa(kappa_table_column(table(&rig, "per_minute"), 2, &column, &error));
    assert_string_equal(column.name, "window_end");
    assert_int_equal(column.type, KAPPA_TYPE_TIMESTAMPTZ);
    assert_kappa(kappa_table_key(table(&rig, "raw"), 1, &column, &error));
    assert_string_equal(column.name, "offset");
    assert_kappa(kappa_scope_stamp(rig.scope, &stamp, &error));
    assert_string_equal(stamp.processor, "p");
    assert_int_equal(stamp.epoch, 4);
    assert_int_equal(stamp.version, 1);
    assert_int_equal(stamp.cut_count, PARTITIONS);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        int64_t next = 0;
        for (uint32_t i = 0; i < EVENTS; i++) {
            next = rig.world.events[i].partition == p ? rig.world.events[i].offset + 1 : next;
        }
        assert_string_equal(stamp.cut[p].topic, "events");
        assert_int_equal(stamp.cut[p].partition, p);
        assert_int_equal(stamp.cut[p].next, next + (p == 1 ? 3 : 0)); /* the bad records */
    }
    char text[8];
    struct kappa_value value = big_value(-1234567890);
    assert_int_equal(kappa_value_text(&value, text, sizeof text), 11);
    assert_string_equal(text, "-123456");
    value = text_value("a\"b");
    assert_int_equal(kappa_value_json(&value, text, sizeof text), 6);
    assert_string_equal(text, "\"a\\\"b\"");
    assert_int_equal(kappa_value_text(&value, NULL, 0), 3);
    assert_string_equal(kappa_code_word(-KAPPA_NOT_FOUND), "not_found");
    rig_close(&rig);
}

/* ---- what is refused */

static void test_handles_and_names(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, "names");
    struct kappa_reader *no_reader = NULL;
    struct kappa_scope *no_scope = NULL;
    struct kappa_table *no_table = NULL;
    assert_refused(kappa_reader_open(NULL, &no_reader, &error), KAPPA_INVALID);
    assert_refused(kappa_reader_open("/nowhere/at/all", &no_reader, &error), KAPPA_NOT_FOUND);
    assert_refused(kappa_reader_close(rig.reader, &error), KAPPA_BUSY);
    assert_refused(kappa_scope_begin(NULL, "totals", &no_scope, &error), KAPPA_INVALID);
    /* Any memory that is no handle. */
    uint64_t other[64] = {0};
    assert_refused(kappa_scope_begin((void *)other, "totals", &no_scope, &error), KAPPA_INVALID);
    assert_refused(kappa_table_describe((void *)other, NULL, &error), KAPPA_INVALID);
    kappa_scope_end((void *)other);
    kappa_rows_close((void *)other);

    static const struct {
        const char *name;
        int code;
    } names[] = {
        {"", KAPPA_INVALID},           {"@3", KAPPA_INVALID},
        {"totals@", KAPPA_INVALID},    {"totals@0", KAPPA_INVALID},
        {"totals@x", KAPPA_INVALID},   {"totals@99999999999", KAPPA_INVALID},
        {"totals@2", KAPPA_NOT_FOUND}, {"total", KAPPA_NOT_FOUND},
        {"totals@-1", KAPPA_INVALID},
    };

    for (size_t i = 0; i < array_len(names); i++) {
        assert_refused(kappa_scope_begin(rig.reader, names[i].name, &no_scope, &error),
                       names[i].code);
    }
    assert_string_equal(error.hint, "");
    assert_refused(kappa_scope_begin_for(rig.reader, "totals", NULL, &no_scope, &error),
                   KAPPA_INVALID);
    assert_refused(kappa_scope_begin_for(NULL, "totals", "a", &no_scope, &error), KAPPA_INVALID);
    assert_refused(kappa_scope_begin_for(rig.reader, "totals@9", "a", &no_scope, &error),
                   KAPPA_NOT_FOUND);
    assert_kappa(kappa_scope_begin_for(rig.reader, "totals", "a", &no_scope, &error));
    kappa_scope_end(no_scope);
    no_scope = NULL;
    assert_refused(kappa_scope_begin(rig.reader, "total", &no_scope, &error), KAPPA_NOT_FOUND);
    assert_non_null(strstr(error.hint, "totals"));
    assert_refused(kappa_scope_table(rig.scope, "other", &no_table, &error), KAPPA_NOT_FOUND);
    kappa_scope_end(NULL);
    rig_close(&rig);
}

static void test_arguments(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, "arguments");
    struct kappa_table *totals = table(&rig, NULL);
    const struct kappa_value *row = NULL;
    struct kappa_rows *rows = NULL;
    struct kappa_column column;
    struct kappa_value keys[3] = {text_value("u1"), big_value(4), big_value(-1)};
    assert_refused(kappa_get(NULL, keys, 1, KAPPA_NEWEST, &row, &error), KAPPA_INVALID);
    assert_refused(kappa_get(totals, keys, 2, KAPPA_NEWEST, &row, &error), KAPPA_INVALID);
    assert_refused(kappa_get(totals, NULL, 1, KAPPA_NEWEST, &row, &error), KAPPA_INVALID);
    assert_refused(kappa_get(totals, keys, 1, 5, &row, &error), KAPPA_INVALID);
    assert_refused(kappa_get(totals, keys + 1, 1, KAPPA_NEWEST, &row, &error), KAPPA_INVALID);
    struct kappa_value odd = {.type = (enum kappa_type)99};
    assert_refused(kappa_get(totals, &odd, 1, KAPPA_NEWEST, &row, &error), KAPPA_INVALID);
    assert_int_equal(kappa_value_text(&odd, NULL, 0), -KAPPA_INVALID);
    odd = (struct kappa_value){.type = KAPPA_TYPE_TEXT, .s = {NULL, 5}};
    assert_refused(kappa_get(totals, &odd, 1, KAPPA_NEWEST, &row, &error), KAPPA_INVALID);
    struct kappa_value nothing[2] = {{.type = KAPPA_TYPE_TEXT}, {.type = KAPPA_TYPE_TEXT}};
    assert_refused(kappa_get(table(&rig, "raw"), nothing, 2, KAPPA_NEWEST, &row, &error),
                   KAPPA_INVALID);
    odd = (struct kappa_value){.type = KAPPA_TYPE_DATE, .i = INT64_MAX};
    assert_int_equal(kappa_value_text(&odd, NULL, 0), -KAPPA_INVALID);
    odd.i = INT32_MIN;
    assert_true(kappa_value_text(&odd, NULL, 0) > 0);
    char *longest = xcalloc(1, 2000);
    memset(longest, 'x', 1999);
    odd = text_value(longest);
    assert_refused(kappa_get(totals, &odd, 1, KAPPA_NEWEST, &row, &error), KAPPA_INVALID);
    assert_refused(kappa_scan(totals, &(struct kappa_range){.prefix = &odd.s}, &rows, &error),
                   KAPPA_INVALID);
    free(longest);
    struct kappa_value null = {.type = KAPPA_TYPE_TEXT, .is_null = true};
    assert_int_equal(kappa_get(totals, &null, 1, KAPPA_NEWEST, &row, &error), 0);
    assert_refused(kappa_get(table(&rig, "raw"), keys + 1, 2, KAPPA_NEWEST, &row, &error),
                   KAPPA_INVALID);
    struct kappa_table *raw = table(&rig, "raw");
    assert_refused(kappa_scan(raw, &(struct kappa_range){.from = keys}, &rows, &error),
                   KAPPA_INVALID);
    assert_refused(kappa_scan(totals, &(struct kappa_range){.windows = true}, &rows, &error),
                   KAPPA_INVALID);
    assert_refused(
        kappa_scan(totals, &(struct kappa_range){.keys = keys, .key_count = 2}, &rows, &error),
        KAPPA_INVALID);
    assert_refused(kappa_scan(totals,
                              &(struct kappa_range){.keys = keys, .key_count = 1, .from = keys},
                              &rows, &error),
                   KAPPA_INVALID);
    assert_refused(kappa_scan(totals, &(struct kappa_range){.from = &null}, &rows, &error),
                   KAPPA_INVALID);
    assert_refused(kappa_table_column(totals, 4, &column, &error), KAPPA_INVALID);
    assert_refused(kappa_table_key(totals, 1, &column, &error), KAPPA_INVALID);
    assert_refused(kappa_rows_next(NULL, &row, &error), KAPPA_INVALID);
    assert_int_equal(kappa_get(totals, keys, 2, KAPPA_NEWEST, &row, NULL), -KAPPA_INVALID);
    rig_close(&rig);
}

/* ---- fork */

static void test_fork(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, "fork");
    struct kappa_table *totals = table(&rig, NULL);
    struct kappa_rows *rows = NULL;
    struct kappa_value key = text_value("u1");
    assert_kappa(kappa_scan(totals, NULL, &rows, &error));
    pid_t child = fork();
    if (child == 0) {
        const struct kappa_value *row = NULL;
        struct kappa_scope *scope = NULL;
        struct kappa_reader *own = NULL;
        struct kappa_table *mine = NULL;
        bool good = kappa_get(totals, &key, 1, KAPPA_NEWEST, &row, &error) == -KAPPA_CLOSED &&
                    strstr(error.text, "fork") != NULL &&
                    kappa_rows_next(rows, &row, &error) == -KAPPA_CLOSED &&
                    kappa_scope_begin(rig.reader, "totals", &scope, &error) == -KAPPA_CLOSED;
        kappa_rows_close(rows);
        kappa_scope_end(rig.scope);
        good = good && kappa_reader_close(rig.reader, &error) == 0 &&
               kappa_reader_open(rig.world.dir, &own, &error) == 0 &&
               kappa_scope_begin(own, "totals", &scope, &error) == 0 &&
               kappa_scope_table(scope, NULL, &mine, &error) == 0 &&
               kappa_get(mine, &key, 1, KAPPA_NEWEST, &row, &error) == 1;
        kappa_scope_end(scope);
        _exit(good && kappa_reader_close(own, &error) == 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    const struct kappa_value *row = NULL;
    assert_int_equal(kappa_get(totals, &key, 1, KAPPA_NEWEST, &row, &error), 1);
    assert_int_equal(kappa_rows_next(rows, &row, &error), 1);
    rig_close(&rig);
}

/* ---- files that are damaged */

/* What can be decoded wrongly: the head of the file, an empty file, the catalog's object. */
static void test_damage(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig, "damage");
    kappa_scope_end(rig.scope);
    assert_kappa(kappa_reader_close(rig.reader, &error));
    char *data = xasprintf("%s/versions/p/1/0/data.mdb", rig.world.dir);
    int fd = open(data, O_RDWR | O_CLOEXEC);
    uint8_t head[8192];
    assert_int_equal(pread(fd, head, sizeof head, 0), sizeof head);
    uint8_t junk[sizeof head];
    memset(junk, 0xA5, sizeof junk);
    assert_int_equal(pwrite(fd, junk, sizeof junk, 0), sizeof junk);
    assert_kappa(kappa_reader_open(rig.world.dir, &rig.reader, &error));
    assert_refused(kappa_scope_begin(rig.reader, "totals", &rig.scope, &error), KAPPA_CORRUPT);
    assert_int_equal(pwrite(fd, head, sizeof head, 0), sizeof head);
    assert_kappa(kappa_scope_begin(rig.reader, "totals", &rig.scope, &error));
    kappa_scope_end(rig.scope);
    assert_kappa(kappa_reader_close(rig.reader, &error));
    assert_int_equal(ftruncate(fd, 0), 0);
    (void)close(fd);
    free(data);
    assert_kappa(kappa_reader_open(rig.world.dir, &rig.reader, &error));
    assert_refused(kappa_scope_begin(rig.reader, "totals", &rig.scope, &error), KAPPA_NOT_FOUND);
    char key[CATALOG_KEY_LEN];
    catalog_key_version(key, "p", 1);
    static const char *const objects[] = {"{}", "[]", "{\"definition\":\"SELECT\"}",
                                          "{\"definition\":\"CREATE TABLE e (a text) WITH "
                                          "(topic='t', format='json');\",\"shards\":5000}"};
    for (size_t i = 0; i < array_len(objects); i++) {
        json_t *object = json_loads(objects[i], 0, NULL);
        assert_non_null(object);
        assert_ok(catalog_begin(rig.world.catalog, &fault));
        assert_ok(catalog_put(rig.world.catalog, key, object, &fault));
        assert_ok(catalog_commit(rig.world.catalog, &fault));
        json_decref(object);
        assert_true(kappa_scope_begin(rig.reader, "totals", &rig.scope, &error) < 0);
        assert_true(strlen(error.text) > 8);
    }
    assert_kappa(kappa_reader_close(rig.reader, &error));
    world_close(&rig.world);
}

/* ---- swaps and drops under load */

struct load {
    struct kappa_reader *reader;
    bool stop; /* atomic */
    uint64_t reads;
};

/* Version v holds 100 + v events and serves in epoch 3v: all tables of a scope must say so, by get and by
 * scan, and no scope goes back behind the one before. */
static void *read_under_load(void *ctx)
{
    struct load *load = ctx;
    struct kappa_error err = {0};
    uint64_t epoch = 0;
    while (!__atomic_load_n(&load->stop, __ATOMIC_ACQUIRE)) {
        struct kappa_scope *scope = NULL;
        struct kappa_table *all = NULL;
        struct kappa_table *totals = NULL;
        struct kappa_rows *rows = NULL;
        struct kappa_stamp stamp;
        const struct kappa_value *row = NULL;
        int64_t sum = 0;
        LOAD_CHECK(kappa_scope_begin(load->reader, "everything", &scope, &err) == 0);
        LOAD_CHECK(kappa_scope_stamp(scope, &stamp, &err) == 0);
        LOAD_CHECK(kappa_scope_table(scope, NULL, &all, &err) == 0);
        LOAD_CHECK(kappa_scope_table(scope, "totals", &totals, &err) == 0);
        LOAD_CHECK(kappa_get(all, NULL, 0, KAPPA_NEWEST, &row, &err) == 1);
        LOAD_CHECK(row[0].i == 100 + (int64_t)stamp.version);
        LOAD_CHECK(stamp.epoch == 3 * (uint64_t)stamp.version && stamp.epoch >= epoch);
        LOAD_CHECK(kappa_scan(totals, NULL, &rows, &err) == 0);
        int rc;
        while ((rc = kappa_rows_next(rows, &row, &err)) == 1) {
            sum += row[1].i;
        }
        LOAD_CHECK(rc == 0 && sum == 100 + (int64_t)stamp.version);
        epoch = stamp.epoch;
        kappa_scope_end(scope);
        load->reads++;
    }
    return NULL;
}

static void test_swaps_under_load(void **state)
{
    (void)state;
    struct world world;
    struct kappa_reader *reader = NULL;
    struct kappa_scope *old = NULL;
    struct kappa_table *still = NULL;
    const struct kappa_value *row = NULL;
    world_open(&world, unit_seed("load"));
    make_version(&world, 1, 101);
    serve(&world, 1, 3);
    struct load loads[4] = {{0}};
    pthread_t threads[4];
    assert_kappa(kappa_reader_open(world.dir, &reader, &error));
    assert_kappa(kappa_scope_begin(reader, "everything@1", &old, &error));
    for (size_t i = 0; i < array_len(threads); i++) {
        loads[i].reader = reader;
        assert_int_equal(pthread_create(&threads[i], NULL, read_under_load, &loads[i]), 0);
    }
    for (uint32_t version = 2; version <= 20; version++) {
        make_version(&world, version, 100 + version);
        serve(&world, version, (uint64_t)version * 3);
        drop_version(&world, version - 1, version % 2 == 0);
    }
    uint64_t reads = 0;
    for (size_t i = 0; i < array_len(threads); i++) {
        __atomic_store_n(&loads[i].stop, true, __ATOMIC_RELEASE);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        reads += loads[i].reads;
    }
    print_message("%llu scopes over 19 swaps\n", (unsigned long long)reads);
    assert_true(reads > 19);
    /* A scope keeps what was dropped under it; a new one cannot have it. */
    assert_kappa(kappa_scope_table(old, NULL, &still, &error));
    assert_int_equal(kappa_get(still, NULL, 0, KAPPA_NEWEST, &row, &error), 1);
    assert_int_equal(row[0].i, 101);
    kappa_scope_end(old);
    assert_refused(kappa_scope_begin(reader, "everything@1", &old, &error), KAPPA_NOT_FOUND);
    assert_kappa(kappa_reader_close(reader, &error));
    world_close(&world);
}

/* A swap between the look at the pointer and the snapshot, after which both versions go on: the scope is
 * the new version's, at its cut. */
static void test_second_look(void **state)
{
    (void)state;
    struct world world;
    struct kappa_reader *reader = NULL;
    world_open(&world, 3);
    make_version(&world, 1, 100);
    serve(&world, 1, 1);
    assert_kappa(kappa_reader_open(world.dir, &reader, &error));
    struct moment moment = {.world = &world, .version = 1};
    reader->reader->between = swap_and_go_on;
    reader->reader->between_ctx = &moment;
    for (int swaps = 0; swaps <= 4; swaps++) {
        struct kappa_scope *scope = NULL;
        struct kappa_table *all = NULL;
        struct kappa_stamp stamp;
        const struct kappa_value *row = NULL;
        moment.left = swaps;
        assert_kappa(kappa_scope_begin(reader, "everything", &scope, &error));
        assert_kappa(kappa_scope_stamp(scope, &stamp, &error));
        assert_kappa(kappa_scope_table(scope, NULL, &all, &error));
        assert_int_equal(kappa_get(all, NULL, 0, KAPPA_NEWEST, &row, &error), 1);
        assert_int_equal(row[0].i, 100);
        assert_int_equal(stamp.version, moment.version);
        assert_int_equal(stamp.epoch, moment.version);
        kappa_scope_end(scope);
    }
    assert_kappa(kappa_reader_close(reader, &error));
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_handles_and_names),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_swaps_under_load),
        cmocka_unit_test(test_second_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
