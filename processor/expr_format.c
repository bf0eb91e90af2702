/* Values as text, in PostgreSQL's layouts. Own header: expr_step.h. No stdio: this folder is pure. */
#include "base/digits.h"
#include "base/timefmt.h"
#include "processor/expr_step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint32_t expr_format_bigint(int64_t value, char *out)
{
    char *at = out;
    if (value < 0) {
        *at++ = '-';
    }
    return (uint32_t)(digits_put(at, i64_magnitude(value), 1) - out);
}

/* ---- Doubles: the shortest decimal that reads back as the same double. */

struct decimal {
    char digits[20]; /* d[0].d[1]d[2]... * 10^exponent, no zeros at the end */
    int count;
    int exponent;
    bool negative;
};

/* True if the decimal lies exactly between two doubles (or reals). PostgreSQL does not write such a
 * one: it reads back only by the rule "ties to even". With v = m * 2^e, the decimal D * 10^x is
 * (2m +- 1) * 2^(e-1): both sides are compared by their odd parts. D has up to 17 digits, so 5^x
 * divides a number of 54 bits: x <= 23. */
static bool decimal_is_tie(const struct decimal *decimal, double value, bool real)
{
    const int bits = real ? 24 : 53;
    int x = decimal->exponent - (decimal->count - 1);
    if (x < 0 || x > 23 || fabs(value) < (real ? 0x1p24 : 0x1p53)) {
        return false;
    }
    uint128 product = 0;
    for (int i = 0; i < decimal->count; i++) {
        product = product * 10 + (uint8_t)(decimal->digits[i] - '0');
    }
    for (int i = 0; i < x; i++) {
        product *= 5;
    }
    int zeros = 0;
    while ((product & 1) == 0) {
        product >>= 1;
        zeros++;
    }
    int exponent;
    double mantissa = frexp(fabs(value), &exponent); /* 0.5 <= mantissa < 1 */
    uint64_t twice = (uint64_t)ldexp(mantissa, bits + 1);
    bool between = product == twice + 1 || product == twice - 1;
    return between && zeros + x == exponent - (bits + 1);
}

/* Reads a text of strfromd("%.*e"). */
static struct decimal decimal_read(const char *text)
{
    struct decimal decimal = {.negative = text[0] == '-'};
    const char *c = text;
    for (; *c != 'e'; c++) {
        ASSERT_CMP(*c, !=, 0);
        if (*c >= '0' && *c <= '9') {
            decimal.digits[decimal.count++] = *c;
        }
    }
    decimal.exponent = (int)strtol(c + 1, NULL, 10);
    while (decimal.count > 1 && decimal.digits[decimal.count - 1] == '0') {
        decimal.count--;
    }
    return decimal;
}

/* One more in the last digit; false when it is a 9. */
static bool text_next(char *text)
{
    char *last = strchr(text, 'e') - 1;
    if (*last < '0' || *last > '8') {
        return false;
    }
    (*last)++;
    return true;
}

static bool reads_back(const char *text, bool real, double value)
{
    return (real ? (double)strtof(text, NULL) : strtod(text, NULL)) == value;
}

/* value with so many significant digits; false if that is not value, or not clearly. */
static bool decimal_try(double value, int digits, bool real, struct decimal *out)
{
    char format[] = "%.00e";
    (void)digits_put(format + 2, (uint64_t)(digits - 1), 2);
    char text[48];
    int len = strfromd(text, sizeof text, format, value);
    ASSERT_CMP(len, <, (int)sizeof text);
    *out = decimal_read(text);
    if (reads_back(text, real, value)) {
        return !decimal_is_tie(out, value, real);
    }
    /* Above a power of two doubles lie twice as far apart: the decimal above may be it where that
     * below is not. */
    int exponent;
    bool power = fabs(frexp(value, &exponent)) == 0.5;
    if (power && text_next(text) && reads_back(text, real, value)) {
        *out = decimal_read(text);
        return !decimal_is_tie(out, value, real);
    }
    return false;
}

/* 1e+15, 1.5e-07 */
static char *put_scientific(char *at, const struct decimal *decimal)
{
    *at++ = decimal->digits[0];
    if (decimal->count > 1) {
        *at++ = '.';
        memcpy(at, decimal->digits + 1, (size_t)decimal->count - 1);
        at += decimal->count - 1;
    }
    *at++ = 'e';
    *at++ = decimal->exponent < 0 ? '-' : '+';
    return digits_put(at, (uint64_t)abs(decimal->exponent), 2);
}

static char *put_plain(char *at, const struct decimal *decimal)
{
    int exponent = decimal->exponent;
    if (exponent < 0) {
        *at++ = '0';
        *at++ = '.';
        for (int i = -1; i > exponent; i--) {
            *at++ = '0';
        }
    }
    for (int i = 0; i < decimal->count || i <= exponent; i++) {
        if (i == exponent + 1 && exponent >= 0) {
            *at++ = '.';
        }
        *at = '0';
        if (i < decimal->count) {
            *at = decimal->digits[i];
        }
        at++;
    }
    return at;
}

static uint32_t put_word(char *out, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i < len; i++) {
        out[i] = word[i];
    }
    return (uint32_t)len;
}

/* Decimals of up to `least` digits always read back as themselves, except among denormals; from
 * 10^least on the exponent is written. */
static uint32_t format_binary(double value, bool real, int least, int most, char *out)
{
    if (!isfinite(value)) {
        return put_word(out, isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
    }
    bool denormal = fabs(value) < (real ? 1.2e-38 : 2.3e-308) && value != 0.0;
    int digits = denormal ? 1 : least;
    struct decimal decimal;
    while (!decimal_try(value, digits, real, &decimal) && digits < most) {
        digits++;
    }
    char *at = out;
    if (decimal.negative) {
        *at++ = '-';
    }
    bool plain = decimal.exponent >= -4 && decimal.exponent < least;
    at = plain ? put_plain(at, &decimal) : put_scientific(at, &decimal);
    ASSERT_CMP(at - out, <=, EXPR_DOUBLE_TEXT);
    return (uint32_t)(at - out);
}

uint32_t expr_format_double(double value, char *out)
{
    char *end = digits_put_double(out, value);
    if (end != out) {
        return (uint32_t)(end - out);
    }
    return format_binary(value, false, 15, 17, out);
}

uint32_t expr_format_real(double value, char *out)
{
    return format_binary(value, true, 6, 9, out);
}

/* ---- Times. */

/* Fraction of a second without zeros at the end; nothing when it is 0. */
static char *put_fraction(char *at, int64_t micros)
{
    if (micros == 0) {
        return at;
    }
    *at++ = '.';
    at = digits_put(at, (uint64_t)micros, 6);
    while (at[-1] == '0') {
        at--;
    }
    return at;
}

/* 2026-01-31; *ad: it is no year before Christ. */
static char *put_date(char *at, int64_t days, bool *ad)
{
    int64_t year;
    unsigned month;
    unsigned day;
    time_civil_from_days(days, &year, &month, &day);
    *ad = year > 0;
    at = digits_put(at, (uint64_t)(year > 0 ? year : 1 - year), 4);
    *at++ = '-';
    at = digits_put(at, month, 2);
    *at++ = '-';
    return digits_put(at, day, 2);
}

/* 12:00:00.5; hours may be more than a day's. */
static char *put_clock(char *at, uint64_t us)
{
    uint64_t second = us / US_SECOND;
    at = digits_put(at, second / 3600, 2);
    *at++ = ':';
    at = digits_put(at, second / 60 % 60, 2);
    *at++ = ':';
    at = digits_put(at, second % 60, 2);
    return put_fraction(at, (int64_t)(us % US_SECOND));
}

static uint32_t format_time(int64_t us, const char *zone, char *out)
{
    int64_t days = time_day_of(us);
    int64_t in_day = us % US_DAY + (us % US_DAY < 0 ? US_DAY : 0);
    bool ad = true;
    char *at = put_date(out, days, &ad);
    *at++ = ' ';
    at = put_clock(at, (uint64_t)in_day);
    at += put_word(at, zone);
    at += put_word(at, ad ? "" : " BC");
    ASSERT_CMP(at - out, <=, EXPR_TIME_TEXT);
    return (uint32_t)(at - out);
}

uint32_t expr_format_timestamptz(int64_t us, char *out)
{
    return format_time(us, "+00", out);
}

uint32_t expr_format_timestamp(int64_t us, char *out)
{
    return format_time(us, "", out);
}

uint32_t expr_format_date(int64_t days, char *out)
{
    bool ad = true;
    char *at = put_date(out, days, &ad);
    at += put_word(at, ad ? "" : " BC");
    return (uint32_t)(at - out);
}

uint32_t expr_format_interval(int64_t us, char *out)
{
    char *at = out;
    uint64_t size = i64_magnitude(us);
    uint64_t days = size / US_DAY;
    uint64_t clock = size % US_DAY;
    if (days > 0) {
        at += put_word(at, us < 0 ? "-" : "");
        at = digits_put(at, days, 1);
        at += put_word(at, us > 0 && days == 1 ? " day" : " days");
        at += put_word(at, clock > 0 ? " " : "");
    }
    if (days == 0 || clock > 0) {
        at += put_word(at, us < 0 ? "-" : "");
        at = put_clock(at, clock);
    }
    ASSERT_CMP(at - out, <=, EXPR_VALUE_TEXT);
    return (uint32_t)(at - out);
}
