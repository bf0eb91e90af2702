/* Dates and times without zone: casts, arithmetic. Own header: expr_step.h, functions.def. */
#include "base/timefmt.h"
#include "processor/functions.h"

#include <math.h>
#include <string.h>
#include <strings.h>

/* Also of timestamptz: times are UTC. */
void expr_timestamp_from_date(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        bool over = __builtin_mul_overflow(a[i], US_DAY, &out->i[i]);
        expr_fail(&out->state[i], over, EXPR_ERROR_OVERFLOW);
    }
}

void expr_date_from_timestamp(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    int64_t *out = expr_out(step, frame)->i;
    for (uint32_t i = 0; i < frame->n; i++) {
        out[i] = time_day_of(a[i]);
    }
}

/* PostgreSQL's dates: 4714-11-24 BC to 5874897-12-31. */
static bool beyond_dates(int64_t days)
{
    return days < -2440588 || days > 2145042905;
}

void expr_add_days(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    const int64_t *b = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        bool over = __builtin_add_overflow(a[i], b[i], &out->i[i]);
        expr_fail(&out->state[i], over || beyond_dates(out->i[i]), EXPR_ERROR_OVERFLOW);
    }
}

void expr_subtract_days(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *a = expr_arg(step, frame, 0)->i;
    const int64_t *b = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        bool over = __builtin_sub_overflow(a[i], b[i], &out->i[i]);
        expr_fail(&out->state[i], over || beyond_dates(out->i[i]), EXPR_ERROR_OVERFLOW);
    }
}

/* days * 1 day + sign * us */
static void shift(const struct expr_step *step, const struct expr_frame *frame, const int64_t *days,
                  const int64_t *us, bool back)
{
    (void)expr_strict(step, frame);
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        int64_t start = 0;
        bool over = __builtin_mul_overflow(days[i], US_DAY, &start) ||
                    (back ? __builtin_sub_overflow(start, us[i], &out->i[i])
                          : __builtin_add_overflow(start, us[i], &out->i[i]));
        expr_fail(&out->state[i], over, EXPR_ERROR_OVERFLOW);
    }
}

void expr_add_date_interval(const struct expr_step *step, const struct expr_frame *frame)
{
    shift(step, frame, expr_arg(step, frame, 0)->i, expr_arg(step, frame, 1)->i, false);
}

void expr_add_interval_date(const struct expr_step *step, const struct expr_frame *frame)
{
    shift(step, frame, expr_arg(step, frame, 1)->i, expr_arg(step, frame, 0)->i, false);
}

void expr_subtract_date_interval(const struct expr_step *step, const struct expr_frame *frame)
{
    shift(step, frame, expr_arg(step, frame, 0)->i, expr_arg(step, frame, 1)->i, true);
}

/* Days of a date; false if there is none. A negative year is one before Christ, as PostgreSQL has it;
 * there is no year 0. */
static bool days_of(int64_t year, int64_t month, int64_t day, int64_t *days)
{
    if (year == 0 || year < -4713 || year > 5874897 || month < 1 || month > 12 || day < 1 ||
        day > 31) {
        return false;
    }
    int64_t back = 0;
    unsigned month_back = 0;
    unsigned day_back = 0;
    *days = time_days_from_civil(year < 0 ? year + 1 : year, (unsigned)month, (unsigned)day);
    time_civil_from_days(*days, &back, &month_back, &day_back);
    return month_back == (unsigned)month; /* 31 February is in March */
}

void expr_make_date(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *year = expr_arg(step, frame, 0)->i;
    const int64_t *month = expr_arg(step, frame, 1)->i;
    const int64_t *day = expr_arg(step, frame, 2)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] == EXPR_OK && !days_of(year[i], month[i], day[i], &out->i[i])) {
            out->state[i] = EXPR_ERROR_OVERFLOW;
        }
    }
}

/* Microseconds of a time of day; 24:00:00 and 60 seconds are allowed. */
static bool clock_of(int64_t hour, int64_t minute, double second, int64_t *us)
{
    if (hour < 0 || hour > 24 || minute < 0 || minute > 59 || !(second >= 0.0) || second > 60.0 ||
        (hour == 24 && (minute > 0 || second > 0.0))) {
        return false;
    }
    *us = (hour * 60 + minute) * US_MINUTE + (int64_t)rint(second * 1e6);
    return true;
}

/* (year, month, day, hour, minute, second): timestamp, and timestamptz since times are UTC */
void expr_make_timestamp(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const int64_t *fields[5];
    for (uint32_t k = 0; k < array_len(fields); k++) {
        fields[k] = expr_arg(step, frame, k)->i;
    }
    const double *second = expr_arg(step, frame, 5)->d;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        int64_t days = 0;
        int64_t us = 0;
        bool good = days_of(fields[0][i], fields[1][i], fields[2][i], &days) &&
                    clock_of(fields[3][i], fields[4][i], second[i], &us) &&
                    !__builtin_mul_overflow(days, US_DAY, &out->i[i]) &&
                    !__builtin_add_overflow(out->i[i], us, &out->i[i]);
        expr_fail(&out->state[i], !good, EXPR_ERROR_OVERFLOW);
    }
}

bool expr_time_zone_known(struct kappa_text zone)
{
    static const char *const names[] = {"utc", "gmt", "z", "etc/utc", "utc0", "zulu"};
    for (size_t i = 0; i < array_len(names); i++) {
        if (strlen(names[i]) == zone.len && strncasecmp(names[i], zone.bytes, zone.len) == 0) {
            return true;
        }
    }
    return false;
}

/* (zone, time): both kinds of time are the same number when the zone is UTC. */
void expr_at_time_zone(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *zone = expr_arg(step, frame, 0)->s;
    const int64_t *us = expr_arg(step, frame, 1)->i;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        bool known = out->state[i] == EXPR_OK && expr_time_zone_known(zone[i]);
        out->i[i] = us[i];
        expr_fail(&out->state[i], !known, EXPR_ERROR_ARGUMENT);
    }
}
