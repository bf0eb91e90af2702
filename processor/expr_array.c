/* Arrays: made, looked into, compared with. Own header: expr_step.h, functions.def. An array's type is
 * that of its register, whose element is the type of its values. */
#include "processor/array.h"
#include "processor/functions.h"
#include "processor/value_cast.h"

#include <string.h>

/* option: the element type. Nulls are elements; an error in an element is one of the array. */
void expr_array(const struct expr_step *step, const struct expr_frame *frame)
{
    struct expr_vec *out = expr_out(step, frame);
    struct kappa_value *values =
        arena_alloc(frame->texts, sizeof *values * ((size_t)step->arg_count + 1));
    for (uint32_t i = 0; i < frame->n; i++) {
        enum expr_state worst = EXPR_OK;
        for (uint32_t k = 0; k < step->arg_count; k++) {
            enum expr_state state = EXPR_OK;
            values[k] = expr_value(expr_arg(step, frame, k), i, &state);
            values[k].type = (enum kappa_type)step->option;
            worst = worst == EXPR_OK && state >= EXPR_ERROR_FIRST ? state : worst;
        }
        out->state[i] = (uint8_t)worst;
        if (worst == EXPR_OK) {
            out->s[i] = array_make(values, step->arg_count, frame->texts);
        }
    }
}

/* (array, index from 1); outside of the array: null. */
void expr_array_element(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct expr_vec *array = expr_arg(step, frame, 0);
    const int64_t *index = expr_arg(step, frame, 1)->i;
    enum kappa_type element = kappa_type_element(array->type);
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        struct kappa_value value = {.type = element, .is_null = true};
        int64_t left = index[i];
        size_t pos = 0;
        while (left > 0 && array_next(array->s[i], &pos, element, frame->texts, &value)) {
            left--;
        }
        value.is_null = value.is_null || left != 0;
        expr_set(out, i, &value);
    }
}

static bool in_order(enum expr_order order, int compared)
{
    switch (order) {
    case EXPR_ORDER_EQ:
        return compared == 0;
    case EXPR_ORDER_NE:
        return compared != 0;
    case EXPR_ORDER_LT:
        return compared < 0;
    case EXPR_ORDER_LE:
        return compared <= 0;
    case EXPR_ORDER_GT:
        return compared > 0;
    case EXPR_ORDER_GE:
    case EXPR_ORDER_COUNT:
        break;
    }
    return compared >= 0;
}

/* (scalar, array): any: true if some element is in this order; all: false if some is not. */
static void quantified(const struct expr_step *step, const struct expr_frame *frame, bool any)
{
    (void)expr_strict(step, frame);
    const struct expr_vec *scalar = expr_arg(step, frame, 0);
    const struct expr_vec *array = expr_arg(step, frame, 1);
    enum kappa_type element = kappa_type_element(array->type);
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        bool one_empty =
            scalar->state[i] == EXPR_NULL && array->state[i] == EXPR_OK && array->s[i].len == 0;
        if (out->state[i] != EXPR_OK) {
            out->i[i] = !any;
            out->state[i] =
                one_empty ? EXPR_OK : out->state[i]; /* of nothing, nothing is unknown */
            continue;
        }
        enum expr_state state = EXPR_OK;
        struct kappa_value left = expr_value(scalar, i, &state);
        struct kappa_value value;
        bool decided = false;
        bool unknown = false;
        left.type = element;
        for (size_t pos = 0;
             !decided && array_next(array->s[i], &pos, element, frame->texts, &value);) {
            unknown = unknown || value.is_null;
            decided = !value.is_null && in_order((enum expr_order)step->option,
                                                 expr_compare_values(&left, &value)) == any;
        }
        out->i[i] = decided == any;
        out->state[i] = !decided && unknown ? EXPR_NULL : EXPR_OK;
    }
}

void expr_array_any(const struct expr_step *step, const struct expr_frame *frame)
{
    quantified(step, frame, true);
}

void expr_array_all(const struct expr_step *step, const struct expr_frame *frame)
{
    quantified(step, frame, false);
}

void expr_cardinality(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct expr_vec *array = expr_arg(step, frame, 0);
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->i[i] = array_count(array->s[i], kappa_type_element(array->type), frame->texts);
        }
    }
}

/* (array, dimension): null for what the array has not. */
void expr_array_length(const struct expr_step *step, const struct expr_frame *frame)
{
    expr_cardinality(step, frame);
    const int64_t *dimension = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK && (dimension[i] != 1 || out->i[i] == 0)) {
            out->state[i] = EXPR_NULL;
        }
    }
}

/* (array, separator[, text for nulls]): nulls are left out without one. */
void expr_array_to_string(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct expr_vec *array = expr_arg(step, frame, 0);
    const struct kappa_text *separator = expr_arg(step, frame, 1)->s;
    const struct kappa_text *nulls = step->arg_count > 2 ? expr_arg(step, frame, 2)->s : NULL;
    enum kappa_type element = kappa_type_element(array->type);
    struct expr_vec *out = expr_out(step, frame);
    struct buf made = {0};
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        struct kappa_value value;
        bool first = true;
        buf_reset(&made);
        for (size_t pos = 0; array_next(array->s[i], &pos, element, frame->texts, &value);) {
            if (value.is_null && nulls == NULL) {
                continue;
            }
            struct kappa_text text = value.is_null ? nulls[i] : value_format(&value, frame->texts);
            if (!value.is_null && element == KAPPA_TYPE_BOOLEAN) {
                text.len = 1; /* t and f, as in an array's text */
            }
            buf_append(&made, separator[i].bytes, first ? 0 : separator[i].len);
            buf_append(&made, text.bytes, text.len);
            first = false;
        }
        char *copy = arena_alloc(frame->texts, made.len + 1);
        memcpy(copy, buf_text(&made), made.len);
        out->s[i] = (struct kappa_text){copy, u32_from(made.len)};
    }
    buf_free(&made);
}

/* (text, separator): its parts; of an empty text none, with an empty separator one. */
void expr_string_to_array(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *text = expr_arg(step, frame, 0)->s;
    const struct kappa_text *separator = expr_arg(step, frame, 1)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        const char *at = text[i].bytes;
        const char *end = at + text[i].len;
        struct kappa_value *parts =
            arena_alloc(frame->texts, sizeof *parts * ((size_t)text[i].len + 1));
        size_t count = 0;
        for (bool more = text[i].len > 0; more;) {
            const char *found =
                separator[i].len == 0
                    ? NULL
                    : memmem(at, (size_t)(end - at), separator[i].bytes, separator[i].len);
            const char *stop = found == NULL ? end : found;
            parts[count++] = (struct kappa_value){.type = KAPPA_TYPE_TEXT,
                                                  .s = {at, u32_from((size_t)(stop - at))}};
            more = found != NULL;
            at = more ? found + separator[i].len : end;
        }
        out->s[i] = array_make(parts, count, frame->texts);
    }
}
