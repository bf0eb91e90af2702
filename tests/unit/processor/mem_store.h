/* A naive store for tests of the processor: an ordered array of rows, the dead records, messages, and
 * the sources' states, changed by one transaction at a time. It checks what the processor promises:
 * puts in ascending order, is_new only for keys that are not there, expiry and dels before puts. */
#ifndef KAPPA_TESTS_MEM_STORE_H
#define KAPPA_TESTS_MEM_STORE_H

#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/err.h"
#include "include/kappa/record.h"
#include "include/kappa/row.h"
#include "processor/plan.h"

#include <string.h>

#define MEM_SOURCES 4

struct mem_row {
    uint32_t table;
    size_t key_len;
    size_t value_len;
    uint8_t *key;
    uint8_t *value;
};

struct mem_change {
    enum { MEM_PUT, MEM_EXPIRE, MEM_DEL, MEM_DEAD, MEM_LATE, MEM_OUT } kind;

    /* put: the row; dead: key = the reason, value = the record; out: table = output, value = message */
    struct mem_row row;
    bool is_new;
    uint32_t source; /* expire, dead, out */
    int64_t number;  /* expire: window end; dead, out: offset */
    uint32_t seq;    /* out */
};

struct mem_store {
    const struct plan *plan; /* NULL: no table is idle */
    struct mem_row *rows;
    size_t count;
    struct mem_change *dead;
    size_t dead_count;
    struct mem_change *late;
    size_t late_count;
    struct mem_change *outs; /* by source, offset, output, seq */
    size_t out_count;
    struct kappa_source_state states[MEM_SOURCES];
    struct mem_change *open; /* changes of the open transaction */
    size_t open_count;
    uint64_t loads;
    uint64_t puts;
};

static inline void *mem_copy(const void *bytes, size_t len)
{
    uint8_t *copy = xmalloc(len + 1);
    if (len > 0) {
        memcpy(copy, bytes, len);
    }
    copy[len] = 0;
    return copy;
}

static inline int mem_compare(const struct mem_row *a, uint32_t table, const void *key, size_t len)
{
    if (a->table != table) {
        return a->table < table ? -1 : 1;
    }
    int order = memcmp(a->key, key, a->key_len < len ? a->key_len : len);
    return order != 0 ? order : (a->key_len > len) - (a->key_len < len);
}

/* Index of the first row that is not below. */
static inline size_t mem_find(const struct mem_store *store, uint32_t table, const void *key,
                              size_t len)
{
    size_t low = 0;
    size_t high = store->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (mem_compare(&store->rows[middle], table, key, len) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static inline const struct mem_row *mem_get(const struct mem_store *store, uint32_t table,
                                            const void *key, size_t len)
{
    size_t at = mem_find(store, table, key, len);
    bool here = at < store->count && mem_compare(&store->rows[at], table, key, len) == 0;
    return here ? &store->rows[at] : NULL;
}

/* Room for one more: twice as much whenever it is full. */
static inline struct mem_change *mem_room(struct mem_change *list, size_t count)
{
    bool full = (count & (count - 1)) == 0;
    return full ? xrealloc(list, (2 * count + 1) * sizeof *list) : list;
}

static inline struct mem_change *mem_change(struct mem_store *store)
{
    store->open = mem_room(store->open, store->open_count);
    struct mem_change *change = &store->open[store->open_count++];
    memset(change, 0, sizeof *change);
    return change;
}

static inline int mem_put(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                          const uint8_t *value, size_t value_len, bool is_new, struct err *err)
{
    (void)err;
    struct mem_store *store = ctx;
    const struct mem_change *last =
        store->open_count == 0 ? NULL : &store->open[store->open_count - 1];
    if (last != NULL && last->kind == MEM_PUT && last->row.table == table) {
        assert_true(mem_compare(&last->row, table, key, key_len) < 0);
    }
    assert_true(key_len > KAPPA_KEY_SOURCE_BYTES - 1);
    struct mem_change *change = mem_change(store);
    change->kind = MEM_PUT;
    change->row = (struct mem_row){table, key_len, value_len, mem_copy(key, key_len),
                                   mem_copy(value, value_len)};
    change->is_new = is_new;
    store->puts++;
    return 0;
}

static inline void mem_assert_no_puts(const struct mem_store *store, uint32_t table)
{
    for (size_t i = 0; i < store->open_count; i++) {
        assert_false(store->open[i].kind == MEM_PUT && store->open[i].row.table == table);
    }
}

static inline int mem_expire(void *ctx, uint32_t table, uint32_t source, int64_t window_end,
                             struct err *err)
{
    (void)err;
    struct mem_store *store = ctx;
    mem_assert_no_puts(store, table);
    struct mem_change *change = mem_change(store);
    change->kind = MEM_EXPIRE;
    change->row.table = table;
    change->source = source;
    change->number = window_end;
    return 0;
}

static inline int mem_del(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                          struct err *err)
{
    (void)err;
    struct mem_store *store = ctx;
    mem_assert_no_puts(store, table);
    struct mem_change *change = mem_change(store);
    change->kind = MEM_DEL;
    change->row = (struct mem_row){table, key_len, 0, mem_copy(key, key_len), NULL};
    return 0;
}

static inline int mem_keep(struct mem_store *store, struct mem_change kept, uint32_t view,
                           const char *reason, const uint8_t *value, uint32_t value_len)
{
    kept.row = (struct mem_row){view, strlen(reason), value_len, mem_copy(reason, strlen(reason)),
                                mem_copy(value, value_len)};
    *mem_change(store) = kept;
    return 0;
}

static inline int mem_dead(void *ctx, uint32_t source, int64_t offset, uint32_t view,
                           const char *reason, const uint8_t *value, uint32_t value_len,
                           struct err *err)
{
    (void)err;
    struct mem_change kept = {.kind = MEM_DEAD, .source = source, .number = offset};
    return mem_keep(ctx, kept, view, reason, value, value_len);
}

static inline int mem_late(void *ctx, uint32_t source, int64_t offset, uint32_t view,
                           const char *reason, const uint8_t *value, uint32_t value_len,
                           struct err *err)
{
    (void)err;
    struct mem_change kept = {.kind = MEM_LATE, .source = source, .number = offset};
    return mem_keep(ctx, kept, view, reason, value, value_len);
}

static inline int mem_out(void *ctx, uint32_t output, uint32_t source, int64_t offset, uint32_t seq,
                          const uint8_t *message, size_t len, struct err *err)
{
    (void)err;
    struct mem_change *change = mem_change(ctx);
    change->kind = MEM_OUT;
    change->row = (struct mem_row){output, 0, len, NULL, mem_copy(message, len)};
    change->source = source;
    change->number = offset;
    change->seq = seq;
    return 0;
}

static inline struct kappa_change_sink mem_sink(struct mem_store *store)
{
    return (struct kappa_change_sink){.ctx = store,
                                      .put = mem_put,
                                      .expire = mem_expire,
                                      .del = mem_del,
                                      .out = mem_out,
                                      .dead = mem_dead,
                                      .late = mem_late};
}

static inline void mem_abort(struct mem_store *store)
{
    for (size_t i = 0; i < store->open_count; i++) {
        free(store->open[i].row.key);
        free(store->open[i].row.value);
    }
    store->open_count = 0;
}

static inline void mem_remove(struct mem_store *store, size_t at)
{
    free(store->rows[at].key);
    free(store->rows[at].value);
    memmove(store->rows + at, store->rows + at + 1, (store->count - at - 1) * sizeof *store->rows);
    store->count--;
}

static inline void mem_apply_put(struct mem_store *store, const struct mem_change *change)
{
    const struct mem_row *row = &change->row;
    size_t at = mem_find(store, row->table, row->key, row->key_len);
    if (at < store->count &&
        mem_compare(&store->rows[at], row->table, row->key, row->key_len) == 0) {
        assert_false(change->is_new);
        mem_remove(store, at);
    }
    store->rows = xrealloc(store->rows, (store->count + 1) * sizeof *store->rows);
    memmove(store->rows + at + 1, store->rows + at, (store->count - at) * sizeof *store->rows);
    store->rows[at] = *row;
    store->count++;
}

static inline void mem_apply_expire(struct mem_store *store, const struct mem_change *change)
{
    for (size_t i = 0; i < store->count;) {
        const struct mem_row *row = &store->rows[i];
        bool idle = store->plan != NULL && row->table < store->plan->view_count &&
                    store->plan->views[row->table].shape.idle;
        const uint8_t *time = idle ? row->value : row->key + KAPPA_KEY_SOURCE_BYTES;
        bool gone = row->table == change->row.table && load_u16_be(row->key) == change->source &&
                    load_i64_sortable(time) <= change->number;
        if (gone) {
            mem_remove(store, i);
        } else {
            i++;
        }
    }
}

static inline void mem_apply_del(struct mem_store *store, const struct mem_change *change)
{
    const struct mem_row *row = &change->row;
    size_t at = mem_find(store, row->table, row->key, row->key_len);
    if (at < store->count &&
        mem_compare(&store->rows[at], row->table, row->key, row->key_len) == 0) {
        mem_remove(store, at);
    }
    free(row->key);
}

static inline int mem_compare_outs(const struct mem_change *a, const struct mem_change *b)
{
    return a->source != b->source         ? (a->source < b->source ? -1 : 1)
           : a->number != b->number       ? (a->number < b->number ? -1 : 1)
           : a->row.table != b->row.table ? (a->row.table < b->row.table ? -1 : 1)
                                          : (a->seq > b->seq) - (a->seq < b->seq);
}

/* Each message is named once. */
static inline void mem_apply_out(struct mem_store *store, const struct mem_change *change)
{
    size_t at = store->out_count;
    while (at > 0 && mem_compare_outs(&store->outs[at - 1], change) > 0) {
        at--;
    }
    assert_true(at == 0 || mem_compare_outs(&store->outs[at - 1], change) < 0);
    store->outs = mem_room(store->outs, store->out_count);
    memmove(store->outs + at + 1, store->outs + at, (store->out_count - at) * sizeof *store->outs);
    store->outs[at] = *change;
    store->out_count++;
}

static inline void mem_commit(struct mem_store *store)
{
    for (size_t i = 0; i < store->open_count; i++) {
        const struct mem_change *change = &store->open[i];
        if (change->kind == MEM_PUT) {
            mem_apply_put(store, change);
        } else if (change->kind == MEM_EXPIRE) {
            mem_apply_expire(store, change);
        } else if (change->kind == MEM_DEL) {
            mem_apply_del(store, change);
        } else if (change->kind == MEM_OUT) {
            mem_apply_out(store, change);
        } else if (change->kind == MEM_LATE) {
            store->late = mem_room(store->late, store->late_count);
            store->late[store->late_count++] = *change;
        } else {
            store->dead = mem_room(store->dead, store->dead_count);
            store->dead[store->dead_count++] = *change;
        }
    }
    store->open_count = 0;
}

static inline int mem_load(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                           const uint8_t **value, size_t *value_len, struct err *err)
{
    (void)err;
    struct mem_store *store = ctx;
    store->loads++;
    const struct mem_row *row = mem_get(store, table, key, key_len);
    if (row == NULL) {
        return 0;
    }
    *value = row->value;
    *value_len = row->value_len;
    return 1;
}

static inline int mem_window_below(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                                   int64_t below, int64_t *window_end, struct err *err)
{
    (void)err;
    struct mem_store *store = ctx;
    int found = 0;
    for (size_t i = 0; i < store->count; i++) {
        const struct mem_row *row = &store->rows[i];
        if (row->table != table || row->key_len != key_len + 8 || memcmp(row->key, key, 2) != 0 ||
            memcmp(row->key + 10, key + 2, key_len - 2) != 0) {
            continue;
        }
        int64_t end = load_i64_sortable(row->key + 2);
        if (end < below) {
            *window_end = found ? i64_max(end, *window_end) : end;
            found = 1;
        }
    }
    return found;
}

static inline int mem_row_from(void *ctx, uint32_t table, const uint8_t *key, size_t key_len,
                               const uint8_t **found, size_t *found_len, const uint8_t **value,
                               size_t *value_len, struct err *err)
{
    (void)err;
    const struct mem_store *store = ctx;
    size_t at = mem_find(store, table, key, key_len);
    if (at == store->count || store->rows[at].table != table) {
        return 0;
    }
    const struct mem_row *row = &store->rows[at];
    *found = row->key;
    *found_len = row->key_len;
    *value = row->value;
    *value_len = row->value_len;
    return 1;
}

static inline void mem_open(struct mem_store *store)
{
    memset(store, 0, sizeof *store);
    for (uint32_t s = 0; s < MEM_SOURCES; s++) {
        store->states[s].event_time_max = KAPPA_NO_TIME;
        store->states[s].record_time_max = KAPPA_NO_TIME;
    }
}

static inline void mem_close(struct mem_store *store)
{
    mem_abort(store);
    while (store->count > 0) {
        mem_remove(store, store->count - 1);
    }
    for (size_t i = 0; i < store->dead_count; i++) {
        free(store->dead[i].row.key);
        free(store->dead[i].row.value);
    }
    for (size_t i = 0; i < store->late_count; i++) {
        free(store->late[i].row.key);
        free(store->late[i].row.value);
    }
    for (size_t i = 0; i < store->out_count; i++) {
        free(store->outs[i].row.value);
    }
    free(store->outs);
    free(store->rows);
    free(store->dead);
    free(store->late);
    free(store->open);
}

/* Every row of the one is in the other, with the same bytes. */
static inline void mem_assert_same_rows(const struct mem_store *a, const struct mem_store *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(
            mem_compare(&a->rows[i], b->rows[i].table, b->rows[i].key, b->rows[i].key_len), 0);
        assert_int_equal(a->rows[i].value_len, b->rows[i].value_len);
        assert_memory_equal(a->rows[i].value, b->rows[i].value, a->rows[i].value_len);
    }
}

#endif
