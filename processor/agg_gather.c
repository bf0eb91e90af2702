/* string_agg: texts joined, nulls left out; array_agg, jsonb_agg: an array of values and nulls. All in the
 * order of (source, offset). Own header: agg_operator.h. State: a list (agg_list.h), of at most
 * slot->limit bytes. */
#include "base/limits.h"
#include "processor/agg_list.h"
#include "processor/agg_value.h"
#include "processor/array.h"

#include <string.h>

static void update(const struct agg_slot *slot, const struct agg_rows *rows,
                   const struct expr_vec *registers)
{
    const struct expr_vec *argument = agg_argument(slot, registers);
    const struct expr_vec *filter = agg_filter(slot, registers);
    bool nulls = slot->plan->kind != PLAN_STRING_AGG;
    struct buf scratch = {0};
    for (uint32_t i = 0; i < rows->count; i++) {
        uint32_t row = rows->rows[i];
        if (nulls ? agg_passes(filter, row) : agg_takes(argument, filter, row)) {
            enum expr_state state = EXPR_OK;
            struct agg_list_item item = {.source = rows->source, .offset = rows->offset[row]};
            item.value = expr_value(argument, row, &state);
            agg_list_add(agg_at(slot, rows, i), rows->pool, &item, slot->limit, &scratch);
        }
    }
    buf_free(&scratch);
}

static void encode(const struct agg_slot *slot, const void *at, struct buf *out)
{
    (void)slot;
    agg_list_encode(at, out);
}

static bool decode(const struct agg_slot *slot, void *at, struct pool *pool, struct agg_cursor *in)
{
    return agg_list_decode(at, pool, in, slot->plan->argument_type, slot->limit);
}

static void merge(const struct agg_slot *slot, void *to, const void *from, struct pool *pool)
{
    agg_list_merge(to, pool, from, slot->plan->argument_type,
                   slot->reading ? LIMIT_ROW_BYTES : slot->limit);
}

static void result_string(const struct agg_slot *slot, const void *at, struct arena *arena,
                          struct expr_vec *out)
{
    const struct agg_list *list = at;
    struct kappa_text between = slot->plan->parameter.s;
    size_t len = 0;
    size_t count = 0;
    out->state[0] = list->full ? EXPR_ERROR_FULL : list->any ? EXPR_OK : EXPR_NULL;
    struct agg_list_reader reader = agg_list_read(list, slot->plan->argument_type);
    while (agg_list_next(&reader)) {
        len += reader.item.value.s.len + (count++ > 0 ? between.len : 0);
    }
    if (out->state[0] != EXPR_OK || len > LIMIT_ROW_BYTES) {
        out->state[0] = out->state[0] == EXPR_OK ? EXPR_ERROR_LIMIT : out->state[0];
        return;
    }
    char *text = arena_alloc(arena, len + 1);
    size_t end = 0;
    reader = agg_list_read(list, slot->plan->argument_type);
    for (size_t i = 0; agg_list_next(&reader); i++) {
        struct kappa_text parts[2] = {between, reader.item.value.s};
        for (size_t p = i == 0 ? 1 : 0; p < 2; p++) {
            if (parts[p].len > 0) {
                memcpy(text + end, parts[p].bytes, parts[p].len);
                end += parts[p].len;
            }
        }
    }
    ASSERT_CMP(end, ==, len);
    out->s[0] = (struct kappa_text){text, (uint32_t)len};
}

static void result_json(const struct agg_slot *slot, const void *at, struct arena *arena,
                        struct expr_vec *out)
{
    const struct agg_list *list = at;
    struct agg_list_reader reader = agg_list_read(list, slot->plan->argument_type);
    struct buf text = {0};
    out->state[0] = list->full ? EXPR_ERROR_FULL : list->any ? EXPR_OK : EXPR_NULL;
    while (out->state[0] == EXPR_OK && agg_list_next(&reader)) {
        agg_json_add(&text, &reader.item.value);
    }
    if (out->state[0] == EXPR_OK) {
        agg_json_result(&text, arena, out);
    }
    buf_free(&text);
}

static void result_array(const struct agg_slot *slot, const void *at, struct arena *arena,
                         struct expr_vec *out)
{
    const struct agg_list *list = at;
    size_t count = 0;
    struct agg_list_reader reader = agg_list_read(list, slot->plan->argument_type);
    while (agg_list_next(&reader)) {
        count++;
    }
    struct kappa_value *values = arena_alloc(arena, (count + 1) * sizeof *values);
    reader = agg_list_read(list, slot->plan->argument_type);
    for (size_t i = 0; agg_list_next(&reader); i++) {
        values[i] = reader.item.value;
    }
    out->s[0] = array_make(values, count, arena);
    out->state[0] = list->full                        ? EXPR_ERROR_FULL
                    : !list->any                      ? EXPR_NULL
                    : out->s[0].len > LIMIT_ROW_BYTES ? EXPR_ERROR_LIMIT
                                                      : EXPR_OK;
}

static void free_list(const struct agg_slot *slot, void *at, struct pool *pool)
{
    (void)slot;
    agg_list_free(at, pool);
}

static size_t owned(const struct agg_slot *slot, const void *at)
{
    (void)slot;
    return ((const struct agg_list *)at)->capacity;
}

#define GATHER(result_of)                                                                          \
    {                                                                                              \
        .bytes = sizeof(struct agg_list), .grows = true, .update = update, .encode = encode,       \
        .decode = decode, .merge = merge, .result = (result_of), .free = free_list, .owned = owned \
    }

const struct agg_operator agg_gather_string = GATHER(result_string);
const struct agg_operator agg_gather_array = GATHER(result_array);
const struct agg_operator agg_gather_json = GATHER(result_json);
