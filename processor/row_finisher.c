/* Reading a row: the states that the sources keep for one key are merged, in the order of the
 * sources, and the final program makes the output columns of them. Interface: processor.h. */
#include "processor/agg_top.h"
#include "processor/key_codec.h"
#include "processor/numeric.h"
#include "processor/processor.h"
#include "processor/value_codec.h"
#include "processor/value_text.h"

#include <stdlib.h>
#include <string.h>

#define KEY_SHOWN 200

struct row_finisher {
    const struct plan_view *view;
    struct expr_machine machine; /* one row */
    struct agg_layout layout;
    struct pool pool;
    struct arena memory;
    struct arena row; /* key and texts of the row at hand */
    uint8_t *state;   /* merged so far */
    uint8_t *part;    /* zeros: scratch for what the next source adds */
    uint32_t parts;   /* merged */
    int64_t window_end;
    int64_t start;      /* of sessions: of the first one */
    const uint8_t *key; /* in `row` */
    size_t key_len;
    struct kappa_value *values;
};

struct row_finisher *row_finisher_new(const struct plan *plan, uint32_t view)
{
    ASSERT_CMP(view, <, plan->pipeline_count);
    struct row_finisher *f = xcalloc(1, sizeof *f);
    f->view = &plan->views[view];
    arena_init(&f->memory);
    arena_init(&f->row);
    pool_init(&f->pool);
    expr_machine_open(&f->machine, &f->view->final, 1);
    bool group = f->view->kind == PLAN_GROUP;
    const struct plan_top *top = f->view->top;
    uint32_t results = top == NULL ? f->view->aggregate_count : top->column_count + 1;
    ASSERT_CMP(f->view->final.input_count, ==,
               group ? f->view->key_count + results : f->view->append_count);
    agg_layout_init(&f->layout, &f->memory, f->view->aggregates,
                    group ? f->view->aggregate_count : 0);
    agg_layout_for_reading(&f->layout);
    f->state = arena_calloc(&f->memory, f->layout.bytes);
    f->part = arena_calloc(&f->memory, f->layout.bytes);
    f->values = arena_calloc(&f->memory, (f->view->output_count + 1) * sizeof *f->values);
    return f;
}

void row_finisher_free(struct row_finisher *f)
{
    if (f == NULL) {
        return;
    }
    agg_state_free(&f->layout, f->state, &f->pool);
    expr_machine_close(&f->machine);
    pool_close(&f->pool);
    arena_free(&f->row);
    arena_free(&f->memory);
    free(f);
}

void row_finisher_begin(struct row_finisher *f, int64_t window_end, const uint8_t *key,
                        size_t key_len)
{
    agg_state_free(&f->layout, f->state, &f->pool);
    memset(f->state, 0, f->layout.bytes);
    arena_reset(&f->row);
    f->parts = 0;
    f->window_end = window_end;
    f->start = INT64_MAX;
    /* The values given back may be texts of the key, and outlive the caller's copy. */
    uint8_t *copy = arena_alloc(&f->row, key_len);
    if (key_len > 0) {
        memcpy(copy, key, key_len);
    }
    f->key = copy;
    f->key_len = key_len;
}

/* The columns of a row kept whole become inputs of the final program, from `first` on. */
static int take_columns(struct row_finisher *f, uint32_t first, uint32_t count,
                        const uint8_t *value, size_t len, struct err *err)
{
    uint8_t *copy = arena_alloc(&f->row, len);
    if (len > 0) {
        memcpy(copy, value, len);
    }
    size_t pos = 0;
    bool good = true;
    for (uint32_t c = 0; c < count && good; c++) {
        struct expr_vec *vec = &f->machine.registers[first + c];
        struct kappa_value column = {.type = vec->type};
        good = pos < len && copy[pos] <= 1;
        column.is_null = good && copy[pos++] == 1;
        good = good && (column.is_null || value_decode(copy, len, &pos, &column));
        expr_set(vec, 0, &column);
    }
    if (!good || pos != len) {
        return err_set(err, KE_CORRUPT, "table %s: a row's value does not decode",
                       f->view->shape.name);
    }
    return 0;
}

/* Sessions: their start. Idle tables: the time that they expire by. */
static bool has_time(const struct plan_view *view)
{
    return view->window == PLAN_WINDOW_SESSION || view->shape.idle;
}

int row_finisher_add(struct row_finisher *f, const uint8_t *value, size_t value_len,
                     struct err *err)
{
    f->parts++;
    if (f->view->kind == PLAN_APPEND) {
        ASSERT_CMP(f->parts, ==, 1);
        return take_columns(f, 0, f->view->append_count, value, value_len, err);
    }
    if (has_time(f->view)) {
        if (value_len < sizeof(int64_t)) {
            return err_set(err, KE_CORRUPT, "table %s: a row's value does not decode",
                           f->view->shape.name);
        }
        f->start = f->start < load_i64_sortable(value) ? f->start : load_i64_sortable(value);
        value += sizeof(int64_t);
        value_len -= sizeof(int64_t);
    }
    int rc = f->parts == 1 /* as most keys have */
                 ? agg_decode(&f->layout, f->state, &f->pool, value, value_len, err)
                 : agg_add(&f->layout, f->state, f->part, &f->pool, value, value_len, err);
    if (rc != 0) {
        err_prefix(err, "table %s", f->view->shape.name);
    }
    return rc;
}

static int set_keys(struct row_finisher *f, struct err *err)
{
    size_t pos = 0;
    for (uint32_t k = 0; k < f->view->key_count; k++) {
        const struct plan_key *key = &f->view->keys[k];
        struct kappa_value value = {.type = KAPPA_TYPE_TIMESTAMPTZ, .i = f->window_end};
        if (key->role == PLAN_KEY_WINDOW_START) {
            bool session = f->view->window == PLAN_WINDOW_SESSION;
            value.i = session ? f->start : f->window_end - f->view->window_us;
        } else if (key->role == PLAN_KEY_COLUMN) {
            int rc = key_take(f->key, f->key_len, &pos, key->type, &f->row, &value, err);
            if (rc < 0) {
                err_prefix(err, "table %s", f->view->shape.name);
                return rc;
            }
            if (key->modifier != 0 && !value.is_null) { /* the zeros that the key has not kept */
                (void)numeric_round(value.n, key->modifier & 0xFF, NUMERIC_NEAREST, &value.n);
            }
        }
        expr_set(&f->machine.registers[k], 0, &value);
    }
    if (pos != f->key_len) {
        return err_set(err, KE_CORRUPT, "table %s: a row's key is too long", f->view->shape.name);
    }
    return 0;
}

/* A group that cannot be read is named, so that it can be found and left out. */
static int value_error(const struct row_finisher *f, const char *column, enum expr_state state,
                       struct err *err)
{
    struct buf key = {0};
    for (uint32_t k = 0; f->view->kind == PLAN_GROUP && k < f->view->key_count; k++) {
        enum expr_state known = EXPR_OK;
        struct kappa_value value = expr_value(&f->machine.registers[k], 0, &known);
        buf_printf(&key, "%s%s = ", k == 0 ? ", in the group " : ", ", f->view->keys[k].name);
        value_json(&key, &value);
    }
    size_t len = key.len < KEY_SHOWN ? key.len : KEY_SHOWN;
    while (len < key.len && ((uint8_t)key.data[len] & 0xC0U) == 0x80) {
        len--; /* whole characters */
    }
    int rc =
        err_set(err, state == EXPR_ERROR_LIMIT || state == EXPR_ERROR_FULL ? KE_LIMIT : KE_REFUSED,
                "%s: %s: %s%.*s", f->view->shape.name, column, expr_error_text(state), (int)len,
                buf_text(&key));
    if (key.len > 0) {
        err_hint(err, "the other groups can be read by their keys: kappa get, or kappa sql with "
                      "WHERE; FILTER or WHERE in the definition leaves the values out");
    }
    buf_free(&key);
    return rc;
}

/* 1: the row stays; 0: HAVING refuses it. */
static int check_having(const struct row_finisher *f, struct err *err)
{
    if (f->view->having == PLAN_NONE) {
        return 1;
    }
    enum expr_state state = EXPR_OK;
    struct kappa_value having = expr_value(&f->machine.registers[f->view->having], 0, &state);
    if (state >= EXPR_ERROR_FIRST) {
        return value_error(f, "HAVING", state, err);
    }
    return !having.is_null && having.i != 0;
}

uint32_t row_finisher_rows(const struct row_finisher *f)
{
    return f->view->top == NULL ? 1 : agg_top_count(f->state);
}

/* Row i of the group: its columns and number. */
static int set_top(struct row_finisher *f, uint32_t i, struct err *err)
{
    uint32_t first = f->view->key_count;
    uint32_t count = f->view->top->column_count;
    struct kappa_text columns = agg_top_columns(f->state, i);
    struct kappa_value number = {.type = KAPPA_TYPE_BIGINT, .i = (int64_t)i + 1};
    expr_set(&f->machine.registers[first + count], 0, &number);
    return take_columns(f, first, count, (const uint8_t *)columns.bytes, columns.len, err);
}

static int set_results(struct row_finisher *f, uint32_t i, struct err *err)
{
    int rc = set_keys(f, err);
    if (rc < 0 || f->view->top != NULL) {
        return rc < 0 ? rc : set_top(f, i, err);
    }
    for (uint32_t a = 0; a < f->view->aggregate_count; a++) {
        agg_result(&f->layout.slots[a], f->state, &f->row,
                   &f->machine.registers[f->view->key_count + a]);
    }
    return 0;
}

int row_finisher_row(struct row_finisher *f, uint32_t i, const struct kappa_value **values,
                     struct err *err)
{
    ASSERT(f->parts > 0);
    int rc = f->view->kind == PLAN_GROUP ? set_results(f, i, err) : 0;
    if (rc < 0) {
        return rc;
    }
    expr_run(&f->machine, 1);
    rc = check_having(f, err);
    for (uint32_t o = 0; o < f->view->output_count && rc > 0; o++) {
        enum expr_state state = EXPR_OK;
        f->values[o] = expr_value(&f->machine.registers[f->view->outputs[o].reg], 0, &state);
        if (state >= EXPR_ERROR_FIRST) {
            return value_error(f, f->view->outputs[o].name, state, err);
        }
    }
    *values = f->values;
    return rc;
}

int row_finisher_finish(struct row_finisher *f, const struct kappa_value **values, struct err *err)
{
    return row_finisher_row(f, 0, values, err);
}
