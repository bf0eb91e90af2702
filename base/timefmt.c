/* RFC 3339 times and durations. Own header: timefmt.h. Civil dates by Howard Hinnant's
 * days_from_civil and civil_from_days ("chrono-compatible low-level date algorithms"). */
#include "base/timefmt.h"

#include "base/digits.h"

#include <stdio.h>
#include <string.h>

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

int64_t time_days_from_civil(int64_t year, unsigned month, unsigned day)
{
    int64_t y = year - (month <= 2 ? 1 : 0);
    int64_t era = floor_div(y, 400);
    unsigned year_of_era = (unsigned)(y - era * 400);
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

void time_civil_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    int64_t z = days + 719468;
    int64_t era = floor_div(z, 146097);
    unsigned day_of_era = (unsigned)(z - era * 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (5 * day_of_year + 2) / 153;
    *day = day_of_year - (153 * shifted + 2) / 5 + 1;
    *month = shifted < 10 ? shifted + 3 : shifted - 9;
    *year = (int64_t)year_of_era + era * 400 + (*month <= 2 ? 1 : 0);
}

static char *put_two(char *at, char before, unsigned value)
{
    *at = before;
    return digits_put_two(at + 1, value);
}

size_t time_format(int64_t us, char *text)
{
    int64_t days = time_day_of(us);
    int64_t year;
    unsigned month;
    unsigned day;
    time_civil_from_days(days, &year, &month, &day);
    if (year < 0 || year > 9999) {
        return (size_t)snprintf(text, TIME_TEXT_LEN, "%lld", (long long)us);
    }
    uint64_t in_day = (uint64_t)(us - days * US_DAY);
    unsigned second = (unsigned)(in_day / US_SECOND);
    unsigned fraction = (unsigned)(in_day % US_SECOND);
    char *at = digits_put_two(text, (unsigned)year / 100);
    at = digits_put_two(at, (unsigned)year % 100);
    at = put_two(at, '-', month);
    at = put_two(at, '-', day);
    at = put_two(at, 'T', second / 3600);
    at = put_two(at, ':', second / 60 % 60);
    at = put_two(at, ':', second % 60);
    if (fraction != 0) {
        bool micro = fraction % 1000 != 0;
        *at = '.';
        at = digits_put(at + 1, micro ? fraction : fraction / 1000, micro ? 6 : 3);
    }
    memcpy(at, "Z", 2);
    return (size_t)(at + 1 - text);
}

/* A reader over the text; `ok` is sticky. */
struct scan {
    const char *at;
    const char *end;
    bool ok;
};

static unsigned scan_digits(struct scan *scan, int count)
{
    unsigned value = 0;
    for (int i = 0; i < count; i++) {
        if (scan->at == scan->end || *scan->at < '0' || *scan->at > '9') {
            scan->ok = false;
            return 0;
        }
        value = value * 10 + (unsigned)(*scan->at++ - '0');
    }
    return value;
}

static bool scan_char(struct scan *scan, const char *set)
{
    if (scan->at < scan->end && *scan->at != '\0' && strchr(set, *scan->at) != NULL) {
        scan->at++;
        return true;
    }
    return false;
}

static void scan_need(struct scan *scan, const char *set)
{
    if (!scan_char(scan, set)) {
        scan->ok = false;
    }
}

static int64_t scan_fraction(struct scan *scan)
{
    int64_t us = 0;
    int64_t unit = US_SECOND;
    const char *first = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') {
        unit /= 10;
        us += (*scan->at++ - '0') * unit;
    }
    if (scan->at == first) {
        scan->ok = false;
    }
    return us;
}

/* Z, +hh, +hh:mm, +hhmm or nothing; in microseconds. */
static int64_t scan_zone(struct scan *scan)
{
    if (scan->at == scan->end || scan_char(scan, "Zz")) {
        return 0;
    }
    bool negative = *scan->at == '-';
    scan_need(scan, "+-");
    unsigned hour = scan_digits(scan, 2);
    unsigned minute = 0;
    if (scan_char(scan, ":") || scan->at < scan->end) {
        minute = scan_digits(scan, 2);
    }
    if (hour > 15 || minute > 59) {
        scan->ok = false;
    }
    int64_t offset = (int64_t)(hour * 3600 + minute * 60) * US_SECOND;
    return negative ? -offset : offset;
}

static unsigned days_of_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

static int64_t scan_clock(struct scan *scan)
{
    unsigned hour = scan_digits(scan, 2);
    scan_need(scan, ":");
    unsigned minute = scan_digits(scan, 2);
    unsigned second = 0;
    int64_t fraction = 0;
    if (scan_char(scan, ":")) {
        second = scan_digits(scan, 2);
        if (scan_char(scan, ".,")) {
            fraction = scan_fraction(scan);
        }
    }
    if (hour > 23 || minute > 59 || second > 60) {
        scan->ok = false;
    }
    return (int64_t)(hour * 3600 + minute * 60 + second) * US_SECOND + fraction;
}

bool time_parse(const char *text, size_t len, int64_t *us)
{
    struct scan scan = {text, text + len, true};
    unsigned year = scan_digits(&scan, 4);
    scan_need(&scan, "-");
    unsigned month = scan_digits(&scan, 2);
    scan_need(&scan, "-");
    unsigned day = scan_digits(&scan, 2);
    if (!scan.ok || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month)) {
        return false;
    }
    int64_t result = time_days_from_civil(year, month, day) * US_DAY;
    if (scan.at < scan.end) {
        scan_need(&scan, "Tt ");
        result += scan_clock(&scan);
        if (scan.ok) {
            result -= scan_zone(&scan);
        }
    }
    if (!scan.ok || scan.at != scan.end) {
        return false;
    }
    *us = result;
    return true;
}

bool time_parse_ms(const char *text, size_t len, int64_t *ms)
{
    int64_t value = 0;
    size_t digits = 0;
    while (digits < len && text[digits] >= '0' && text[digits] <= '9' &&
           !__builtin_mul_overflow(value, 10, &value) &&
           !__builtin_add_overflow(value, text[digits] - '0', &value)) {
        digits++;
    }
    if (digits == len && len > 0) {
        *ms = value;
        return true;
    }
    int64_t us;
    if (!time_parse(text, len, &us)) {
        return false;
    }
    int64_t part = us % 1000;
    *ms = us / 1000 + (part > 0 ? 1 : 0) - (part < 0 ? 1 : 0);
    return true;
}

static int64_t unit_us(const char *word, size_t len)
{
    static const struct {
        const char *names; /* space-separated, with a space at both ends */
        int64_t us;
    } units[] = {
        {" us usec microsecond microseconds ", 1},
        {" ms msec millisecond milliseconds ", 1000},
        {" s sec secs second seconds ", US_SECOND},
        {" m min mins minute minutes ", 60 * US_SECOND},
        {" h hr hrs hour hours ", 3600 * US_SECOND},
        {" d day days ", US_DAY},
        {" w week weeks ", 7 * US_DAY},
    };

    char padded[20];
    if (len == 0 || len + 3 > sizeof padded) {
        return 0;
    }
    padded[0] = ' ';
    for (size_t i = 0; i < len; i++) {
        padded[i + 1] = (char)(word[i] | 0x20);
    }
    padded[len + 1] = ' ';
    padded[len + 2] = '\0';
    for (size_t i = 0; i < array_len(units); i++) {
        if (strstr(units[i].names, padded) != NULL) {
            return units[i].us;
        }
    }
    return 0;
}

static void scan_blanks(struct scan *scan)
{
    while (scan_char(scan, " \t")) {
    }
}

/* One "12.5 ms"; false when it is not one or overflows. */
static bool scan_pair(struct scan *scan, int64_t *total)
{
    int128 whole = 0;
    const char *first = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9' && whole < INT64_MAX / 16) {
        whole = whole * 10 + (*scan->at++ - '0');
    }
    bool digits = scan->at > first;
    int64_t millionths = scan_char(scan, ".") ? scan_fraction(scan) : 0;
    scan_blanks(scan);
    const char *word = scan->at;
    while (scan->at < scan->end && ((*scan->at | 0x20) >= 'a' && (*scan->at | 0x20) <= 'z')) {
        scan->at++;
    }
    int64_t unit = unit_us(word, (size_t)(scan->at - word));
    if (!digits || !scan->ok || unit == 0) {
        return false;
    }
    int128 sum = (int128)*total + whole * unit + (int128)millionths * unit / US_SECOND;
    if (sum > INT64_MAX) {
        return false;
    }
    *total = (int64_t)sum;
    return true;
}

bool duration_parse(const char *text, size_t len, int64_t *us)
{
    struct scan scan = {text, text + len, true};
    int64_t total = 0;
    scan_blanks(&scan);
    if (scan.at == scan.end) {
        return false;
    }
    while (scan.at < scan.end) {
        if (!scan_pair(&scan, &total)) {
            return false;
        }
        scan_blanks(&scan);
    }
    *us = total;
    return true;
}

void duration_format(int64_t us, char *text)
{
    int64_t seconds = us / US_SECOND;
    if (us < 10000) {
        (void)snprintf(text, TIME_TEXT_LEN, "%.2f ms", (double)us / 1e3);
    } else if (us < US_SECOND) {
        (void)snprintf(text, TIME_TEXT_LEN, "%lld ms", (long long)(us / 1000));
    } else if (seconds < 60) {
        (void)snprintf(text, TIME_TEXT_LEN, "%.1f s", (double)us / 1e6);
    } else if (seconds < 3600) {
        (void)snprintf(text, TIME_TEXT_LEN, "%lld min %02lld s", (long long)(seconds / 60),
                       (long long)(seconds % 60));
    } else if (seconds < 2 * 86400) {
        (void)snprintf(text, TIME_TEXT_LEN, "%lld h %02lld min", (long long)(seconds / 3600),
                       (long long)(seconds / 60 % 60));
    } else if (seconds % 86400 < 3600) {
        (void)snprintf(text, TIME_TEXT_LEN, "%lld days", (long long)(seconds / 86400));
    } else {
        (void)snprintf(text, TIME_TEXT_LEN, "%lld d %02lld h", (long long)(seconds / 86400),
                       (long long)(seconds / 3600 % 24));
    }
}
