/* Goal: INSERT INTO ... GROUP BY windows makes one message per final row, named by the record that closed
 * the window, whatever the batches, commits, evictions and restarts are.
 * Method: random records in two sources, out of order, some late, some bad, through SQL and the naive
 * store; the oracle keeps all events of a window and looks for the record that closes it. Other runs cut
 * the same records into other batches and commits: same messages, dead records and stored rows. Some of the
 * records are marks: the watermark is theirs alone, or they change nothing. */
#include "tests/unit/processor/sql_world.h"

#include "base/prng.h"
#include "base/timefmt.h"
#include "include/kappa/message.h"

#include <string.h>

#define EVENTS  700
#define MANY    8000
#define VIEWS   4
#define USR_LEN 8
#define SECOND  INT64_C(1000000)

static const char definition[] =
    "CREATE TABLE e (usr text, n bigint, kind text, at timestamptz) WITH (topic='e', "
    "event_time='at', timestamp_unit='ms', watermark='1 s', lateness='%lld ms', late='late', "
    "key='usr', watermark_from='%s');\n"
    "CREATE TABLE t (usr text, start timestamptz, n bigint, total bigint, top text)"
    " WITH (topic='t', key='usr');\n"
    "INSERT INTO t SELECT usr, window_start, count(*), sum(n), max(kind)"
    "  FROM tumble(e, at, interval '3 s') WHERE kind <> 'd'"
    "  GROUP BY usr, window_start, window_end HAVING count(*) > 1;\n"
    "CREATE TABLE s (usr text, start timestamptz, words text, total bigint NOT NULL)"
    " WITH (topic='s', key='usr');\n"
    "INSERT INTO s SELECT usr, window_start, string_agg(kind, ''), sum(n)"
    "  FROM session(e, at, interval '1500 ms') GROUP BY usr, window_start, window_end;\n"
    "CREATE TABLE h (usr text, n bigint, share bigint) WITH (topic='h', headers='usr');\n"
    "INSERT INTO h SELECT usr, count(*), 100 / (sum(n) - 7)"
    "  FROM hop(e, at, interval '2 s', interval '5 s') GROUP BY usr, window_end;\n"
    "INSERT INTO t (n, start, usr) SELECT count(*), window_end, usr"
    "  FROM tumble(e, at, interval '7 s', interval '1 s') GROUP BY window_end, usr;\n"
    "CREATE MATERIALIZED VIEW beside AS SELECT usr, count(*) AS n FROM e GROUP BY usr;\n";

/* Of each INSERT INTO, in their order: topic, first number and step of the numbers. */
static const struct {
    char name;
    uint32_t output;
    uint32_t seq;
    uint32_t writers;
} views[VIEWS] = {{'t', 0, 0, 2}, {'s', 1, 0, 1}, {'h', 2, 0, 1}, {'t', 0, 1, 2}};

/* ---- Records. */

struct row {
    uint32_t source;
    int64_t offset;
    char usr[USR_LEN];
    char kind;
    int64_t n; /* -1: null */
    int64_t at;
    bool bad;
    bool mark; /* at: the time that has passed */
    struct buf headers;
    struct event event;
};

static void row_mark(struct row *row, int64_t at_ms)
{
    char text[24];
    row->mark = true;
    row->at = at_ms * 1000;
    (void)snprintf(text, sizeof text, "%lld", (long long)at_ms);
    buf_append_u32_le(&row->headers, sizeof KAPPA_MESSAGE_MARK - 1);
    buf_append_text(&row->headers, KAPPA_MESSAGE_MARK);
    buf_append_u32_le(&row->headers, u32_from(strlen(text)));
    buf_append_text(&row->headers, text);
}

static void row_random(struct row *row, struct prng *prng, int64_t *now, int64_t *offsets,
                       int64_t grain)
{
    row->source = (uint32_t)prng_below(prng, WORLD_SOURCES);
    row->offset = offsets[row->source]++;
    int64_t step = prng_below(prng, 30) == 0 ? 12000 : 300;
    now[row->source] += (int64_t)prng_below(prng, (uint64_t)step);
    int64_t back = (int64_t)prng_below(prng, prng_below(prng, 8) == 0 ? 15000 : 1500);
    if (prng_below(prng, 12) == 0) {
        row->event.source = row->source;
        row_mark(row, (now[row->source] - back) / grain * grain);
        return;
    }
    row->at = (now[row->source] - back) / grain * grain * 1000;
    row->kind = "abcd"[prng_below(prng, 4)];
    row->n = (int64_t)prng_below(prng, 7) - 1;
    row->bad = prng_below(prng, 40) == 0;
    (void)snprintf(row->usr, sizeof row->usr, "u%d", (int)prng_below(prng, 9));
    char n[24] = "null";
    if (row->n >= 0) {
        (void)snprintf(n, sizeof n, "%lld", (long long)row->n);
    }
    char json[200];
    int len = snprintf(json, sizeof json, "{\"usr\":\"%s\",\"n\":%s,\"kind\":\"%c\",\"at\":%lld%s",
                       row->usr, n, row->kind, (long long)(row->at / 1000), row->bad ? "" : "}");
    row->event.source = row->source;
    row->event.len = (size_t)len;
    row->event.json = xcalloc(1, (size_t)len + KAPPA_RECORD_TAIL);
    memcpy(row->event.json, json, (size_t)len);
    memcpy(row->event.key, row->usr, sizeof row->usr);
}

static struct row *rows_random(struct prng *prng, size_t count)
{
    struct row *rows = xcalloc(count, sizeof *rows);
    int64_t now[WORLD_SOURCES] = {1700000000000, 1700000000000};
    int64_t offsets[WORLD_SOURCES] = {0};
    int64_t grain = prng_below(prng, 2) == 0 ? 1 : 500;
    for (size_t i = 0; i < count; i++) {
        row_random(&rows[i], prng, now, offsets, grain);
    }
    return rows;
}

static void rows_free(struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(rows[i].event.json);
        buf_free(&rows[i].headers);
    }
    free(rows);
}

/* ---- The oracle. */

struct group {
    uint32_t view;
    const char *usr;
    int64_t start;
    int64_t end;
    const struct row **members;
    size_t count;
    int64_t closed; /* offset; -1: never */
};

struct model {
    struct group *groups;
    size_t count;
    uint64_t late;
    struct buf lines; /* of messages and dead records */
};

static void member_add(struct group *group, const struct row *row)
{
    group->members = xrealloc(group->members, (group->count + 1) * sizeof *group->members);
    group->members[group->count++] = row;
}

static struct group *group_add(struct model *model, uint32_t view, const struct row *row,
                               int64_t start, int64_t end)
{
    model->groups = xrealloc(model->groups, (model->count + 1) * sizeof *model->groups);
    struct group *group = &model->groups[model->count++];
    *group =
        (struct group){.view = view, .usr = row->usr, .start = start, .end = end, .closed = -1};
    return group;
}

static void window_add(struct model *model, uint32_t view, const struct row *row, int64_t start,
                       int64_t end)
{
    struct group *found = NULL;
    for (size_t i = 0; i < model->count && found == NULL; i++) {
        struct group *group = &model->groups[i];
        bool same = group->view == view && group->end == end && strcmp(group->usr, row->usr) == 0;
        found = same ? group : NULL;
    }
    member_add(found == NULL ? group_add(model, view, row, start, end) : found, row);
}

static void windows_add(struct model *model, uint32_t view, const struct row *row, int64_t limit)
{
    static const int64_t sizes[VIEWS] = {3 * SECOND, 0, 5 * SECOND, 7 * SECOND};
    static const int64_t slides[VIEWS] = {3 * SECOND, 0, 2 * SECOND, 7 * SECOND};
    static const int64_t offsets[VIEWS] = {0, 0, 0, SECOND};
    int64_t size = sizes[view];
    int64_t start = (row->at - offsets[view]) / slides[view] * slides[view] + offsets[view];
    bool taken = false;
    for (; start + size > row->at; start -= slides[view]) {
        if (start + size > limit) {
            window_add(model, view, row, start, start + size);
            taken = true;
        }
    }
    model->late += taken ? 0 : 1;
}

static void session_add(struct model *model, uint32_t view, const struct row *row, int64_t limit)
{
    const int64_t gap = SECOND * 3 / 2;
    struct group *into = NULL;
    for (size_t i = 0; i < model->count; i++) {
        struct group *group = &model->groups[i];
        bool near = group->view == view && strcmp(group->usr, row->usr) == 0 &&
                    group->end > limit && group->start < row->at + gap && group->end > row->at;
        if (!near) {
            continue;
        }
        if (into == NULL) {
            into = group;
            continue;
        }
        for (size_t k = 0; k < group->count; k++) {
            member_add(into, group->members[k]);
        }
        into->start = into->start < group->start ? into->start : group->start;
        into->end = i64_max(into->end, group->end);
        group->view = VIEWS; /* no more */
    }
    if (into == NULL && row->at + gap <= limit) {
        model->late++;
        return;
    }
    into = into == NULL ? group_add(model, view, row, row->at, row->at + gap) : into;
    into->start = into->start < row->at ? into->start : row->at;
    into->end = i64_max(into->end, row->at + gap);
    member_add(into, row);
}

static int compare_groups(const void *a, const void *b)
{
    const struct group *left = a;
    const struct group *right = b;
    if (left->view != right->view) {
        return left->view < right->view ? -1 : 1;
    }
    if (left->end != right->end) {
        return left->end < right->end ? -1 : 1;
    }
    return strcmp(left->usr, right->usr);
}

static int compare_members(const void *a, const void *b)
{
    const struct row *left = *(const struct row *const *)a;
    const struct row *right = *(const struct row *const *)b;
    return (left->offset > right->offset) - (left->offset < right->offset);
}

/* Key, headers and value of the message; false: HAVING leaves it out. An error begins with '!'. */
static bool group_text(struct group *group, struct buf *out)
{
    int64_t sum = 0;
    int64_t numbers = 0;
    char top = 'a';
    struct buf words = {0};
    qsort(group->members, group->count, sizeof *group->members, compare_members);
    for (size_t i = 0; i < group->count; i++) {
        const struct row *row = group->members[i];
        sum += row->n >= 0 ? row->n : 0;
        numbers += row->n >= 0 ? 1 : 0;
        top = row->kind > top ? row->kind : top;
        buf_append_u8(&words, (uint8_t)row->kind);
    }
    char total[24] = "null";
    char time[TIME_TEXT_LEN];
    if (numbers > 0) {
        (void)snprintf(total, sizeof total, "%lld", (long long)sum);
    }
    time_format(group->view == 3 ? group->end : group->start, time);
    if (group->view == 0) {
        buf_printf(out,
                   "%s||{\"usr\":\"%s\",\"start\":\"%s\",\"n\":%zu,\"total\":%s,\"top\":\"%c\"}",
                   group->usr, group->usr, time, group->count, total, top);
    } else if (group->view == 1 && numbers == 0) {
        buf_append_text(out, "!column \"total\" is missing or null, and is NOT NULL");
    } else if (group->view == 1) {
        buf_printf(out, "%s||{\"usr\":\"%s\",\"start\":\"%s\",\"words\":\"%s\",\"total\":%s}",
                   group->usr, group->usr, time, buf_text(&words), total);
    } else if (group->view == 2 && numbers > 0 && sum == 7) {
        buf_append_text(out, "!h: share: division by zero");
    } else if (group->view == 2) {
        char share[24] = "null";
        if (numbers > 0) {
            (void)snprintf(share, sizeof share, "%lld", (long long)(100 / (sum - 7)));
        }
        buf_printf(out, "null|usr=%s|{\"n\":%zu,\"share\":%s}", group->usr, group->count, share);
    } else {
        buf_printf(out,
                   "%s||{\"usr\":\"%s\",\"start\":\"%s\",\"n\":%zu,\"total\":null,\"top\":null}",
                   group->usr, group->usr, time, group->count);
    }
    buf_free(&words);
    return group->view != 0 || group->count > 1;
}

static void model_lines(struct model *model, uint32_t source)
{
    int64_t record = -1;
    uint32_t view = VIEWS;
    uint32_t number = 0;
    bool refused = false;
    if (model->count > 0) {
        qsort(model->groups, model->count, sizeof *model->groups, compare_groups);
    }
    for (size_t i = 0; i < model->count; i++) {
        struct group *group = &model->groups[i];
        struct buf text = {0};
        if (group->view == VIEWS || group->closed < 0 || !group_text(group, &text)) {
            buf_free(&text);
            continue;
        }
        if (group->view != view || group->closed != record) {
            number = 0;
            refused = false;
        }
        view = group->view;
        record = group->closed;
        if (buf_text(&text)[0] == '!') {
            if (!refused) {
                buf_printf(&model->lines, "%u@%lld dead %c %s\n", source, (long long)record,
                           views[view].name, buf_text(&text));
            }
            refused = true;
        } else {
            buf_printf(&model->lines, "%u@%lld.%u.%u %lld %s\n", source, (long long)record,
                       views[view].output, views[view].seq + number * views[view].writers,
                       (long long)(group->end / 1000), buf_text(&text));
            number++;
        }
        buf_free(&text);
    }
}

static void model_run(struct model *model, const struct row *rows, size_t count, uint32_t source,
                      int64_t lateness, bool marks)
{
    int64_t limit = INT64_MIN;
    model->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        if (row->source != source || row->bad) {
            continue;
        }
        if (row->mark == marks) {
            limit = i64_max(limit, row->at - SECOND - lateness);
        }
        for (size_t g = 0; g < model->count; g++) {
            struct group *group = &model->groups[g];
            group->closed = group->closed < 0 && group->end <= limit ? row->offset : group->closed;
        }
        for (uint32_t v = 0; v < VIEWS && !row->mark; v++) {
            if (v == 1) {
                session_add(model, v, row, limit);
            } else if (v != 0 || row->kind != 'd') {
                windows_add(model, v, row, limit);
            }
        }
    }
    model_lines(model, source);
    for (size_t g = 0; g < model->count; g++) {
        free(model->groups[g].members);
    }
}

/* ---- What the store has, in the same words. */

static void put_bytes(struct buf *out, const uint8_t *bytes, uint32_t len)
{
    if (len == KAPPA_NULL_LEN) {
        buf_append_text(out, "null");
    } else {
        buf_append(out, bytes, len);
    }
}

static void store_lines(const struct mem_store *store, struct buf *out)
{
    for (size_t i = 0; i < store->out_count; i++) {
        const struct mem_change *change = &store->outs[i];
        struct kappa_record message = {0};
        assert_true(kappa_message_read(change->row.value, change->row.value_len, &message));
        buf_printf(out, "%u@%lld.%u.%u %lld ", change->source, (long long)change->number,
                   change->row.table, change->seq, (long long)message.time_ms);
        put_bytes(out, message.key, message.key_len);
        buf_append_text(out, "|");
        if (message.headers_len > 0) {
            uint32_t name = load_u32_le(message.headers);
            put_bytes(out, message.headers + 4, name);
            buf_append_text(out, "=");
            put_bytes(out, message.headers + 8 + name, load_u32_le(message.headers + 4 + name));
            assert_int_equal(8 + name + load_u32_le(message.headers + 4 + name),
                             message.headers_len);
        }
        buf_append_text(out, "|");
        put_bytes(out, message.value, message.value_len);
        buf_append_text(out, "\n");
    }
    for (size_t i = 0; i < store->dead_count; i++) {
        const struct mem_change *dead = &store->dead[i];
        const char *reason = (const char *)dead->row.key;
        if (dead->row.table == UINT32_MAX) {
            continue; /* a bad record */
        }
        const char *behind = strstr(reason, ", in the group ");
        size_t len = behind == NULL ? strlen(reason) : (size_t)(behind - reason);
        buf_printf(out, "%u@%lld dead %c !%.*s\n", dead->source, (long long)dead->number,
                   views[dead->row.table - VIEWS - 2].name, (int)len, reason);
    }
}

/* ---- */

/* Takes the text. */
static char *sorted_lines(struct buf *text)
{
    char **lines = NULL;
    size_t count = 0;
    for (const char *at = buf_text(text); *at != '\0'; at = strchr(at, '\n') + 1) {
        lines = xrealloc(lines, (count + 1) * sizeof *lines);
        lines[count++] = xasprintf("%.*s", (int)(strchr(at, '\n') - at), at);
    }
    buf_free(text);
    return oracle_sorted(lines, count);
}

static char *store_text(const struct mem_store *store)
{
    struct buf lines = {0};
    store_lines(store, &lines);
    return sorted_lines(&lines);
}

/* How the records are cut: at most `batch` at once, a commit every so many, some beginnings anew. */
static void run(struct world *w, const struct row *rows, size_t count, struct prng *prng,
                uint64_t batch, uint64_t commit_every)
{
    static struct kappa_record records[MANY];
    for (size_t i = 0; i < count;) {
        uint64_t most = 1 + prng_below(prng, batch);
        uint32_t source = rows[i].source;
        uint32_t n = 0;
        for (; i < count && n < most && rows[i].source == source; i++, n++) {
            const struct event *event = &rows[i].event;
            records[n] = (struct kappa_record){.offset = rows[i].offset,
                                               .key = (const uint8_t *)event->key,
                                               .key_len = u32_from(strlen(event->key)),
                                               .value = (const uint8_t *)event->json,
                                               .value_len = u32_from(event->len),
                                               .headers = rows[i].headers.data,
                                               .headers_len = u32_from(rows[i].headers.len)};
            if (rows[i].mark) {
                records[n].key = NULL;
                records[n].key_len = KAPPA_NULL_LEN;
                records[n].value_len = KAPPA_NULL_LEN;
            }
        }
        assert_int_equal(
            processor_apply(w->processor, source, records, n, records[n - 1].offset + 1, NULL), 0);
        if (commit_every > 0 && prng_below(prng, commit_every) == 0) {
            world_commit(w);
            if (prng_below(prng, 4) == 0) {
                processor_close(w->processor);
                world_start(w);
            }
        }
    }
    world_commit(w);
}

static void open(struct world *w, int64_t lateness_us, bool marks, size_t cache_bytes)
{
    char *text = xasprintf(definition, (long long)(lateness_us / 1000), marks ? "marks" : "events");
    world_open(w, text, cache_bytes, NULL);
    free(text);
}

static void close_all(struct world *worlds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        world_close(&worlds[i]);
    }
}

static void test_against_model(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("final"));
    for (int round = 0; round < 16; round++) {
        bool marks = round % 2 == 1;
        struct row *rows = rows_random(&prng, EVENTS);
        int64_t lateness = round % 3 == 0 ? 0 : (int64_t)prng_below(&prng, 4000) * 1000;
        struct model model = {0};
        for (uint32_t s = 0; s < WORLD_SOURCES; s++) {
            model_run(&model, rows, EVENTS, s, lateness, marks);
        }
        free(model.groups);
        char *expected = sorted_lines(&model.lines);
        struct world worlds[3];
        for (size_t i = 0; i < 3; i++) {
            open(&worlds[i], lateness, marks, i == 0 ? 1 << 20 : 1);
            run(&worlds[i], rows, EVENTS, &prng, i == 1 ? 1 : 50, i == 0 ? 0 : i == 1 ? 9 : 2);
            char *actual = store_text(&worlds[i].store);
            world_assert_same(actual, expected);
            free(actual);
            mem_assert_same_rows(&worlds[0].store, &worlds[i].store);
            uint64_t late = 0;
            uint64_t dead = 0;
            uint64_t bad = 0;
            for (uint32_t s = 0; s < WORLD_SOURCES; s++) {
                late += worlds[i].store.states[s].late;
            }
            for (size_t k = 0; k < worlds[i].store.dead_count; k++) {
                dead += worlds[i].store.dead[k].row.table == UINT32_MAX;
            }
            for (size_t k = 0; k < EVENTS; k++) {
                bad += rows[k].bad;
            }
            assert_int_equal(dead, bad);
            assert_int_equal(late, model.late);
            assert_int_equal(worlds[i].store.late_count, model.late);
        }
        assert_true(strlen(expected) > 1000);
        close_all(worlds, 3);
        free(expected);
        rows_free(rows, EVENTS);
    }
}

/* So many records at once that messages are made before anything asks for a commit. */
static void test_many(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, unit_seed("final"));
    struct row *rows = rows_random(&prng, MANY);
    struct world worlds[2];
    for (size_t i = 0; i < 2; i++) {
        open(&worlds[i], SECOND, false, i == 0 ? SIZE_MAX / 2 : 20000);
        run(&worlds[i], rows, MANY, &prng, i == 0 ? 5000 : 30, i == 0 ? 0 : 40);
    }
    char *once = store_text(&worlds[0].store);
    char *often = store_text(&worlds[1].store);
    world_assert_same(often, once);
    mem_assert_same_rows(&worlds[0].store, &worlds[1].store);
    free(once);
    free(often);
    close_all(worlds, 2);
    rows_free(rows, MANY);
}

/* Who must have one partition: groups that the message key does not keep together. */
static void test_partitions(void **state)
{
    (void)state;

    static const struct {
        const char *key;
        const char *group;
        bool one;
    } cases[] = {{"", "usr, window_end", true},
                 {", key='usr'", "usr, window_end", false},
                 {", key='usr'", "window_end, n, usr", false},
                 {", key='usr'", "n, window_end", true},
                 {", key='usr'", "window_end, lower(usr)", true}};

    for (size_t i = 0; i < array_len(cases); i++) {
        char *text = xasprintf("CREATE TABLE e (usr text, n bigint, at timestamptz) WITH "
                               "(event_time='at'%s);"
                               "CREATE TABLE o (n bigint) WITH (topic='o');"
                               "INSERT INTO o SELECT count(*) FROM tumble(e, at, '1 minute') "
                               "GROUP BY %s;",
                               cases[i].key, cases[i].group);
        struct plan *plan = NULL;
        assert_int_equal(plan_compile("f.sql", text, strlen(text), &plan, NULL), 0);
        assert_int_equal(plan->inputs[0].one_partition, cases[i].one);
        assert_int_equal(plan->view_count, 0);
        assert_int_equal(plan->table_count, 1);
        assert_true(plan->tables[0].hidden && plan->tables[0].shape.windowed);
        plan_free(plan);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_partitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
