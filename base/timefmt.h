/* RFC 3339 and durations, as people write them. All times UTC, microseconds since 1970. */
#ifndef KAPPA_BASE_TIMEFMT_H
#define KAPPA_BASE_TIMEFMT_H

#include "base/base.h"

#define US_SECOND INT64_C(1000000)
#define US_MINUTE (60 * US_SECOND)
#define US_HOUR   (60 * US_MINUTE)
#define US_DAY    (24 * US_HOUR)

#define TIME_TEXT_LEN 40

/* The day that a moment lies in, days since 1970. */
static inline int64_t time_day_of(int64_t us)
{
    return us / US_DAY - (us % US_DAY < 0 ? 1 : 0);
}

/* "2026-01-31T12:00:00Z", with .123 or .123456 only when not zero. Years beyond 0000-9999 are
 * printed as the integer. text has TIME_TEXT_LEN bytes. Returns the length. */
size_t time_format(int64_t us, char *text);
/* RFC 3339 with 'T', 't' or a space, any fraction (cut to microseconds), Z or an offset; strict:
 * ranges checked, leap second 60 accepted as the next minute. A date alone is midnight UTC; no
 * offset is UTC. */
bool time_parse(const char *text, size_t len, int64_t *us);
/* A moment to look records up by: digits are ms since 1970, else as time_parse, rounded up to the
 * first whole ms that is not before it (record times are whole ms). Before 1970: negative. */
bool time_parse_ms(const char *text, size_t len, int64_t *ms);
/* "5 s", "90 seconds", "1h30m", "10m", "250 ms", "1 day", "2 weeks": a sum of number-unit pairs,
 * non-negative. */
bool duration_parse(const char *text, size_t len, int64_t *us);
/* Short: "850 ms", "12.3 s", "4 min 05 s", "2 h 10 min". text has TIME_TEXT_LEN bytes. */
void duration_format(int64_t us, char *text);

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar, and back. */
int64_t time_days_from_civil(int64_t year, unsigned month, unsigned day);
void time_civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day);

#endif
