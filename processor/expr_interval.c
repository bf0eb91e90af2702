/* Text of an interval: "5 minutes", "1 day 02:30:00", "-90 s", "1h30m". Own header: expr_step.h.
 *
 *     interval = part+          part = [+-] (number [unit] | hours:minutes[:seconds[.fraction]])
 *
 * A number without a unit is seconds. A sign holds for its part. */
#include "base/timefmt.h"
#include "processor/expr_step.h"

#include <string.h>
#include <strings.h>

struct interval_scan {
    const char *at;
    const char *end;
};

static bool digit_at(const struct interval_scan *scan)
{
    return scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9';
}

static bool letter_at(const struct interval_scan *scan)
{
    return scan->at < scan->end && (*scan->at | 0x20) >= 'a' && (*scan->at | 0x20) <= 'z';
}

static void skip_blanks(struct interval_scan *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || (*scan->at >= '\t' && *scan->at <= '\r'))) {
        scan->at++;
    }
}

static bool names_calendar_unit(const char *word, size_t len)
{
    static const char *const words[] = {"month",   "months",  "mon",       "mons",      "year",
                                        "years",   "yr",      "yrs",       "y",         "decade",
                                        "decades", "century", "centuries", "millennium"};
    for (size_t i = 0; i < array_len(words); i++) {
        if (strlen(words[i]) == len && strncasecmp(words[i], word, len) == 0) {
            return true;
        }
    }
    return false;
}

/* hours:minutes[:seconds[.fraction]]; the digits of the hours begin at first, scan stands on ':'. */
static bool scan_clock(struct interval_scan *scan, const char *first, int64_t *us)
{
    int64_t fields[3] = {0, 0, 0};
    int count = 1;
    for (const char *c = first; c < scan->at; c++) {
        if (fields[0] > INT64_C(1000000)) {
            return false;
        }
        fields[0] = fields[0] * 10 + (*c - '0');
    }
    while (count < 3 && scan->at < scan->end && *scan->at == ':') {
        scan->at++;
        const char *start = scan->at;
        while (digit_at(scan) && scan->at - start < 2) {
            fields[count] = fields[count] * 10 + (*scan->at++ - '0');
        }
        if (scan->at == start || fields[count] > 59) {
            return false;
        }
        count++;
    }
    int64_t total = ((fields[0] * 60 + fields[1]) * 60 + fields[2]) * 1000000;
    if (count == 3 && scan->at < scan->end && *scan->at == '.') {
        scan->at++;
        for (int64_t unit = 100000; digit_at(scan); unit /= 10) {
            total += (*scan->at++ - '0') * unit;
        }
    }
    *us = total;
    return true;
}

/* number [unit]; scan stands behind the whole digits, which begin at first. */
static enum expr_state scan_quantity(struct interval_scan *scan, const char *first, int64_t *us)
{
    if (scan->at < scan->end && *scan->at == '.') {
        scan->at++;
        while (digit_at(scan)) {
            scan->at++;
        }
    }
    const char *number_end = scan->at;
    skip_blanks(scan);
    const char *word = scan->at;
    while (letter_at(scan)) {
        scan->at++;
    }
    size_t word_len = (size_t)(scan->at - word);
    if (names_calendar_unit(word, word_len)) {
        return EXPR_ERROR_ARGUMENT;
    }
    size_t number_len = (size_t)(number_end - first);
    char pair[96]; /* "number unit" */
    if (number_len + word_len + 2 > sizeof pair) {
        return EXPR_ERROR_CAST;
    }
    memcpy(pair, first, number_len);
    pair[number_len] = ' ';
    if (word_len == 0) {
        word = "s";
        word_len = 1;
    }
    memcpy(pair + number_len + 1, word, word_len);
    if (!duration_parse(pair, number_len + 1 + word_len, us)) {
        return EXPR_ERROR_CAST;
    }
    return EXPR_OK;
}

static enum expr_state scan_part(struct interval_scan *scan, int64_t *us)
{
    bool negative = *scan->at == '-';
    if (negative || *scan->at == '+') {
        scan->at++;
        skip_blanks(scan);
    }
    const char *first = scan->at;
    while (digit_at(scan)) {
        scan->at++;
    }
    if (scan->at == first) {
        return EXPR_ERROR_CAST;
    }
    int64_t part = 0;
    enum expr_state state = EXPR_OK;
    if (scan->at < scan->end && *scan->at == ':') {
        state = scan_clock(scan, first, &part) ? EXPR_OK : EXPR_ERROR_CAST;
    } else {
        state = scan_quantity(scan, first, &part);
    }
    if (state == EXPR_OK && __builtin_add_overflow(*us, negative ? -part : part, us)) {
        state = EXPR_ERROR_OVERFLOW;
    }
    return state;
}

enum expr_state expr_parse_interval(struct kappa_text text, int64_t *out)
{
    struct interval_scan scan = {text.bytes, text.bytes + text.len};
    int64_t us = 0;
    skip_blanks(&scan);
    if (scan.at == scan.end) {
        return EXPR_ERROR_CAST;
    }
    while (scan.at < scan.end) {
        enum expr_state state = scan_part(&scan, &us);
        if (state != EXPR_OK) {
            return state;
        }
        skip_blanks(&scan);
    }
    *out = us;
    return EXPR_OK;
}
