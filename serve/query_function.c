/* Scalar functions that users of PostgreSQL expect and SQLite lacks; also what translated spellings
 * become (query_translate.h). Null in, null out, but for concat, greatest and least. Own header:
 * query_private.h. */
#include "base/timefmt.h"
#include "processor/math_double.h"
#include "serve/query_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- arguments */

static bool any_null(sqlite3_value **argv, int argc)
{
    for (int i = 0; i < argc; i++) {
        if (sqlite3_value_type(argv[i]) == SQLITE_NULL) {
            return true;
        }
    }
    return false;
}

static struct kappa_text text_of(sqlite3_value *value)
{
    const char *bytes = (const char *)sqlite3_value_text(value);
    return (struct kappa_text){.bytes = bytes == NULL ? "" : bytes,
                               .len = (uint32_t)sqlite3_value_bytes(value)};
}

static void bad(sqlite3_context *context, const char *what, sqlite3_value *value)
{
    char *text = sqlite3_mprintf("\"%.60s\" is %s", text_of(value).bytes, what);
    sqlite3_result_error(context, text, -1);
    sqlite3_free(text);
}

static bool time_of(sqlite3_context *context, sqlite3_value *value, int64_t *us)
{
    struct kappa_text text = text_of(value);
    if (query_time_parse(text.bytes, text.len, us)) {
        return true;
    }
    bad(context, "not a time", value);
    return false;
}

static void result_time(sqlite3_context *context, int64_t us)
{
    char text[QUERY_TIME_LEN];
    query_time_text(us, text);
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

/* ---- conversions */

static void to_integer(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    if (any_null(argv, argc)) {
        return;
    }
    int type = sqlite3_value_numeric_type(argv[0]);
    double d = rint(sqlite3_value_double(argv[0]));
    if (type == SQLITE_INTEGER) {
        sqlite3_result_int64(context, sqlite3_value_int64(argv[0]));
    } else if (type == SQLITE_FLOAT && fabs(d) < 9.2e18) {
        sqlite3_result_int64(context, (int64_t)d);
    } else {
        bad(context, "not a whole number", argv[0]);
    }
}

static void to_double(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    if (any_null(argv, argc)) {
        return;
    }
    int type = sqlite3_value_numeric_type(argv[0]);
    if (type == SQLITE_INTEGER || type == SQLITE_FLOAT) {
        sqlite3_result_double(context, sqlite3_value_double(argv[0]));
    } else {
        bad(context, "not a number", argv[0]);
    }
}

/* A number by its digits: of the double that SQLite has, it would write 15, and 7.0 for 7. */
static void append_value(sqlite3_context *context, struct buf *out, sqlite3_value *value)
{
    struct kappa_numeric number;
    double d = sqlite3_value_double(value);
    if (sqlite3_value_type(value) != SQLITE_FLOAT || !isfinite(d)) {
        struct kappa_text text = text_of(value);
        buf_append(out, text.bytes, text.len);
    } else if (query_numeric_of(sqlite3_user_data(context), d, &number)) {
        char digits[NUMERIC_TEXT];
        buf_append(out, digits, numeric_format(number, digits));
    } else {
        json_write_real(out, d);
    }
}

static void result_buf(sqlite3_context *context, struct buf *text)
{
    sqlite3_result_text64(context, buf_text(text), text->len, SQLITE_TRANSIENT, SQLITE_UTF8);
    buf_free(text);
}

static void to_text(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    if (!any_null(argv, argc)) {
        struct buf text = {0};
        append_value(context, &text, argv[0]);
        result_buf(context, &text);
    }
}

/* Any number or text as a decimal, of a double that is none its first 15 digits, as PostgreSQL casts. */
static bool decimal_of(sqlite3_context *context, sqlite3_value *value, struct kappa_numeric *out)
{
    if (sqlite3_value_type(value) == SQLITE_TEXT && numeric_parse(text_of(value), out) == EXPR_OK) {
        return true;
    }
    int type = sqlite3_value_numeric_type(value);
    double d = sqlite3_value_double(value);
    if (type == SQLITE_INTEGER) {
        *out = numeric_from_int(sqlite3_value_int64(value));
        return true;
    }
    return type == SQLITE_FLOAT &&
           (query_numeric_of(sqlite3_user_data(context), d, out) || query_numeric_near(d, out));
}

static void bad_numeric(sqlite3_context *context, sqlite3_value *value)
{
    bad(context, "not a numeric of up to 38 digits", value);
}

/* to_numeric(x [, precision, scale]) */
static void to_numeric(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct kappa_numeric value;
    if (any_null(argv, argc)) {
        return;
    }
    if (!decimal_of(context, argv[0], &value)) {
        bad_numeric(context, argv[0]);
        return;
    }
    if (argc == 3) {
        int64_t precision = sqlite3_value_int64(argv[1]);
        bool fits =
            numeric_round(value, sqlite3_value_int64(argv[2]), NUMERIC_NEAREST, &value) == EXPR_OK;
        int128 coefficient = numeric_coefficient(value);
        uint128 size = (uint128)(coefficient < 0 ? -coefficient : coefficient);
        if (!fits || (size != 0 && numeric_digits(size) > precision)) {
            bad(context, "too large for the precision of this numeric", argv[0]);
            return;
        }
    }
    query_result_numeric(sqlite3_user_data(context), context, value);
}

/* round(x [, digits]): SQLite's own rounds the double, and knows no negative digits. */
static void round_decimal(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    struct kappa_numeric value;
    if (any_null(argv, argc)) {
        return;
    }
    int64_t digits = argc == 2 ? sqlite3_value_int64(argv[1]) : 0;
    bool large = sqlite3_value_type(argv[0]) == SQLITE_FLOAT &&
                 !(fabs(sqlite3_value_double(argv[0])) < 1e38); /* it has no fraction */
    if (large) {
        sqlite3_result_value(context, argv[0]);
    } else if (!decimal_of(context, argv[0], &value) ||
               (digits < value.scale &&
                numeric_round(value, digits, NUMERIC_NEAREST, &value) != EXPR_OK)) {
        bad_numeric(context, argv[0]);
    } else {
        query_result_numeric(sqlite3_user_data(context), context, value);
    }
}

static void to_boolean(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    static const char *const words[] = {"f",   "t",  "false", "true", "no", "yes",
                                        "off", "on", "n",     "y",    "0",  "1"};
    if (any_null(argv, argc)) {
        return;
    }
    if (sqlite3_value_type(argv[0]) != SQLITE_TEXT) {
        sqlite3_result_int(context, sqlite3_value_double(argv[0]) != 0);
        return;
    }
    for (size_t i = 0; i < array_len(words); i++) {
        if (strcasecmp(text_of(argv[0]).bytes, words[i]) == 0) {
            sqlite3_result_int(context, (int)(i % 2));
            return;
        }
    }
    bad(context, "not a boolean", argv[0]);
}

static void timestamptz(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    int64_t us = 0;
    if (!any_null(argv, argc) && time_of(context, argv[0], &us)) {
        result_time(context, us);
    }
}

static void to_date(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    char text[QUERY_TIME_LEN];
    int64_t us = 0;
    if (!any_null(argv, argc) && time_of(context, argv[0], &us)) {
        query_time_text(us, text);
        sqlite3_result_text(context, text, text[4] == '-' ? 10 : -1, SQLITE_TRANSIENT);
    }
}

static void to_timestamp(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    if (any_null(argv, argc)) {
        return;
    }
    double seconds = sqlite3_value_double(argv[0]);
    if (!(fabs(seconds) < 4e12)) {
        bad(context, "not a time in seconds", argv[0]);
    } else if (sqlite3_value_type(argv[0]) == SQLITE_INTEGER) {
        result_time(context, sqlite3_value_int64(argv[0]) * US_SECOND);
    } else {
        result_time(context, (int64_t)rint(seconds * 1e6));
    }
}

/* ---- times */

static void now(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    const struct query *query = sqlite3_user_data(context);
    (void)argc;
    (void)argv;
    result_time(context, query->now_us);
}

/* time_add(t, '[-]duration') */
static void time_add(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    int64_t us = 0;
    int64_t step = 0;
    int64_t sum = 0;
    if (any_null(argv, argc) || !time_of(context, argv[0], &us)) {
        return;
    }
    struct kappa_text text = text_of(argv[1]);
    bool minus = text.len > 0 && text.bytes[0] == '-';
    if (!duration_parse(text.bytes + minus, text.len - minus, &step)) {
        bad(context, "not an interval (months and years have no fixed length: write days)",
            argv[1]);
    } else if (__builtin_add_overflow(us, minus ? -step : step, &sum)) {
        bad(context, "too long an interval", argv[1]);
    } else {
        result_time(context, sum);
    }
}

struct civil {
    int64_t year;
    unsigned month;
    unsigned day;
    int64_t days;
    int64_t in_day; /* us */
};

static struct civil civil_of(int64_t us)
{
    struct civil c;
    c.days = time_day_of(us);
    c.in_day = us - c.days * US_DAY;
    time_civil_from_days(c.days, &c.year, &c.month, &c.day);
    return c;
}

static int64_t weekday(int64_t days)
{
    return ((days + 4) % 7 + 7) % 7; /* 1970 began on a Thursday; Sunday is 0 */
}

static int64_t floor_to(int64_t us, int64_t unit)
{
    int64_t into = us % unit;
    return us - (into < 0 ? into + unit : into);
}

static void date_trunc(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    static const struct {
        const char *unit;
        int64_t us;
    } units[] = {{"microseconds", 1},        {"milliseconds", 1000},     {"second", US_SECOND},
                 {"minute", 60 * US_SECOND}, {"hour", 3600 * US_SECOND}, {"day", US_DAY}};

    int64_t us = 0;
    if (any_null(argv, argc) || !time_of(context, argv[1], &us)) {
        return;
    }
    const char *unit = text_of(argv[0]).bytes;
    for (size_t i = 0; i < array_len(units); i++) {
        if (strcasecmp(unit, units[i].unit) == 0) {
            result_time(context, floor_to(us, units[i].us));
            return;
        }
    }
    struct civil c = civil_of(us);
    if (strcasecmp(unit, "week") == 0) {
        result_time(context, (c.days - (weekday(c.days) + 6) % 7) * US_DAY);
    } else if (strcasecmp(unit, "month") == 0) {
        result_time(context, time_days_from_civil(c.year, c.month, 1) * US_DAY);
    } else if (strcasecmp(unit, "quarter") == 0) {
        result_time(context, time_days_from_civil(c.year, (c.month - 1) / 3 * 3 + 1, 1) * US_DAY);
    } else if (strcasecmp(unit, "year") == 0) {
        result_time(context, time_days_from_civil(c.year, 1, 1) * US_DAY);
    } else {
        bad(context, "not a unit: second, minute, hour, day, week, month, quarter, year", argv[0]);
    }
}

static void date_part(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    int64_t us = 0;
    if (any_null(argv, argc) || !time_of(context, argv[1], &us)) {
        return;
    }
    struct civil c = civil_of(us);

    const struct {
        const char *field;
        int64_t value;
    } fields[] = {
        {"year", c.year},
        {"quarter", (c.month - 1) / 3 + 1},
        {"month", c.month},
        {"day", c.day},
        {"hour", c.in_day / (3600 * US_SECOND)},
        {"minute", c.in_day / (60 * US_SECOND) % 60},
        {"dow", weekday(c.days)},
        {"isodow", weekday(c.days) == 0 ? 7 : weekday(c.days)},
        {"doy", c.days - time_days_from_civil(c.year, 1, 1) + 1},
    };

    const char *field = text_of(argv[0]).bytes;
    for (size_t i = 0; i < array_len(fields); i++) {
        if (strcasecmp(field, fields[i].field) == 0) {
            sqlite3_result_int64(context, fields[i].value);
            return;
        }
    }
    if (strcasecmp(field, "epoch") == 0) {
        sqlite3_result_double(context, (double)us / 1e6);
    } else if (strcasecmp(field, "second") == 0) {
        sqlite3_result_double(context, (double)(c.in_day % (60 * US_SECOND)) / 1e6);
    } else {
        bad(context,
            "not a field: epoch, year, quarter, month, day, hour, minute, second, dow, isodow, doy",
            argv[0]);
    }
}

static void epoch(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    int64_t us = 0;
    if (!any_null(argv, argc) && time_of(context, argv[0], &us)) {
        sqlite3_result_double(context, (double)us / 1e6);
    }
}

/* ---- texts */

/* Bytes of the first n characters. */
static size_t prefix_bytes(struct kappa_text text, int64_t n)
{
    size_t at = 0;
    while (at < text.len && n > 0) {
        at++;
        while (at < text.len && ((unsigned char)text.bytes[at] & 0xC0) == 0x80) {
            at++;
        }
        n--;
    }
    return at;
}

static int64_t characters(struct kappa_text text)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        count += ((unsigned char)text.bytes[i] & 0xC0) != 0x80;
    }
    return count;
}

static void result_slice(sqlite3_context *context, const char *bytes, size_t len)
{
    sqlite3_result_text64(context, bytes, len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

/* left(text, n) and right(text, n); a negative n leaves out so many of the other end. */
static void side(sqlite3_context *context, sqlite3_value **argv, bool is_left)
{
    if (any_null(argv, 2)) {
        return;
    }
    struct kappa_text text = text_of(argv[0]);
    int64_t total = characters(text);
    int64_t n = sqlite3_value_int64(argv[1]);
    n = n < -total ? -total : n > total ? total : n;
    n = n < 0 ? total + n : n;
    size_t cut = prefix_bytes(text, is_left ? n : total - n);
    result_slice(context, is_left ? text.bytes : text.bytes + cut, is_left ? cut : text.len - cut);
}

static void left(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    side(context, argv, true);
}

static void right(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    side(context, argv, false);
}

static void split_part(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    if (any_null(argv, argc)) {
        return;
    }
    struct kappa_text text = text_of(argv[0]);
    struct kappa_text separator = text_of(argv[1]);
    int64_t n = sqlite3_value_int64(argv[2]);
    if (n < 1) {
        sqlite3_result_error(context, "split_part counts from 1", -1);
        return;
    }
    const char *at = text.bytes;
    const char *end = text.bytes + text.len;
    for (;; n--) {
        const char *found = separator.len == 0
                                ? NULL
                                : memmem(at, (size_t)(end - at), separator.bytes, separator.len);
        if (n == 1 || found == NULL) {
            const char *stop = found == NULL ? end : found;
            result_slice(context, at, n == 1 ? (size_t)(stop - at) : 0);
            return;
        }
        at = found + separator.len;
    }
}

static void starts_with(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    if (any_null(argv, argc)) {
        return;
    }
    struct kappa_text text = text_of(argv[0]);
    struct kappa_text head = text_of(argv[1]);
    bool yes = head.len <= text.len && memcmp(text.bytes, head.bytes, head.len) == 0;
    sqlite3_result_int(context, yes);
}

static void concat_ws(sqlite3_context *context, struct kappa_text separator, int argc,
                      sqlite3_value **argv)
{
    struct buf out = {0};
    bool first = true;
    for (int i = 0; i < argc; i++) {
        if (sqlite3_value_type(argv[i]) != SQLITE_NULL) {
            buf_append(&out, separator.bytes, first ? 0 : separator.len);
            append_value(context, &out, argv[i]);
            first = false;
        }
    }
    result_buf(context, &out);
}

static void concat(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    concat_ws(context, (struct kappa_text){.bytes = "", .len = 0}, argc, argv);
}

static void concat_separated(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    if (argc < 1 || sqlite3_value_type(argv[0]) == SQLITE_NULL) {
        return;
    }
    concat_ws(context, text_of(argv[0]), argc - 1, argv + 1);
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

/* LIKE with '%' and '_', letters of ASCII in either case: x ILIKE y is match(y, x). */
static bool is_like(const char *pattern, const char *pattern_end, const char *text,
                    const char *text_end)
{
    const char *retry_pattern = NULL;
    const char *retry_text = NULL;
    while (text < text_end) {
        bool escaped = pattern + 1 < pattern_end && *pattern == '\\';
        if (pattern < pattern_end && *pattern == '%') {
            retry_pattern = ++pattern;
            retry_text = text;
        } else if (pattern < pattern_end && *pattern == '_') {
            pattern++;
            for (text++; text < text_end && ((unsigned char)*text & 0xC0) == 0x80;) {
                text++;
            }
        } else if (pattern < pattern_end && lower(pattern[escaped]) == lower(*text)) {
            pattern += 1 + escaped;
            text++;
        } else if (retry_pattern != NULL) {
            pattern = retry_pattern;
            text = ++retry_text;
        } else {
            return false;
        }
    }
    while (pattern < pattern_end && *pattern == '%') {
        pattern++;
    }
    return pattern == pattern_end;
}

static void ilike(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    if (any_null(argv, argc)) {
        return;
    }
    struct kappa_text pattern = text_of(argv[0]);
    struct kappa_text text = text_of(argv[1]);
    sqlite3_result_int(context, is_like(pattern.bytes, pattern.bytes + pattern.len, text.bytes,
                                        text.bytes + text.len));
}

/* ---- numbers */

/* 64-bit values by their order in SQLite, nulls left out. */
static void extreme(sqlite3_context *context, int argc, sqlite3_value **argv, int sign)
{
    sqlite3_value *best = NULL;
    for (int i = 0; i < argc; i++) {
        int type = sqlite3_value_type(argv[i]);
        if (type == SQLITE_NULL) {
            continue;
        }
        if (best == NULL) {
            best = argv[i];
            continue;
        }
        bool number = type != SQLITE_TEXT && sqlite3_value_type(best) != SQLITE_TEXT;
        double a = sqlite3_value_double(argv[i]);
        double b = sqlite3_value_double(best);
        struct kappa_text one = text_of(argv[i]);
        struct kappa_text two = text_of(best);
        int order = number ? (a < b ? -1 : a > b)
                           : memcmp(one.bytes, two.bytes, one.len < two.len ? one.len : two.len);
        order = order == 0 && !number ? (int)one.len - (int)two.len : order;
        best = order * sign > 0 ? argv[i] : best;
    }
    if (best != NULL) {
        sqlite3_result_value(context, best);
    }
}

static void greatest(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    extreme(context, argc, argv, 1);
}

static void least(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    extreme(context, argc, argv, -1);
}

static void haversine_km(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    if (any_null(argv, argc)) {
        return;
    }
    double km = math_haversine_km(sqlite3_value_double(argv[0]), sqlite3_value_double(argv[1]),
                                  sqlite3_value_double(argv[2]), sqlite3_value_double(argv[3]));
    sqlite3_result_double(context, km); /* NaN, of no places, is null */
}

typedef void (*function)(sqlite3_context *context, int argc, sqlite3_value **argv);

int query_functions_add(struct query *query)
{
    static const struct {
        const char *name;
        int args; /* -1: any number */
        function call;
    } functions[] = {
        {"now", 0, now},
        {"date_trunc", 2, date_trunc},
        {"date_part", 2, date_part},
        {"epoch", 1, epoch},
        {"to_timestamp", 1, to_timestamp},
        {"timestamptz", 1, timestamptz},
        {"time_add", 2, time_add},
        {"to_date", 1, to_date},
        {"to_integer", 1, to_integer},
        {"to_double", 1, to_double},
        {"to_numeric", 1, to_numeric},
        {"to_numeric", 3, to_numeric},
        {"round", 1, round_decimal},
        {"round", 2, round_decimal},
        {"to_text", 1, to_text},
        {"to_boolean", 1, to_boolean},
        {"match", 2, ilike},
        {"text_left", 2, left},
        {"text_right", 2, right},
        {"split_part", 3, split_part},
        {"starts_with", 2, starts_with},
        {"concat", -1, concat},
        {"concat_ws", -1, concat_separated},
        {"greatest", -1, greatest},
        {"least", -1, least},
        {"haversine_km", 4, haversine_km},
    };

    int rc = SQLITE_OK;
    for (size_t i = 0; i < array_len(functions) && rc == SQLITE_OK; i++) {
        bool pure = functions[i].call != now;
        int flags = SQLITE_UTF8 | SQLITE_INNOCUOUS | (pure ? SQLITE_DETERMINISTIC : 0);
        rc = sqlite3_create_function_v2(query->db, functions[i].name, functions[i].args, flags,
                                        query, functions[i].call, NULL, NULL, NULL);
    }
    return rc;
}
