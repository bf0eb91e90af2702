/* Times and intervals: microseconds, UTC. Own header: expr_step.h, functions.def.
 *
 * An interval is a fixed number of microseconds: a day is 24 hours, a week 7 days; months and years
 * have no fixed length and are refused. No function here reads a clock. */
#include "base/timefmt.h"
#include "processor/functions.h"

#include <math.h>
#include <string.h>
#include <strings.h>

enum unit {
    UNIT_NONE,
    UNIT_MICROSECONDS,
    UNIT_MILLISECONDS,
    UNIT_SECOND,
    UNIT_MINUTE,
    UNIT_HOUR,
    UNIT_DAY,
    UNIT_WEEK,
    UNIT_MONTH,
    UNIT_QUARTER,
    UNIT_YEAR,
    UNIT_DECADE,
    UNIT_CENTURY,
    UNIT_MILLENNIUM, /* date_trunc knows those up to here */
    UNIT_EPOCH,
    UNIT_JULIAN,
    UNIT_DOW,
    UNIT_ISODOW,
    UNIT_DOY,
    UNIT_ISOYEAR
};

static enum unit unit_find(struct kappa_text text)
{
    static const struct {
        const char *name;
        enum unit unit;
    } names[] = {
        {"microsecond", UNIT_MICROSECONDS},
        {"millisecond", UNIT_MILLISECONDS},
        {"second", UNIT_SECOND},
        {"minute", UNIT_MINUTE},
        {"hour", UNIT_HOUR},
        {"day", UNIT_DAY},
        {"week", UNIT_WEEK},
        {"month", UNIT_MONTH},
        {"quarter", UNIT_QUARTER},
        {"year", UNIT_YEAR},
        {"decade", UNIT_DECADE},
        {"century", UNIT_CENTURY},
        {"centuries", UNIT_CENTURY},
        {"millennium", UNIT_MILLENNIUM},
        {"millennia", UNIT_MILLENNIUM},
        {"epoch", UNIT_EPOCH},
        {"julian", UNIT_JULIAN},
        {"dow", UNIT_DOW},
        {"isodow", UNIT_ISODOW},
        {"doy", UNIT_DOY},
        {"isoyear", UNIT_ISOYEAR},
    };

    if (text.bytes == NULL) {
        return UNIT_NONE;
    }
    uint32_t len = text.len;
    bool plural = len > 3 && (text.bytes[len - 1] | 0x20) == 's';
    if (plural && !(len == 9 && strncasecmp(text.bytes, "centuries", len) == 0)) {
        len--; /* "hours" */
    }
    for (size_t i = 0; i < array_len(names); i++) {
        if (strlen(names[i].name) == len && strncasecmp(names[i].name, text.bytes, len) == 0) {
            return names[i].unit;
        }
    }
    return UNIT_NONE;
}

bool expr_trunc_unit_known(struct kappa_text unit)
{
    enum unit found = unit_find(unit);
    return found >= UNIT_MICROSECONDS && found <= UNIT_MILLENNIUM;
}

bool expr_extract_unit_known(struct kappa_text unit)
{
    return unit_find(unit) != UNIT_NONE;
}

/* Consecutive rows mostly name the unit by the same bytes: look it up once for them. */
struct unit_memo {
    struct kappa_text text;
    enum unit unit;
};

static enum unit unit_of(struct unit_memo *memo, struct kappa_text text)
{
    if (memo->text.bytes != text.bytes || memo->text.len != text.len) {
        memo->text = text;
        memo->unit = unit_find(text);
    }
    return memo->unit;
}

static int64_t floor_to(int64_t value, int64_t step)
{
    int64_t rest = value % step;
    return value - (rest < 0 ? rest + step : rest);
}

/* Number of the span of so many years that holds a year: centuries and millennia begin with year 1. Years are
 * counted with a year 0; there is no century 0. */
static int64_t span_number(int64_t year, int64_t span)
{
    return year > 0 ? (year + span - 1) / span : -((span - year) / span);
}

/* Decades are cut at the zeros; those before Christ follow PostgreSQL. */
static int64_t decade_number(int64_t year)
{
    return year >= 0 ? year / 10 : -((9 - year) / 10);
}

/* The first year of a decade, century or millennium. */
static int64_t span_start(int64_t year, enum unit unit)
{
    if (unit == UNIT_DECADE) {
        return decade_number(year) * 10;
    }
    int64_t span = unit == UNIT_CENTURY ? 100 : 1000;
    int64_t number = span_number(year, span);
    return number > 0 ? number * span - span + 1 : number * span + 1;
}

/* The Monday on which the ISO year of a day begins: the week of 4 January. */
static int64_t iso_year_start(int64_t day, int64_t *iso_year)
{
    int64_t thursday = floor_to(day + 3, 7) - 3 + 3;
    unsigned month;
    unsigned day_of_month;
    time_civil_from_days(thursday, iso_year, &month, &day_of_month);
    return floor_to(time_days_from_civil(*iso_year, 1, 4) + 3, 7) - 3;
}

/* False when the result is out of range. */
static bool trunc_calendar(int64_t day, enum unit unit, int64_t *out)
{
    int64_t year;
    unsigned month;
    unsigned day_of_month;
    time_civil_from_days(day, &year, &month, &day_of_month);
    if (unit == UNIT_WEEK) {
        day = floor_to(day + 3, 7) - 3; /* 1970-01-01 was a Thursday; weeks start on Monday */
    } else if (unit == UNIT_MONTH) {
        day = time_days_from_civil(year, month, 1);
    } else if (unit == UNIT_QUARTER) {
        day = time_days_from_civil(year, (month - 1) / 3 * 3 + 1, 1);
    } else if (unit == UNIT_YEAR) {
        day = time_days_from_civil(year, 1, 1);
    } else {
        day = time_days_from_civil(span_start(year, unit), 1, 1);
    }
    return !__builtin_mul_overflow(day, US_DAY, out);
}

static enum expr_state trunc_time(int64_t us, enum unit unit, int64_t *out)
{
    static const int64_t steps[] = {
        [UNIT_MICROSECONDS] = 1,   [UNIT_MILLISECONDS] = 1000, [UNIT_SECOND] = US_SECOND,
        [UNIT_MINUTE] = US_MINUTE, [UNIT_HOUR] = US_HOUR,      [UNIT_DAY] = US_DAY,
    };

    if (unit == UNIT_NONE || unit > UNIT_MILLENNIUM) {
        return EXPR_ERROR_ARGUMENT;
    }
    if (us < INT64_MIN + INT64_C(1400) * 366 * US_DAY) {
        return EXPR_ERROR_OVERFLOW;
    }
    if (unit <= UNIT_DAY) {
        *out = floor_to(us, steps[unit]);
        return EXPR_OK;
    }
    return trunc_calendar(floor_to(us, US_DAY) / US_DAY, unit, out) ? EXPR_OK : EXPR_ERROR_OVERFLOW;
}

void expr_date_trunc(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *units = expr_arg(step, frame, 0)->s;
    const int64_t *us = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    struct unit_memo memo = {{NULL, 0}, UNIT_NONE};
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)trunc_time(us[i], unit_of(&memo, units[i]), &out->i[i]);
        }
    }
}

static int64_t extract_week(int64_t day, enum unit unit)
{
    int64_t iso_year;
    int64_t start = iso_year_start(day, &iso_year);
    if (unit == UNIT_WEEK) {
        return (day - start) / 7 + 1;
    }
    return iso_year > 0 ? iso_year : iso_year - 1;
}

static double extract_calendar(int64_t day, enum unit unit)
{
    int64_t year;
    unsigned month;
    unsigned day_of_month;
    time_civil_from_days(day, &year, &month, &day_of_month);
    int64_t monday_first = (day + 3) - floor_to(day + 3, 7); /* 0 is Monday */
    int64_t result = day_of_month;
    if (unit == UNIT_YEAR) {
        result = year > 0 ? year : year - 1;
    } else if (unit == UNIT_QUARTER) {
        result = (month - 1) / 3 + 1;
    } else if (unit == UNIT_MONTH) {
        result = month;
    } else if (unit == UNIT_ISODOW) {
        result = monday_first + 1;
    } else if (unit == UNIT_DOW) {
        result = (monday_first + 1) % 7;
    } else if (unit == UNIT_DOY) {
        result = day - time_days_from_civil(year, 1, 1) + 1;
    } else if (unit == UNIT_WEEK || unit == UNIT_ISOYEAR) {
        result = extract_week(day, unit);
    } else if (unit == UNIT_DECADE) {
        result = decade_number(year);
    } else if (unit == UNIT_CENTURY || unit == UNIT_MILLENNIUM) {
        result = span_number(year, unit == UNIT_CENTURY ? 100 : 1000);
    }
    return (double)result;
}

static enum expr_state extract_time(int64_t us, enum unit unit, double *out)
{
    if (unit == UNIT_NONE) {
        return EXPR_ERROR_ARGUMENT;
    }
    if (us < INT64_MIN + 10 * US_DAY) {
        return EXPR_ERROR_OVERFLOW;
    }
    int64_t day_start = floor_to(us, US_DAY);
    int64_t in_day = us - day_start;
    int64_t in_minute = in_day % US_MINUTE;
    if (unit == UNIT_EPOCH) {
        *out = (double)us / 1e6;
    } else if (unit == UNIT_JULIAN) {
        const int64_t day_of_1970 = 2440588;
        *out = (double)(day_start / US_DAY + day_of_1970) + (double)in_day / 1e6 / 86400.0;
    } else if (unit == UNIT_MICROSECONDS) {
        *out = (double)in_minute;
    } else if (unit == UNIT_MILLISECONDS) {
        *out = (double)in_minute / 1e3;
    } else if (unit == UNIT_SECOND) {
        *out = (double)in_minute / 1e6;
    } else if (unit == UNIT_MINUTE) {
        int64_t minute = in_day / US_MINUTE % 60;
        *out = (double)minute;
    } else if (unit == UNIT_HOUR) {
        int64_t hour = in_day / US_HOUR;
        *out = (double)hour;
    } else {
        *out = extract_calendar(day_start / US_DAY, unit);
    }
    return EXPR_OK;
}

void expr_extract(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *units = expr_arg(step, frame, 0)->s;
    const int64_t *us = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    struct unit_memo memo = {{NULL, 0}, UNIT_NONE};
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->state[i] = (uint8_t)extract_time(us[i], unit_of(&memo, units[i]), &out->d[i]);
        }
    }
}

/* Only the epoch: an interval keeps no fields. */
void expr_extract_interval(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *units = expr_arg(step, frame, 0)->s;
    const int64_t *us = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    struct unit_memo memo = {{NULL, 0}, UNIT_NONE};
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK) {
            out->d[i] = (double)us[i] / 1e6;
            expr_fail(&out->state[i], unit_of(&memo, units[i]) != UNIT_EPOCH, EXPR_ERROR_ARGUMENT);
        }
    }
}

/* (stride, time, origin): start of the stride that holds the time. */
void expr_date_bin(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *stride = expr_arg(step, frame, 0)->i;
    const int64_t *us = expr_arg(step, frame, 1)->i;
    const int64_t *origin = expr_arg(step, frame, 2)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        if (stride[i] <= 0) {
            out->state[i] = EXPR_ERROR_ARGUMENT;
            continue;
        }
        int128 distance = (int128)us[i] - origin[i];
        int128 rest = distance % stride[i];
        int128 start = us[i] - (rest < 0 ? rest + stride[i] : rest);
        out->i[i] = (int64_t)start;
        expr_fail(&out->state[i], start < INT64_MIN, EXPR_ERROR_OVERFLOW);
    }
}

static void store_us(struct expr_vec *out, uint32_t i, double us)
{
    double rounded = rint(us);
    bool fits = rounded >= -0x1p63 && rounded < 0x1p63;
    out->i[i] = fits ? (int64_t)rounded : 0;
    expr_fail(&out->state[i], !fits, EXPR_ERROR_OVERFLOW);
}

void expr_to_timestamp(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const double *seconds = expr_arg(step, frame, 0)->d;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        store_us(out, i, seconds[i] * 1e6);
    }
}

void expr_multiply_interval(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *us = expr_arg(step, frame, 0)->i;
    const double *factor = expr_arg(step, frame, 1)->d;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        store_us(out, i, (double)us[i] * factor[i]);
    }
}

void expr_divide_interval(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *us = expr_arg(step, frame, 0)->i;
    const double *divisor = expr_arg(step, frame, 1)->d;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        expr_fail(&out->state[i], divisor[i] == 0.0, EXPR_ERROR_DIVISION);
        store_us(out, i, divisor[i] == 0.0 ? 0.0 : (double)us[i] / divisor[i]);
    }
}
