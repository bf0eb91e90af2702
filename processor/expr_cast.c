/* Casts between types, and text to value. Own header: expr_step.h. Value to text: expr_format.c.
 *
 * Reading is strict as PostgreSQL's input functions: blanks around are allowed, anything else is an
 * error. */
#include "base/timefmt.h"
#include "processor/expr_step.h"
#include "processor/value_cast.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct kappa_text expr_without_blanks(struct kappa_text text)
{
    while (text.len > 0 && is_blank(text.bytes[0])) {
        text.bytes++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.bytes[text.len - 1])) {
        text.len--;
    }
    return text;
}

/* True if text is a prefix, of at least `least` letters, of word, in any case. */
static bool abbreviates(struct kappa_text text, const char *word, uint32_t least)
{
    return text.len >= least && text.len <= strlen(word) &&
           strncasecmp(text.bytes, word, text.len) == 0;
}

enum expr_state expr_parse_boolean(struct kappa_text text, int64_t *out)
{
    text = expr_without_blanks(text);
    bool one = text.len == 1 && text.bytes[0] == '1';
    bool zero = text.len == 1 && text.bytes[0] == '0';
    if (one || abbreviates(text, "true", 1) || abbreviates(text, "yes", 1) ||
        abbreviates(text, "on", 2)) {
        *out = 1;
        return EXPR_OK;
    }
    if (zero || abbreviates(text, "false", 1) || abbreviates(text, "no", 1) ||
        abbreviates(text, "off", 2)) {
        *out = 0;
        return EXPR_OK;
    }
    return EXPR_ERROR_CAST;
}

/* A whole number from low to high. Out of range as soon as the digits are, whatever follows them. */
static enum expr_state parse_whole(struct kappa_text text, int64_t low, int64_t high, int64_t *out)
{
    text = expr_without_blanks(text);
    bool negative = text.len > 0 && text.bytes[0] == '-';
    uint32_t i = text.len > 0 && (negative || text.bytes[0] == '+') ? 1 : 0;
    if (i == text.len) {
        return EXPR_ERROR_CAST;
    }
    int64_t value = 0;
    for (; i < text.len; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9') {
            return EXPR_ERROR_CAST;
        }
        int64_t digit = text.bytes[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value) || value < low ||
            value > high) {
            return EXPR_ERROR_OVERFLOW;
        }
    }
    *out = value;
    return EXPR_OK;
}

enum expr_state expr_parse_bigint(struct kappa_text text, int64_t *out)
{
    return parse_whole(text, INT64_MIN, INT64_MAX, out);
}

enum expr_state expr_parse_integer(struct kappa_text text, int64_t *out)
{
    return parse_whole(text, INT32_MIN, INT32_MAX, out);
}

enum expr_state expr_parse_smallint(struct kappa_text text, int64_t *out)
{
    return parse_whole(text, INT16_MIN, INT16_MAX, out);
}

/* Digits with a point and an exponent; the words of infinity and NaN. No hexadecimal. */
static bool looks_like_double(struct kappa_text text)
{
    for (uint32_t i = 0; i < text.len; i++) {
        char c = text.bytes[i];
        if (c == '\0' || strchr("xXpP(", c) != NULL || is_blank(c)) {
            return false;
        }
    }
    return text.len > 0;
}

static enum expr_state parse_binary(struct kappa_text text, bool real, double *out)
{
    char buffer[64];
    text = expr_without_blanks(text);
    if (!looks_like_double(text)) {
        return EXPR_ERROR_CAST;
    }
    char *copy = text.len < sizeof buffer ? buffer : xmalloc((size_t)text.len + 1);
    memcpy(copy, text.bytes, text.len);
    copy[text.len] = '\0';
    char *end = NULL;
    errno = 0;
    double value = real ? (double)strtof(copy, &end) : strtod(copy, &end);
    bool whole = end == copy + text.len;
    bool beyond = errno == ERANGE && (value == 0.0 || isinf(value));
    if (copy != buffer) {
        free(copy);
    }
    if (beyond) {
        return EXPR_ERROR_OVERFLOW; /* whatever stands behind the number, as PostgreSQL */
    }
    if (!whole) {
        return EXPR_ERROR_CAST;
    }
    *out = value;
    return EXPR_OK;
}

enum expr_state expr_parse_double(struct kappa_text text, double *out)
{
    return parse_binary(text, false, out);
}

enum expr_state expr_parse_real(struct kappa_text text, double *out)
{
    return parse_binary(text, true, out);
}

enum expr_state expr_parse_timestamptz(struct kappa_text text, int64_t *out)
{
    text = expr_without_blanks(text);
    return time_parse(text.bytes, text.len, out) ? EXPR_OK : EXPR_ERROR_CAST;
}

/* Without the offset that may stand behind the time of day. */
static struct kappa_text without_offset(struct kappa_text text)
{
    if (text.len > 0 && (text.bytes[text.len - 1] | 0x20) == 'z') {
        return (struct kappa_text){text.bytes, text.len - 1};
    }
    for (uint32_t i = 11; i < text.len; i++) {
        if (text.bytes[i] == '+' || text.bytes[i] == '-') {
            return (struct kappa_text){text.bytes, i};
        }
    }
    return text;
}

enum expr_state expr_parse_timestamp(struct kappa_text text, int64_t *out)
{
    text = expr_without_blanks(text);
    int64_t ignored = 0;
    struct kappa_text time = without_offset(text);
    return time_parse(text.bytes, text.len, &ignored) && time_parse(time.bytes, time.len, out)
               ? EXPR_OK
               : EXPR_ERROR_CAST;
}

enum expr_state expr_parse_date(struct kappa_text text, int64_t *out)
{
    int64_t us = 0;
    if (expr_parse_timestamp(text, &us) != EXPR_OK) {
        return EXPR_ERROR_CAST;
    }
    *out = time_day_of(us);
    return EXPR_OK;
}

/* ---- Between numbers. */

static void narrowed(const struct expr_step *step, const struct expr_frame *frame, int64_t low,
                     int64_t high)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->i[i] = a[i];
        expr_fail(&out->state[i], a[i] > high || a[i] < low, EXPR_ERROR_OVERFLOW);
    }
}

void expr_integer_from_bigint(const struct expr_step *step, const struct expr_frame *frame)
{
    narrowed(step, frame, INT32_MIN, INT32_MAX);
}

void expr_smallint_from_bigint(const struct expr_step *step, const struct expr_frame *frame)
{
    narrowed(step, frame, INT16_MIN, INT16_MAX);
}

/* Rounds half to even, as PostgreSQL; low and high are exact doubles, high is excluded. */
static void whole_from_double(const struct expr_step *step, const struct expr_frame *frame,
                              double low, double high)
{
    (void)expr_strict(step, frame);
    const double *a = expr_arg(step, frame, 0)->d;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        double rounded = rint(a[i]);
        bool fits = rounded >= low && rounded < high; /* false for NaN */
        out->i[i] = fits ? (int64_t)rounded : 0;
        expr_fail(&out->state[i], !fits, EXPR_ERROR_OVERFLOW);
    }
}

void expr_integer_from_double(const struct expr_step *step, const struct expr_frame *frame)
{
    whole_from_double(step, frame, -0x1p31, 0x1p31);
}

void expr_smallint_from_double(const struct expr_step *step, const struct expr_frame *frame)
{
    whole_from_double(step, frame, -0x1p15, 0x1p15);
}

void expr_bigint_from_double(const struct expr_step *step, const struct expr_frame *frame)
{
    whole_from_double(step, frame, -0x1p63, 0x1p63);
}

void expr_double_from_bigint(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *restrict a = expr_arg(step, frame, 0)->i;
    double *restrict out = expr_out(step, frame)->d;
    for (uint32_t i = 0; i < frame->n; i++) {
        out[i] = (double)a[i];
    }
}

void expr_real_from_bigint(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *restrict a = expr_arg(step, frame, 0)->i;
    double *restrict out = expr_out(step, frame)->d;
    for (uint32_t i = 0; i < frame->n; i++) {
        out[i] = (double)(float)a[i];
    }
}

void expr_real_from_double(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const double *a = expr_arg(step, frame, 0)->d;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        double r = (double)(float)a[i];
        bool beyond = (isinf(r) && !isinf(a[i])) || (r == 0.0 && a[i] != 0.0);
        out->d[i] = r;
        expr_fail(&out->state[i], beyond, EXPR_ERROR_OVERFLOW);
    }
}

void expr_boolean_from_integer(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *restrict a = expr_arg(step, frame, 0)->i;
    int64_t *restrict out = expr_out(step, frame)->i;
    for (uint32_t i = 0; i < frame->n; i++) {
        out[i] = a[i] != 0;
    }
}

/* ---- From text. */

typedef enum expr_state (*parse_fn)(struct kappa_text text, int64_t *out);

static void whole_from_text(const struct expr_step *step, const struct expr_frame *frame,
                            parse_fn parse)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)parse(a[i], &out->i[i]);
        }
    }
}

void expr_boolean_from_text(const struct expr_step *step, const struct expr_frame *frame)
{
    whole_from_text(step, frame, expr_parse_boolean);
}

void expr_integer_from_text(const struct expr_step *step, const struct expr_frame *frame)
{
    whole_from_text(step, frame, expr_parse_integer);
}

void expr_bigint_from_text(const struct expr_step *step, const struct expr_frame *frame)
{
    whole_from_text(step, frame, expr_parse_bigint);
}

void expr_timestamptz_from_text(const struct expr_step *step, const struct expr_frame *frame)
{
    whole_from_text(step, frame, expr_parse_timestamptz);
}

void expr_interval_from_text(const struct expr_step *step, const struct expr_frame *frame)
{
    whole_from_text(step, frame, expr_parse_interval);
}

void expr_double_from_text(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)expr_parse_double(a[i], &out->d[i]);
        }
    }
}

void expr_value_from_text(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            struct kappa_value value;
            enum expr_state state =
                value_parse(a[i], (enum kappa_type)step->option, frame->texts, &value);
            if (state == EXPR_OK) {
                expr_set(out, i, &value);
            }
            out->state[i] = (uint8_t)state;
        }
    }
}

/* ---- To text. */

void expr_text_from_value(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct expr_vec *a = expr_arg(step, frame, 0);
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            enum expr_state state = EXPR_OK;
            struct kappa_value value = expr_value(a, i, &state);
            value.type = (enum kappa_type)step->option; /* a widened register keeps its own */
            out->s[i] = value_format(&value, frame->texts);
        }
    }
}

static struct kappa_text keep_text(struct arena *texts, const char *bytes, uint32_t len)
{
    char *copy = arena_alloc(texts, (size_t)len + 1);
    memcpy(copy, bytes, len);
    return (struct kappa_text){copy, len};
}

static void word_from_boolean(const struct expr_step *step, const struct expr_frame *frame,
                              const struct kappa_text *words)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->s[i] = words[a[i] == 1];
    }
}

void expr_text_from_boolean(const struct expr_step *step, const struct expr_frame *frame)
{
    static const struct kappa_text words[] = {{"false", 5}, {"true", 4}};
    word_from_boolean(step, frame, words);
}

void expr_letter_from_boolean(const struct expr_step *step, const struct expr_frame *frame)
{
    static const struct kappa_text letters[] = {{"f", 1}, {"t", 1}};
    word_from_boolean(step, frame, letters);
}

void expr_text_from_bigint(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            char text[EXPR_BIGINT_TEXT];
            out->s[i] = keep_text(frame->texts, text, expr_format_bigint(a[i], text));
        }
    }
}

void expr_text_from_double(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const double *a = expr_arg(step, frame, 0)->d;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            char text[EXPR_DOUBLE_TEXT];
            out->s[i] = keep_text(frame->texts, text, expr_format_double(a[i], text));
        }
    }
}

void expr_text_from_timestamptz(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            char text[EXPR_TIME_TEXT];
            out->s[i] = keep_text(frame->texts, text, expr_format_timestamptz(a[i], text));
        }
    }
}
