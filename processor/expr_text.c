/* Parts of texts: lengths, slices, searching, trimming. Own header: expr_step.h, functions.def.
 *
 * Positions and lengths count characters (code points). Results point into their operands where they can. */
#include "base/limits.h"
#include "processor/functions.h"
#include "processor/letter.h"

#include <string.h>

static struct kappa_text slice(struct kappa_text text, uint32_t from, uint32_t to)
{
    ASSERT_CMP(from, <=, to);
    ASSERT_CMP(to, <=, text.len);
    return (struct kappa_text){text.bytes + from, to - from};
}

/* Byte position of needle at or behind from; UINT32_MAX when it does not occur. */
static uint32_t find_text(struct kappa_text text, struct kappa_text needle, uint32_t from)
{
    if (needle.len == 0) {
        return from;
    }
    const char *at = memmem(text.bytes + from, text.len - from, needle.bytes, needle.len);
    return at == NULL ? UINT32_MAX : (uint32_t)(at - text.bytes);
}

static bool in_set(struct kappa_text set, const char *character, uint32_t len)
{
    struct kappa_text one = {character, len};
    return find_text(set, one, 0) != UINT32_MAX;
}

void expr_length(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->i[i] = out->state[i] == EXPR_OK ? character_count(a[i]) : 0;
    }
}

void expr_octet_length(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->i[i] = a[i].len;
    }
}

/* (text, first character from 1, [count]): the part of that window that lies in the text. */
void expr_substring(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const int64_t *first = expr_arg(step, frame, 1)->i;
    const int64_t *count = step->arg_count == 3 ? expr_arg(step, frame, 2)->i : NULL;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        int64_t end = count == NULL ? INT64_MAX : first[i] - 1 + count[i];
        if (count != NULL && count[i] < 0) {
            out->state[i] = EXPR_ERROR_ARGUMENT;
            continue;
        }
        uint32_t from = character_at(a[i], first[i] - 1);
        uint32_t to = character_at(a[i], end);
        out->s[i] = slice(a[i], from, to < from ? from : to);
    }
}

/* A negative count n means: all but |n| characters. */
void expr_left(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const int64_t *count = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            int64_t keep = count[i] >= 0 ? count[i] : character_count(a[i]) + count[i];
            out->s[i] = slice(a[i], 0, character_at(a[i], keep));
        }
    }
}

void expr_right(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const int64_t *count = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            int64_t drop = count[i] >= 0 ? character_count(a[i]) - count[i] : -count[i];
            out->s[i] = slice(a[i], character_at(a[i], drop), a[i].len);
        }
    }
}

void expr_strpos(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *needle = expr_arg(step, frame, 1)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            uint32_t at = find_text(a[i], needle[i], 0);
            out->i[i] = at == UINT32_MAX ? 0 : character_count(slice(a[i], 0, at)) + 1;
        }
    }
}

void expr_starts_with(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *prefix = expr_arg(step, frame, 1)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->i[i] = a[i].len >= prefix[i].len &&
                        expr_same_text(slice(a[i], 0, prefix[i].len), prefix[i]);
        }
    }
}

static struct kappa_text trim_start(struct kappa_text text, struct kappa_text set)
{
    uint32_t from = 0;
    while (from < text.len) {
        uint32_t next = character_end(text, from);
        if (!in_set(set, text.bytes + from, next - from)) {
            break;
        }
        from = next;
    }
    return slice(text, from, text.len);
}

static struct kappa_text trim_end(struct kappa_text text, struct kappa_text set)
{
    uint32_t to = text.len;
    while (to > 0) {
        uint32_t last = to - 1;
        while (last > 0 && !character_begins(text.bytes[last])) {
            last--;
        }
        if (!in_set(set, text.bytes + last, to - last)) {
            break;
        }
        to = last;
    }
    return slice(text, 0, to);
}

/* (text, [characters to take off, default a space]) */
static void trim(const struct expr_step *step, const struct expr_frame *frame, bool start, bool end)
{
    static const struct kappa_text space = {" ", 1};
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *sets = step->arg_count == 2 ? expr_arg(step, frame, 1)->s : NULL;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        struct kappa_text set = sets == NULL ? space : sets[i];
        struct kappa_text text = a[i];
        if (set.len > 0 && start) {
            text = trim_start(text, set);
        }
        if (set.len > 0 && end) {
            text = trim_end(text, set);
        }
        out->s[i] = text;
    }
}

void expr_btrim(const struct expr_step *step, const struct expr_frame *frame)
{
    trim(step, frame, true, true);
}

void expr_ltrim(const struct expr_step *step, const struct expr_frame *frame)
{
    trim(step, frame, true, false);
}

void expr_rtrim(const struct expr_step *step, const struct expr_frame *frame)
{
    trim(step, frame, false, true);
}

/* text with every `from` replaced; false when the result is longer than a record may be. */
static bool replace_text(struct arena *texts, struct kappa_text text, struct kappa_text from,
                         struct kappa_text to, struct kappa_text *out)
{
    uint64_t hits = 0;
    for (uint32_t at = find_text(text, from, 0); at != UINT32_MAX;
         at = find_text(text, from, at + from.len)) {
        hits++;
    }
    uint64_t len = text.len - hits * from.len + hits * to.len;
    if (len > LIMIT_RECORD_BYTES) {
        return false;
    }
    char *result = arena_alloc(texts, len + 1);
    char *end = result;
    uint32_t done = 0;
    for (uint32_t at = find_text(text, from, 0); at != UINT32_MAX;
         at = find_text(text, from, done)) {
        memcpy(end, text.bytes + done, at - done);
        end += at - done;
        memcpy(end, to.bytes, to.len);
        end += to.len;
        done = at + from.len;
    }
    memcpy(end, text.bytes + done, text.len - done);
    *out = (struct kappa_text){result, (uint32_t)len};
    return true;
}

void expr_replace(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *from = expr_arg(step, frame, 1)->s;
    const struct kappa_text *to = expr_arg(step, frame, 2)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        if (from[i].len == 0) {
            out->s[i] = a[i];
        } else if (!replace_text(frame->texts, a[i], from[i], to[i], &out->s[i])) {
            out->state[i] = EXPR_ERROR_LIMIT;
        }
    }
}

/* Field n (from 1; from the end when negative) of a text split at a separator; empty if there is none. */
static struct kappa_text split_part(struct kappa_text text, struct kappa_text separator, int64_t n)
{
    int64_t fields = 1;
    for (uint32_t at = 0; separator.len > 0 && n < 0; fields++) {
        at = find_text(text, separator, at);
        if (at == UINT32_MAX) {
            break;
        }
        at += separator.len;
    }
    int64_t want = n > 0 ? n : fields + 1 + n;
    uint32_t from = 0;
    for (int64_t field = 1; want > 0; field++) {
        uint32_t at = separator.len == 0 ? UINT32_MAX : find_text(text, separator, from);
        if (field == want) {
            return slice(text, from, at == UINT32_MAX ? text.len : at);
        }
        if (at == UINT32_MAX) {
            break;
        }
        from = at + separator.len;
    }
    return (struct kappa_text){"", 0};
}

void expr_split_part(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *separator = expr_arg(step, frame, 1)->s;
    const int64_t *n = expr_arg(step, frame, 2)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            expr_fail(&out->state[i], n[i] == 0, EXPR_ERROR_ARGUMENT);
            out->s[i] = split_part(a[i], separator[i], n[i]);
        }
    }
}
