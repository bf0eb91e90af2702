/* Texts made of other texts: joining, padding, reversing, replacing by character. Own header:
 * expr_step.h, functions.def. Positions and lengths count characters. A result longer than a record
 * may be is an error. */
#include "base/limits.h"
#include "processor/functions.h"
#include "processor/letter.h"

#include <string.h>

/* Room for len bytes; NULL and an error state when that is too long. */
static char *make_room(struct arena *texts, struct expr_vec *out, uint32_t i, uint64_t len)
{
    if (len > LIMIT_RECORD_BYTES) {
        out->state[i] = EXPR_ERROR_LIMIT;
        return NULL;
    }
    char *bytes = arena_alloc(texts, len + 1);
    out->s[i] = (struct kappa_text){bytes, (uint32_t)len};
    return bytes;
}

static char *put(char *at, struct kappa_text text)
{
    memcpy(at, text.bytes, text.len);
    return at + text.len;
}

/* a || b */
void expr_concat(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *b = expr_arg(step, frame, 1)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        char *at = make_room(frame->texts, out, i, (uint64_t)a[i].len + b[i].len);
        if (at != NULL) {
            at = put(at, a[i]);
            (void)put(at, b[i]);
        }
    }
}

/* ---- concat(...), concat_ws(separator, ...): nulls are left out. */

/* The state of row i over arguments first ...: the leftmost error, else OK. */
static uint8_t lenient_state(const struct expr_step *step, const struct expr_frame *frame,
                             uint32_t first, uint32_t i)
{
    for (uint32_t k = first; k < step->arg_count; k++) {
        uint8_t state = expr_arg(step, frame, k)->state[i];
        if (state >= EXPR_ERROR_FIRST) {
            return state;
        }
    }
    return EXPR_OK;
}

static void join_row(const struct expr_step *step, const struct expr_frame *frame, uint32_t first,
                     struct kappa_text separator, uint32_t i)
{
    struct expr_vec *out = expr_out(step, frame);
    uint64_t len = 0;
    uint32_t parts = 0;
    for (uint32_t k = first; k < step->arg_count; k++) {
        const struct expr_vec *arg = expr_arg(step, frame, k);
        if (arg->state[i] == EXPR_OK) {
            len += arg->s[i].len + (parts++ == 0 ? 0 : separator.len);
        }
    }
    char *at = make_room(frame->texts, out, i, len);
    parts = 0;
    for (uint32_t k = first; k < step->arg_count && at != NULL; k++) {
        const struct expr_vec *arg = expr_arg(step, frame, k);
        if (arg->state[i] != EXPR_OK) {
            continue;
        }
        if (parts++ > 0) {
            at = put(at, separator);
        }
        at = put(at, arg->s[i]);
    }
}

void expr_concat_all(const struct expr_step *step, const struct expr_frame *frame)
{
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->state[i] = lenient_state(step, frame, 0, i);
        if (out->state[i] == EXPR_OK) {
            join_row(step, frame, 0, (struct kappa_text){"", 0}, i);
        }
    }
}

void expr_concat_ws(const struct expr_step *step, const struct expr_frame *frame)
{
    const struct expr_vec *separator = expr_arg(step, frame, 0);
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->state[i] = lenient_state(step, frame, 0, i);
        if (out->state[i] == EXPR_OK) {
            out->state[i] = separator->state[i];
        }
        if (out->state[i] == EXPR_OK) {
            join_row(step, frame, 1, separator->s[i], i);
        }
    }
}

/* How many arguments are null, or are not. */
static void count_nulls(const struct expr_step *step, const struct expr_frame *frame, bool nulls)
{
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->state[i] = lenient_state(step, frame, 0, i);
        int64_t count = 0;
        for (uint32_t k = 0; k < step->arg_count; k++) {
            count += (expr_arg(step, frame, k)->state[i] == EXPR_NULL) == nulls;
        }
        out->i[i] = count;
    }
}

void expr_num_nulls(const struct expr_step *step, const struct expr_frame *frame)
{
    count_nulls(step, frame, true);
}

void expr_num_nonnulls(const struct expr_step *step, const struct expr_frame *frame)
{
    count_nulls(step, frame, false);
}

/* ---- Repeating and padding. */

void expr_repeat(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const int64_t *times = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        int64_t count = times[i] < 0 || a[i].len == 0 ? 0 : times[i];
        char *at = make_room(frame->texts, out, i, (uint64_t)count * a[i].len);
        for (int64_t k = 0; k < count && at != NULL; k++) {
            at = put(at, a[i]);
        }
    }
}

/* text brought to `length` characters: cut, or filled at one end. */
static void pad_row(struct arena *texts, struct expr_vec *out, uint32_t i, struct kappa_text text,
                    int64_t length, struct kappa_text fill, bool at_start)
{
    int64_t have = character_count(text);
    int64_t fill_count = character_count(fill);
    if (length <= have || fill.len == 0) {
        int64_t keep = length < have ? length : have;
        out->s[i] = (struct kappa_text){text.bytes, character_at(text, keep)};
        return;
    }
    int64_t missing = length - have;
    uint64_t whole = (uint64_t)(missing / fill_count);
    struct kappa_text rest = {fill.bytes, character_at(fill, missing % fill_count)};
    if (missing > LIMIT_RECORD_BYTES) {
        out->state[i] = EXPR_ERROR_LIMIT;
        return;
    }
    char *at = make_room(texts, out, i, text.len + whole * fill.len + rest.len);
    if (at == NULL) {
        return;
    }
    at = at_start ? at : put(at, text);
    for (uint64_t k = 0; k < whole; k++) {
        at = put(at, fill);
    }
    at = put(at, rest);
    if (at_start) {
        (void)put(at, text);
    }
}

static void pad(const struct expr_step *step, const struct expr_frame *frame, bool at_start)
{
    static const struct kappa_text space = {" ", 1};
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const int64_t *length = expr_arg(step, frame, 1)->i;
    const struct kappa_text *fill = step->arg_count == 3 ? expr_arg(step, frame, 2)->s : NULL;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            pad_row(frame->texts, out, i, a[i], length[i], fill == NULL ? space : fill[i],
                    at_start);
        }
    }
}

void expr_lpad(const struct expr_step *step, const struct expr_frame *frame)
{
    pad(step, frame, true);
}

void expr_rpad(const struct expr_step *step, const struct expr_frame *frame)
{
    pad(step, frame, false);
}

/* ---- By character. */

void expr_reverse(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        char *start = out->state[i] == EXPR_OK ? make_room(frame->texts, out, i, a[i].len) : NULL;
        if (start == NULL) {
            continue;
        }
        char *end = start + a[i].len;
        for (uint32_t at = 0; at < a[i].len;) {
            uint32_t next = character_end(a[i], at);
            end -= next - at;
            memcpy(end, a[i].bytes + at, next - at);
            at = next;
        }
    }
}

/* Is the character in the set? *index: which of its characters it is. */
static bool index_in(struct kappa_text set, struct kappa_text character, int64_t *index)
{
    *index = 0;
    for (uint32_t at = 0; at < set.len;) {
        uint32_t next = character_end(set, at);
        if (next - at == character.len &&
            memcmp(set.bytes + at, character.bytes, character.len) == 0) {
            return true;
        }
        at = next;
        (*index)++;
    }
    return false;
}

static struct kappa_text character_of(struct kappa_text text, uint32_t at)
{
    return (struct kappa_text){text.bytes + at, character_end(text, at) - at};
}

/* Characters of `from` become those at the same place in `to`, or nothing when there is none. */
static void translate_row(struct arena *texts, struct expr_vec *out, uint32_t i,
                          struct kappa_text text, struct kappa_text from, struct kappa_text to)
{
    char *start = make_room(texts, out, i, (uint64_t)text.len * CHARACTER_BYTES_MAX);
    if (start == NULL) {
        return;
    }
    char *end = start;
    for (uint32_t at = 0; at < text.len;) {
        struct kappa_text character = character_of(text, at);
        at += character.len;
        int64_t index;
        if (index_in(from, character, &index)) {
            uint32_t place = character_at(to, index);
            character = place < to.len ? character_of(to, place) : (struct kappa_text){"", 0};
        }
        end = put(end, character);
    }
    out->s[i].len = (uint32_t)(end - start);
}

void expr_translate(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *from = expr_arg(step, frame, 1)->s;
    const struct kappa_text *to = expr_arg(step, frame, 2)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            translate_row(frame->texts, out, i, a[i], from[i], to[i]);
        }
    }
}

/* (text, replacement, first character from 1, [count, default the replacement's length]) */
void expr_overlay(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *with = expr_arg(step, frame, 1)->s;
    const int64_t *first = expr_arg(step, frame, 2)->i;
    const int64_t *counts = step->arg_count == 4 ? expr_arg(step, frame, 3)->i : NULL;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        int64_t count = counts == NULL ? character_count(with[i]) : counts[i];
        int64_t behind = first[i] + count; /* both are integers of 32 bits */
        if (first[i] <= 0 || behind > INT32_MAX || behind < INT32_MIN) {
            out->state[i] = first[i] <= 0 ? EXPR_ERROR_ARGUMENT : EXPR_ERROR_OVERFLOW;
            continue;
        }
        uint32_t head = character_at(a[i], first[i] - 1);
        uint32_t tail = character_at(a[i], behind - 1);
        struct kappa_text end = {a[i].bytes + tail, a[i].len - tail};
        char *at = make_room(frame->texts, out, i, (uint64_t)head + with[i].len + end.len);
        if (at != NULL) {
            at = put(at, (struct kappa_text){a[i].bytes, head});
            at = put(at, with[i]);
            (void)put(at, end);
        }
    }
}

void expr_ascii(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        uint32_t at = 0;
        bool some = out->state[i] == EXPR_OK && a[i].len > 0;
        out->i[i] = some ? character_read(a[i], &at) : 0;
    }
}

void expr_chr(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        bool character = a[i] > 0 && a[i] <= 0x10FFFF && (a[i] < 0xD800 || a[i] > 0xDFFF);
        expr_fail(&out->state[i], !character, EXPR_ERROR_ARGUMENT);
        if (out->state[i] == EXPR_OK) {
            char *bytes = make_room(frame->texts, out, i, CHARACTER_BYTES_MAX);
            ASSERT(bytes != NULL);
            out->s[i].len = character_write((uint32_t)a[i], bytes);
        }
    }
}

static void to_hex(const struct expr_step *step, const struct expr_frame *frame, uint64_t mask)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        char digits[16];
        uint32_t len = 0;
        uint64_t value = (uint64_t)a[i] & mask;
        do {
            digits[sizeof digits - ++len] = "0123456789abcdef"[value & 15];
            value >>= 4;
        } while (value > 0);
        char *at = make_room(frame->texts, out, i, len);
        ASSERT(at != NULL);
        memcpy(at, digits + sizeof digits - len, len);
    }
}

void expr_to_hex_integer(const struct expr_step *step, const struct expr_frame *frame)
{
    to_hex(step, frame, UINT32_MAX);
}

void expr_to_hex_bigint(const struct expr_step *step, const struct expr_frame *frame)
{
    to_hex(step, frame, UINT64_MAX);
}
