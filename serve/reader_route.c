/* Which sources may hold the rows of a key. Own header: reader_inner.h.
 *
 * An input with a partitioner says that a record lies in the partition that its key gives; records that
 * lie elsewhere are dead. Where the message key is a column of the table's key, a key then has rows in one
 * source. */
#include "processor/expr_step.h"
#include "processor/key_codec.h"
#include "serve/reader_inner.h"

/* The message key that records with this value of the column have: as decode_key_check demands it. */
static struct kappa_text message_key(const struct kappa_value *value, char *number)
{
    if (value->type == KAPPA_TYPE_TEXT) {
        return value->s;
    }
    return (struct kappa_text){number, expr_format_bigint(value->i, number)};
}

/* 1 and the value of key column `column`, 0 when the bytes end before it or are none. */
static int column_take(const struct plan_view *view, uint32_t column, const uint8_t *columns,
                       size_t len, struct arena *arena, struct kappa_value *value)
{
    size_t pos = 0;
    for (uint32_t k = 0; k < view->key_count; k++) {
        if (view->keys[k].role != PLAN_KEY_COLUMN) {
            continue;
        }
        if (pos >= len ||
            key_take(columns, len, &pos, view->keys[k].type, arena, value, NULL) != 0) {
            return 0;
        }
        if (column-- == 0) {
            return 1;
        }
    }
    return 0;
}

struct view_sources reader_sources(const struct reader_read *reading, const uint8_t *columns,
                                   size_t len)
{
    const struct reader_version *version = reading->version;
    const struct plan_view *view = &version->plan->views[reading->table];
    const struct plan_input *input = &version->plan->inputs[view->input];
    struct view_sources all = {version->input_first[view->input],
                               version->input_first[view->input + 1]};
    uint32_t column =
        input->partitioner == PARTITIONER_NONE ? PLAN_NONE : plan_view_keyed(version->plan, view);
    if (column == PLAN_NONE || all.behind - all.first < 2) {
        return all;
    }
    struct arena arena;
    struct kappa_value value;
    arena_init(&arena);
    if (column_take(view, column, columns, len, &arena, &value) == 1) {
        char number[EXPR_BIGINT_TEXT];
        if (value.is_null) { /* such records are dead */
            all.behind = all.first;
        } else {
            struct kappa_text key = message_key(&value, number);
            all.first +=
                partition_of_key(input->partitioner, key.bytes, key.len, all.behind - all.first);
            all.behind = all.first + 1;
        }
    }
    arena_free(&arena);
    return all;
}
