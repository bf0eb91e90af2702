/* jsonb: access by name and index, as text, casts. Own header: expr_step.h, functions.def. */
#include "processor/array.h"
#include "processor/functions.h"
#include "processor/jsonb.h"
#include "processor/numeric.h"

#include <string.h>

/* A part as jsonb, or as text: then null is null. */
static void set_part(struct expr_vec *out, uint32_t i, bool found, struct kappa_text part,
                     bool as_text, struct arena *memory)
{
    if (!found || (as_text && jsonb_kind(part) == JSONB_NULL)) {
        out->state[i] = EXPR_NULL;
        return;
    }
    out->s[i] = as_text ? jsonb_text(part, memory) : part;
}

static void get_member(const struct expr_step *step, const struct expr_frame *frame, bool as_text)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *doc = expr_arg(step, frame, 0)->s;
    const struct kappa_text *name = expr_arg(step, frame, 1)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            struct kappa_text part = {NULL, 0};
            bool found = jsonb_member(doc[i], name[i], &part);
            set_part(out, i, found, part, as_text, frame->texts);
        }
    }
}

void expr_jsonb_member(const struct expr_step *step, const struct expr_frame *frame)
{
    get_member(step, frame, false);
}

void expr_jsonb_member_text(const struct expr_step *step, const struct expr_frame *frame)
{
    get_member(step, frame, true);
}

static void get_element(const struct expr_step *step, const struct expr_frame *frame, bool as_text)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *doc = expr_arg(step, frame, 0)->s;
    const int64_t *index = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            struct kappa_text part = {NULL, 0};
            bool found = jsonb_element(doc[i], index[i], &part);
            set_part(out, i, found, part, as_text, frame->texts);
        }
    }
}

void expr_jsonb_element(const struct expr_step *step, const struct expr_frame *frame)
{
    get_element(step, frame, false);
}

void expr_jsonb_element_text(const struct expr_step *step, const struct expr_frame *frame)
{
    get_element(step, frame, true);
}

/* #> path: names and indexes one after the other. */
static void at_path(const struct expr_step *step, const struct expr_frame *frame, bool as_text)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *doc = expr_arg(step, frame, 0)->s;
    const struct kappa_text *path = expr_arg(step, frame, 1)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        struct kappa_text part = doc[i];
        struct kappa_value name;
        bool found = true;
        for (size_t pos = 0;
             found && array_next(path[i], &pos, KAPPA_TYPE_TEXT, frame->texts, &name);) {
            int64_t index = 0;
            bool array = jsonb_kind(part) == JSONB_ARRAY;
            bool number = array && !name.is_null && expr_parse_bigint(name.s, &index) == EXPR_OK;
            found = array ? number && jsonb_element(part, index, &part)
                          : !name.is_null && jsonb_member(part, name.s, &part);
        }
        set_part(out, i, found, part, as_text, frame->texts);
    }
}

void expr_jsonb_path(const struct expr_step *step, const struct expr_frame *frame)
{
    at_path(step, frame, false);
}

void expr_jsonb_path_text(const struct expr_step *step, const struct expr_frame *frame)
{
    at_path(step, frame, true);
}

/* Is the text a member's name, an element that is this string, or the string itself? */
static bool holds(struct kappa_text doc, struct kappa_text text, struct arena *memory)
{
    struct kappa_text part;
    int64_t count = jsonb_length(doc);
    if (jsonb_kind(doc) == JSONB_STRING) {
        return expr_compare_text(jsonb_text(doc, memory), text) == 0;
    }
    for (int64_t k = 0; k < count; k++) {
        if (jsonb_element(doc, k, &part) && jsonb_kind(part) == JSONB_STRING &&
            expr_compare_text(jsonb_text(part, memory), text) == 0) {
            return true;
        }
    }
    return jsonb_member(doc, text, &part);
}

void expr_jsonb_exists(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *doc = expr_arg(step, frame, 0)->s;
    const struct kappa_text *text = expr_arg(step, frame, 1)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->i[i] = out->state[i] == EXPR_OK && holds(doc[i], text[i], frame->texts);
    }
}

void expr_jsonb_typeof(const struct expr_step *step, const struct expr_frame *frame)
{
    static const struct kappa_text names[] = {
        [JSONB_OBJECT] = {"object", 6},   [JSONB_ARRAY] = {"array", 5},
        [JSONB_STRING] = {"string", 6},   [JSONB_NUMBER] = {"number", 6},
        [JSONB_BOOLEAN] = {"boolean", 7}, [JSONB_NULL] = {"null", 4},
    };
    (void)expr_strict(step, frame);
    const struct kappa_text *doc = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->s[i] = names[jsonb_kind(doc[i])];
        }
    }
}

void expr_jsonb_array_length(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *doc = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        int64_t count = out->state[i] == EXPR_OK ? jsonb_length(doc[i]) : 0;
        out->i[i] = count;
        expr_fail(&out->state[i], count < 0, EXPR_ERROR_ARGUMENT);
    }
}

/* ---- Casts of a number or a boolean; of anything else there is none. */

static void from_number(const struct expr_step *step, const struct expr_frame *frame, bool real)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *doc = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        enum expr_state state = jsonb_kind(doc[i]) != JSONB_NUMBER ? EXPR_ERROR_ARGUMENT
                                : real ? expr_parse_double(doc[i], &out->d[i])
                                       : numeric_parse(doc[i], &out->n[i]);
        out->state[i] = (uint8_t)state;
    }
}

void expr_numeric_from_jsonb(const struct expr_step *step, const struct expr_frame *frame)
{
    from_number(step, frame, false);
}

void expr_double_from_jsonb(const struct expr_step *step, const struct expr_frame *frame)
{
    from_number(step, frame, true);
}

void expr_boolean_from_jsonb(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *doc = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        bool boolean = out->state[i] == EXPR_OK && jsonb_kind(doc[i]) == JSONB_BOOLEAN;
        out->i[i] = boolean && doc[i].bytes[0] == 't';
        expr_fail(&out->state[i], !boolean, EXPR_ERROR_ARGUMENT);
    }
}
