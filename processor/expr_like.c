/* LIKE and ILIKE: % stands for any characters, _ for one, the escape character takes the next one
 * literally. ILIKE compares letters in lower case. Own header: expr_step.h.
 *
 * The matcher keeps one place to go back to, the last %: what lies before it never has to be matched
 * differently. So it takes at most text * pattern steps, and no recursion. */
#include "processor/expr_step.h"
#include "processor/letter.h"

#include <string.h>

struct like {
    struct kappa_text pattern;
    struct kappa_text escape; /* one character, or empty */
    bool fold;
};

static bool escape_at(const struct like *like, uint32_t p)
{
    return like->escape.len > 0 && like->pattern.len - p >= like->escape.len &&
           memcmp(like->pattern.bytes + p, like->escape.bytes, like->escape.len) == 0;
}

bool expr_like_valid(struct kappa_text pattern, struct kappa_text escape)
{
    struct like like = {pattern, escape, false};
    for (uint32_t p = 0; p < pattern.len;) {
        if (!escape_at(&like, p)) {
            p = character_end(pattern, p);
            continue;
        }
        p += escape.len;
        if (p >= pattern.len) {
            return false;
        }
        p = character_end(pattern, p);
    }
    return true;
}

/* Are the characters at t and p the same? *t_end and *p_end are behind them. */
static bool same_character(const struct like *like, struct kappa_text text, uint32_t t,
                           uint32_t *t_end, uint32_t p, uint32_t *p_end)
{
    struct kappa_text pattern = like->pattern;
    *t_end = character_end(text, t);
    *p_end = character_end(pattern, p);
    uint32_t len = *t_end - t;
    if (len == *p_end - p && memcmp(text.bytes + t, pattern.bytes + p, len) == 0) {
        return true;
    }
    return like->fold &&
           letter_lower(character_read(text, &t)) == letter_lower(character_read(pattern, &p));
}

/* Matches one character of the text with the pattern at *p; on success both move on. */
static bool match_one(const struct like *like, struct kappa_text text, uint32_t *t, uint32_t *p)
{
    struct kappa_text pattern = like->pattern;
    uint32_t at = *p;
    bool literal = escape_at(like, at);
    if (literal) {
        at += like->escape.len;
    }
    if (at >= pattern.len) {
        return false;
    }
    uint32_t text_end;
    uint32_t pattern_end;
    if (!same_character(like, text, *t, &text_end, at, &pattern_end) &&
        (literal || pattern.bytes[at] != '_')) {
        return false;
    }
    *t = text_end;
    *p = pattern_end;
    return true;
}

/* The first place from t on where the pattern at p can match: its first byte says where, if it is a
 * plain one. */
static uint32_t next_candidate(const struct like *like, struct kappa_text text, uint32_t t,
                               uint32_t p)
{
    struct kappa_text pattern = like->pattern;
    if (like->fold || p >= pattern.len || pattern.bytes[p] == '_' || pattern.bytes[p] == '%' ||
        escape_at(like, p)) {
        return t;
    }
    const char *at = memchr(text.bytes + t, pattern.bytes[p], text.len - t);
    return at == NULL ? text.len : (uint32_t)(at - text.bytes);
}

static bool like_match(const struct like *like, struct kappa_text text)
{
    struct kappa_text pattern = like->pattern;
    uint32_t t = 0;
    uint32_t p = 0;
    uint32_t back_t = 0;
    uint32_t back_p = UINT32_MAX; /* behind the last %, or none yet */
    while (t < text.len) {
        if (p < pattern.len && pattern.bytes[p] == '%' && !escape_at(like, p)) {
            back_p = ++p;
            t = next_candidate(like, text, t, p);
            back_t = t;
        } else if (p < pattern.len && match_one(like, text, &t, &p)) {
            continue;
        } else if (back_p != UINT32_MAX) {
            back_t = next_candidate(like, text, character_end(text, back_t), back_p);
            t = back_t;
            p = back_p;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.bytes[p] == '%' && !escape_at(like, p)) {
        p++;
    }
    return p == pattern.len;
}

static void like_run(const struct expr_step *step, const struct expr_frame *frame, bool fold)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *text = expr_arg(step, frame, 0)->s;
    const struct kappa_text *pattern = expr_arg(step, frame, 1)->s;
    const struct kappa_text *escape = expr_arg(step, frame, 2)->s;
    struct expr_vec *out = expr_out(step, frame);
    struct kappa_text checked = {NULL, 0}; /* consecutive rows mostly bring the same bytes */
    bool good = false;
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        struct like like = {pattern[i], escape[i], fold};
        if (i == 0 || pattern[i].bytes != checked.bytes || pattern[i].len != checked.len ||
            checked.bytes == NULL) {
            bool one = like.escape.len == 0 || character_end(like.escape, 0) == like.escape.len;
            good = one && expr_like_valid(pattern[i], escape[i]);
            checked = pattern[i];
        }
        if (good) {
            out->i[i] = like_match(&like, text[i]);
        } else {
            out->state[i] = EXPR_ERROR_ARGUMENT;
        }
    }
}

void expr_like(const struct expr_step *step, const struct expr_frame *frame)
{
    like_run(step, frame, false);
}

void expr_ilike(const struct expr_step *step, const struct expr_frame *frame)
{
    like_run(step, frame, true);
}
