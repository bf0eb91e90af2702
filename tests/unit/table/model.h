/* The oracle of the table tests: rows in a plain sorted array, searched linearly, digests and leaves
 * computed from scratch; and a maker of random commits that are applied to a store and to the model.
 *
 * Nothing here shares code with table/ but the hashes of a row and of a key. */
#ifndef KAPPA_TESTS_TABLE_MODEL_H
#define KAPPA_TESTS_TABLE_MODEL_H

#include "base/prng.h"
#include "table/delta.h"
#include "table/store.h"
#include "table/view.h"
#include "tests/unit/table/temp.h"

#include <string.h>

#define MODEL_TABLES  5 /* 0 plain, 1 windows, 2 appended, 3 windows with history, 4 idle */
#define MODEL_SOURCES 4
#define MODEL_LEAF    2 /* bits: a leaf has 4 rows on average */

static const struct kappa_table_shape model_shapes[MODEL_TABLES] = {
    {.name = "users", .leaves = true},
    {.name = "clicks_5m", .windowed = true, .leaves = true},
    {.name = "raw", .leaves = true},
    {.name = "sessions", .windowed = true, .history = true, .leaves = true},
    {.name = "last_seen", .idle = true, .leaves = true},
};

struct model_row {
    uint32_t table;
    size_t key_len;
    size_t value_len;
    uint8_t key[64];
    uint8_t *value;
};

struct model {
    struct model_row *rows; /* by table, then key */
    size_t count;
    struct kappa_source_state states[MODEL_SOURCES];
    int64_t next_append[MODEL_SOURCES];
    uint64_t dead;
};

/* ---- the model */

static int model_order(uint32_t table_a, const uint8_t *a, size_t a_len, uint32_t table_b,
                       const uint8_t *b, size_t b_len)
{
    if (table_a != table_b) {
        return table_a < table_b ? -1 : 1;
    }
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order != 0 ? order : (a_len > b_len) - (a_len < b_len);
}

/* Index of the first row that is not below the key. */
static size_t model_find(const struct model *model, uint32_t table, const uint8_t *key, size_t len,
                         bool *found)
{
    size_t i = 0;
    *found = false;
    while (i < model->count) {
        const struct model_row *row = &model->rows[i];
        int order = model_order(row->table, row->key, row->key_len, table, key, len);
        if (order >= 0) {
            *found = order == 0;
            break;
        }
        i++;
    }
    return i;
}

static void model_put(struct model *model, const struct model_row *put)
{
    bool found = false;
    size_t at = model_find(model, put->table, put->key, put->key_len, &found);
    if (!found) {
        model->rows = xrealloc(model->rows, (model->count + 1) * sizeof *model->rows);
        memmove(&model->rows[at + 1], &model->rows[at], (model->count - at) * sizeof *model->rows);
        model->count++;
    } else {
        free(model->rows[at].value);
    }
    model->rows[at] = *put;
    model->rows[at].value = xmalloc(put->value_len + 1);
    memcpy(model->rows[at].value, put->value, put->value_len);
}

static void model_expire(struct model *model, uint32_t table, uint32_t source, int64_t limit)
{
    size_t kept = 0;
    for (size_t i = 0; i < model->count; i++) {
        struct model_row *row = &model->rows[i];
        const uint8_t *time = table == 4 ? row->value : row->key + 2;
        if (row->table == table && load_u16_be(row->key) == source &&
            load_i64_sortable(time) <= limit) {
            free(row->value);
        } else {
            model->rows[kept++] = *row;
        }
    }
    model->count = kept;
}

static void model_free(struct model *model)
{
    for (size_t i = 0; i < model->count; i++) {
        free(model->rows[i].value);
    }
    free(model->rows);
    memset(model, 0, sizeof *model);
}

static void model_init(struct model *model)
{
    memset(model, 0, sizeof *model);
    for (uint32_t i = 0; i < MODEL_SOURCES; i++) {
        model->states[i].event_time_max = KAPPA_NO_TIME;
        model->states[i].record_time_max = KAPPA_NO_TIME;
    }
}

static void model_copy(struct model *to, const struct model *from)
{
    *to = *from;
    to->rows = xmalloc((from->count + 1) * sizeof *to->rows);
    for (size_t i = 0; i < from->count; i++) {
        to->rows[i] = from->rows[i];
        to->rows[i].value = xmalloc(from->rows[i].value_len + 1);
        memcpy(to->rows[i].value, from->rows[i].value, from->rows[i].value_len);
    }
}

static struct digest model_digest(const struct model *model, uint32_t table, uint32_t source)
{
    struct digest sum = {0};
    for (size_t i = 0; i < model->count; i++) {
        const struct model_row *row = &model->rows[i];
        if (row->table == table && load_u16_be(row->key) == source) {
            digest_add(&sum, digest_row(table, row->key, row->key_len, row->value, row->value_len));
        }
    }
    return sum;
}

/* ---- one random commit */

struct model_op {
    enum { OP_EXPIRE, OP_DEL, OP_PUT, OP_DEAD } kind;

    bool is_new;
    uint32_t source;
    int64_t number; /* window limit, or offset of the dead record */
    struct model_row row;
};

struct model_batch {
    struct model_op *ops;
    size_t count;
    struct model after;
};

static void batch_add(struct model_batch *batch, const struct model_op *op)
{
    batch->ops = xrealloc(batch->ops, (batch->count + 1) * sizeof *batch->ops);
    batch->ops[batch->count++] = *op;
}

static void batch_key(struct prng *prng, struct model *after, struct model_row *row, uint32_t table,
                      uint32_t source)
{
    row->table = table;
    store_u16_be(row->key, (uint16_t)source);
    row->key_len = 2;
    if (table == 2) {
        store_i64_sortable(row->key + 2, after->next_append[source]++);
        row->key_len += 8;
        return;
    }
    if (table == 1 || table == 3) {
        /* Windows move on with the commits, some lie behind, one is negative. */
        int64_t newest = (int64_t)(after->states[source].records / 8);
        store_i64_sortable(row->key + 2, (newest - (int64_t)prng_below(prng, 4)) * 300);
        row->key_len += 8;
    }
    row->key[row->key_len++] = 1;
    int len = snprintf((char *)row->key + row->key_len, 32, "user%llu",
                       (unsigned long long)prng_below(prng, 40));
    row->key_len += (size_t)len + 2; /* with its two zero bytes */
}

static int op_order(const void *a, const void *b)
{
    const struct model_op *x = a;
    const struct model_op *y = b;
    return model_order(x->row.table, x->row.key, x->row.key_len, y->row.table, y->row.key,
                       y->row.key_len);
}

/* Times of a row only grow. */
static void idle_time(struct prng *prng, const struct model *after, struct model_row *row)
{
    bool found = false;
    size_t at = model_find(after, row->table, row->key, row->key_len, &found);
    int64_t newest = (int64_t)(after->states[load_u16_be(row->key)].records / 8) * 300;
    int64_t time = newest - (int64_t)prng_below(prng, 600);
    if (found) {
        time = i64_max(time, load_i64_sortable(after->rows[at].value));
    }
    store_i64_sortable(row->value, time);
}

static void batch_puts(struct prng *prng, struct model_batch *batch, uint32_t table)
{
    struct model *after = &batch->after;
    size_t first = batch->count;
    size_t count = prng_below(prng, 30);
    for (size_t i = 0; i < count; i++) {
        struct model_op op = {.kind = OP_PUT, .source = (uint32_t)prng_below(prng, MODEL_SOURCES)};
        memset(&op.row, 0, sizeof op.row);
        batch_key(prng, after, &op.row, table, op.source);
        op.row.value_len =
            prng_below(prng, 20) == 0 ? prng_below(prng, 9000) : prng_below(prng, 200);
        op.row.value_len += table == 4 ? 8 : 0;
        batch_add(batch, &op);
    }
    if (batch->count > first) {
        qsort(&batch->ops[first], batch->count - first, sizeof *batch->ops, op_order);
    }
    size_t kept = first;
    for (size_t i = first; i < batch->count; i++) {
        struct model_op *op = &batch->ops[i];
        bool found = false;
        if (kept > first && op_order(&batch->ops[kept - 1], op) == 0) {
            continue; /* a flush has each key once */
        }
        (void)model_find(after, table, op->row.key, op->row.key_len, &found);
        op->is_new = !found && prng_below(prng, 4) != 0;
        op->row.value = xmalloc(op->row.value_len + 1);
        for (size_t b = 0; b < op->row.value_len; b++) {
            op->row.value[b] = (uint8_t)prng_next(prng);
        }
        if (table == 4) {
            idle_time(prng, after, &op->row);
        }
        model_put(after, &op->row);
        batch->ops[kept++] = *op;
    }
    batch->count = kept;
}

static void model_del(struct model *model, const struct model_row *row)
{
    bool found = false;
    size_t at = model_find(model, row->table, row->key, row->key_len, &found);
    if (found) {
        free(model->rows[at].value);
        memmove(&model->rows[at], &model->rows[at + 1],
                (model->count - at - 1) * sizeof *model->rows);
        model->count--;
    }
}

/* Rows that are there, and some that are not. */
static void batch_dels(struct prng *prng, struct model_batch *batch, uint32_t table)
{
    struct model *after = &batch->after;
    while (table != 1 && prng_below(prng, 4) != 0) {
        struct model_op op = {.kind = OP_DEL};
        if (after->count > 0) {
            op.row = after->rows[prng_below(prng, after->count)];
        }
        if (op.row.table != table || op.row.key_len == 0) {
            if (table == 2) {
                continue;
            }
            batch_key(prng, after, &op.row, table, (uint32_t)prng_below(prng, MODEL_SOURCES));
        }
        op.row.value = NULL;
        model_del(after, &op.row);
        batch_add(batch, &op);
    }
}

/* A function of the model and the generator alone. */
static void batch_make(struct prng *prng, const struct model *before, struct model_batch *batch)
{
    memset(batch, 0, sizeof *batch);
    model_copy(&batch->after, before);
    struct model *after = &batch->after;
    for (uint32_t source = 0; source < MODEL_SOURCES; source++) {
        if (prng_below(prng, 3) == 0) {
            continue;
        }
        struct kappa_source_state *state = &after->states[source];
        state->next_offset += (int64_t)prng_below(prng, 100);
        state->records += prng_below(prng, 20);
        state->event_time_max = (int64_t)prng_next(prng) >> 8;
        state->record_time_max = prng_below(prng, 2) ? KAPPA_NO_TIME : -5;
        state->late++;
    }
    for (uint32_t table = 0; table < MODEL_TABLES; table++) {
        while ((table == 1 || table >= 3) && prng_below(prng, 3) == 0) {
            struct model_op op = {.kind = OP_EXPIRE};
            op.source = (uint32_t)prng_below(prng, MODEL_SOURCES);
            op.number =
                ((int64_t)(after->states[op.source].records / 8) - (int64_t)prng_below(prng, 4)) *
                300;
            op.row.table = table;
            model_expire(after, table, op.source, op.number);
            batch_add(batch, &op);
        }
        batch_dels(prng, batch, table);
        batch_puts(prng, batch, table);
    }
    while (prng_below(prng, 3) == 0) {
        struct model_op op = {.kind = OP_DEAD, .source = (uint32_t)prng_below(prng, MODEL_SOURCES)};
        op.number = (int64_t)after->dead++;
        batch_add(batch, &op);
    }
}

static void batch_free(struct model_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        free(batch->ops[i].row.value);
    }
    free(batch->ops);
    model_free(&batch->after);
}

/* Everything but the commit: 0 or the first error. */
static int batch_flush(const struct model_batch *batch, struct store *store, struct err *err)
{
    const struct kappa_change_sink *sink = store_sink(store);
    int rc = 0;
    for (size_t i = 0; i < batch->count && rc == 0; i++) {
        const struct model_op *op = &batch->ops[i];
        const struct model_row *row = &op->row;
        if (op->kind == OP_EXPIRE) {
            rc = sink->expire(sink->ctx, row->table, op->source, op->number, err);
        } else if (op->kind == OP_DEL) {
            rc = sink->del(sink->ctx, row->table, row->key, row->key_len, err);
        } else if (op->kind == OP_PUT) {
            rc = sink->put(sink->ctx, row->table, row->key, row->key_len, row->value,
                           row->value_len, op->is_new, err);
        } else {
            bool null = op->number % 5 == 0;
            rc = sink->dead(
                sink->ctx, op->source, op->number, op->number % 2 ? 1 : UINT32_MAX, "no such thing",
                null ? NULL : (const uint8_t *)"{\"a\":", null ? KAPPA_NULL_LEN : 5, err);
        }
    }
    for (uint32_t source = 0; source < MODEL_SOURCES && rc == 0; source++) {
        rc = store_source_put(store, source, &batch->after.states[source], err);
    }
    return rc;
}

/* Flush and commit, again while the map grows. grown may be NULL. */
static int batch_apply(const struct model_batch *batch, struct store *store, uint32_t *grown,
                       struct err *err)
{
    for (;;) {
        int rc = store_begin(store, err);
        if (rc == 0) {
            rc = batch_flush(batch, store, err);
        }
        if (rc == 0) {
            rc = store_commit(store, err);
        }
        if (rc != -KE_AGAIN) {
            return rc;
        }
        if (grown != NULL) {
            (*grown)++;
        }
    }
}

/* ---- comparing */

struct dead_count {
    uint64_t count;
    uint32_t source;
    int64_t offset;
};

static bool count_dead(void *ctx, const struct view_dead *dead)
{
    struct dead_count *seen = ctx;
    assert_true(seen->count == 0 || dead->source > seen->source ||
                (dead->source == seen->source && dead->offset > seen->offset));
    seen->source = dead->source;
    seen->offset = dead->offset;
    seen->count++;
    assert_int_equal(dead->view, dead->offset % 2 ? 1 : UINT32_MAX);
    assert_int_equal(dead->reason_len, 13);
    assert_memory_equal(dead->reason, "no such thing", 13);
    if (dead->offset % 5 == 0) {
        assert_int_equal(dead->bytes_len, KAPPA_NULL_LEN);
        assert_null(dead->bytes);
    } else {
        assert_int_equal(dead->bytes_len, 5);
        assert_memory_equal(dead->bytes, "{\"a\":", 5);
    }
    return true;
}

/* The merged scan gives the model's rows, each once, in order of (key behind source, source). */
static void check_scan(const struct model *model, struct view_snapshot *snapshot, uint32_t table)
{
    struct view_cursor *cursor = NULL;
    assert_ok(view_cursor_open(snapshot, table, (struct view_sources){0, MODEL_SOURCES}, &cursor,
                               &fault));
    size_t expected = 0;
    for (size_t i = 0; i < model->count; i++) {
        expected += model->rows[i].table == table;
    }
    uint8_t last[64];
    size_t last_len = 0;
    uint32_t last_source = 0;
    size_t seen = 0;
    uint32_t source;
    const uint8_t *key;
    const uint8_t *value;
    size_t key_len;
    size_t value_len;
    while (view_cursor_next(cursor, &source, &key, &key_len, &value, &value_len, NULL) == 1) {
        if (seen > 0) {
            int order = model_order(0, last, last_len, 0, key, key_len);
            assert_true(order < 0 || (order == 0 && last_source < source));
        }
        uint8_t whole[64];
        store_u16_be(whole, (uint16_t)source);
        memcpy(whole + 2, key, key_len);
        bool found = false;
        size_t at = model_find(model, table, whole, key_len + 2, &found);
        assert_true(found);
        assert_int_equal(value_len, model->rows[at].value_len);
        assert_memory_equal(value, model->rows[at].value, value_len);
        memcpy(last, key, key_len);
        last_len = key_len;
        last_source = source;
        seen++;
    }
    assert_int_equal(seen, expected);
    view_cursor_close(cursor);
}

static bool same_key(const struct model_row *a, const struct model_row *b)
{
    return a->table == b->table && a->key_len == b->key_len && memcmp(a->key, b->key, 2) == 0 &&
           memcmp(a->key + 10, b->key + 10, a->key_len - 10) == 0;
}

/* The newest window of the row's key; with history the first one behind the row's as well. */
static void check_windows(const struct model *model, struct view_snapshot *snapshot,
                          const struct model_row *row)
{
    uint32_t source = load_u16_be(row->key);
    int64_t own = load_i64_sortable(row->key + 2);
    int64_t newest = INT64_MIN;
    int64_t next = INT64_MAX;
    for (size_t j = 0; j < model->count; j++) {
        if (same_key(row, &model->rows[j])) {
            int64_t end = load_i64_sortable(model->rows[j].key + 2);
            newest = i64_max(newest, end);
            next = end > own && end < next ? end : next;
        }
    }
    int64_t end = 0;
    const uint8_t *columns = row->key + 10;
    size_t len = row->key_len - 10;
    assert_int_equal(view_newest(snapshot, row->table, source, columns, len, &end, NULL), 1);
    assert_int_equal(end, newest);
    if (row->table == 3) {
        assert_int_equal(view_window_from(snapshot, 3, source, columns, len, own, &end, NULL), 1);
        assert_int_equal(end, own);
        int rc = view_window_from(snapshot, 3, source, columns, len, own + 1, &end, NULL);
        assert_int_equal(rc, next != INT64_MAX);
        assert_true(rc == 0 || end == next);
    }
}

static void check_absent(const struct model *model, struct view_snapshot *snapshot, uint32_t table,
                         uint32_t source, uint32_t user)
{
    uint8_t key[40] = {1};
    int len = snprintf((char *)key + 1, 32, "user%u", user) + 3;
    bool any = false;
    for (size_t j = 0; j < model->count; j++) {
        const struct model_row *row = &model->rows[j];
        any |= row->table == table && load_u16_be(row->key) == source &&
               row->key_len == (size_t)len + 10 && memcmp(row->key + 10, key, (size_t)len) == 0;
    }
    int64_t end = 0;
    assert_int_equal(view_newest(snapshot, table, source, key, (size_t)len, &end, NULL), any);
}

/* Every row alone, and the windows of every key of tables 1 and 3. */
static void check_gets(const struct model *model, struct view_snapshot *snapshot)
{
    for (size_t i = 0; i < model->count; i++) {
        const struct model_row *row = &model->rows[i];
        uint32_t source = load_u16_be(row->key);
        const uint8_t *value = NULL;
        size_t len = 0;
        assert_int_equal(view_get(snapshot, row->table, source, row->key + 2, row->key_len - 2,
                                  &value, &len, NULL),
                         1);
        assert_int_equal(len, row->value_len);
        assert_memory_equal(value, row->value, len);
        if (row->table == 1 || row->table == 3) {
            check_windows(model, snapshot, row);
        }
    }
    /* Keys whose windows are all gone have no newest one. */
    for (uint32_t user = 0; user < 40 * MODEL_SOURCES; user++) {
        check_absent(model, snapshot, 1, user % MODEL_SOURCES, user / MODEL_SOURCES);
        check_absent(model, snapshot, 3, user % MODEL_SOURCES, user / MODEL_SOURCES);
    }
}

static void check_sources(const struct model *model, struct view_snapshot *snapshot)
{
    for (uint32_t source = 0; source < MODEL_SOURCES; source++) {
        struct store_source found;
        (void)view_source(snapshot, source, &found);
        assert_memory_equal(&found.state, &model->states[source], sizeof found.state);
        for (uint32_t table = 0; table < MODEL_TABLES; table++) {
            assert_true(digest_equal(found.digests[table], model_digest(model, table, source)));
        }
    }
}

struct leaf_walk {
    const struct model *model;
    uint32_t table;
    size_t row; /* the next one of the model */
    size_t leaves;
};

/* A leaf holds its first row and those behind it until the next one that begins a leaf. */
static void check_leaf(void *ctx, const uint8_t *low, size_t len, struct digest sum, uint64_t rows)
{
    struct leaf_walk *walk = ctx;
    const struct model *model = walk->model;
    struct digest expected = {0};
    uint64_t count = 0;
    const struct model_row *first = &model->rows[walk->row];
    bool begins = (hash_bytes(first->key + 2, first->key_len - 2) & ((1U << MODEL_LEAF) - 1)) == 0;
    assert_int_equal(len, begins ? first->key_len : 2);
    assert_memory_equal(low, first->key, len);
    while (walk->row < model->count) {
        const struct model_row *row = &model->rows[walk->row];
        begins = (hash_bytes(row->key + 2, row->key_len - 2) & ((1U << MODEL_LEAF) - 1)) == 0;
        if (row->table != walk->table || memcmp(row->key, low, 2) != 0 || (begins && count > 0)) {
            break;
        }
        digest_add(&expected,
                   digest_row(row->table, row->key, row->key_len, row->value, row->value_len));
        count++;
        walk->row++;
    }
    assert_true(count > 0);
    assert_int_equal(rows, count);
    assert_true(digest_equal(sum, expected));
    walk->leaves++;
}

static void check_leaves(const struct model *model, struct view_snapshot *snapshot, uint32_t table)
{
    struct leaf_walk walk = {.model = model, .table = table};
    while (walk.row < model->count && model->rows[walk.row].table < table) {
        walk.row++;
    }
    for (uint32_t source = 0; source < MODEL_SOURCES; source++) {
        assert_ok(view_leaf_each(snapshot, table, source, check_leaf, &walk, &fault));
    }
    assert_true(walk.row == model->count || model->rows[walk.row].table > table);
}

/* dir: of the version; its environment is dir/0. */
static void model_check(const struct model *model, const char *dir)
{
    struct view *view = NULL;
    struct view_snapshot *snapshot = NULL;
    assert_ok(view_open(dir, 1, model_shapes, MODEL_TABLES, &view, &fault));
    assert_ok(view_snapshot_begin(view, &snapshot, &fault));
    for (uint32_t table = 0; table < MODEL_TABLES; table++) {
        check_scan(model, snapshot, table);
        check_leaves(model, snapshot, table);
    }
    check_gets(model, snapshot);
    check_sources(model, snapshot);
    struct dead_count dead = {0};
    assert_ok(view_dead_each(snapshot, VIEW_DEAD, MODEL_SOURCES, count_dead, &dead, &fault));
    assert_int_equal(dead.count, model->dead);
    view_snapshot_end(snapshot);
    view_close(view);
}

/* dir/0 with the model's tables and the smallest map. */
static struct store *model_store(const char *dir, bool building)
{
    char *path = xasprintf("%s/0", dir);
    struct store_options options = {.dir = path,
                                    .tables = model_shapes,
                                    .table_count = MODEL_TABLES,
                                    .building = building,
                                    .map_bytes = 1,
                                    .leaf_bits = MODEL_LEAF};
    struct store *store = NULL;
    assert_ok(store_open(&options, &store, &fault));
    free(path);
    return store;
}

#endif
