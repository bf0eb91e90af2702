/* Exact decimals as text and as doubles. Own header: numeric.h. */
#include "processor/expr_step.h"
#include "processor/numeric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Exponents beyond this are far outside; the bound keeps the arithmetic small. */
#define EXPONENT_MAX 100000

struct scan {
    const char *at;
    const char *end;
    uint128 digits;
    int32_t exponent; /* value = digits * 10^exponent */
    bool over;        /* more digits than there is room for */
};

static bool digit_at(const struct scan *scan)
{
    return scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9';
}

/* Digits, of which each moves the point by step (0 in front of it, -1 behind it). */
static size_t scan_digits(struct scan *scan, int32_t step)
{
    const uint128 bound = numeric_power10(NUMERIC_DIGITS - 1);
    const char *first = scan->at;
    for (; digit_at(scan); scan->at++) {
        scan->over = scan->over || scan->digits >= bound;
        if (!scan->over) {
            uint64_t digit = (uint8_t)*scan->at & 15;
            scan->digits = scan->digits * 10 + digit;
            scan->exponent += step;
        }
    }
    return (size_t)(scan->at - first);
}

static bool scan_exponent(struct scan *scan)
{
    if (scan->at == scan->end || (*scan->at | 0x20) != 'e') {
        return true;
    }
    scan->at++;
    bool negative = scan->at < scan->end && *scan->at == '-';
    if (negative || (scan->at < scan->end && *scan->at == '+')) {
        scan->at++;
    }
    int32_t written = 0;
    const char *first = scan->at;
    for (; digit_at(scan); scan->at++) {
        written = written < EXPONENT_MAX ? written * 10 + (*scan->at - '0') : written;
    }
    scan->exponent += negative ? -written : written;
    return scan->at > first;
}

enum expr_state numeric_parse(struct kappa_text text, struct kappa_numeric *out)
{
    struct scan scan = {.at = text.bytes, .end = text.bytes + text.len};
    bool negative = text.len > 0 && *scan.at == '-';
    if (text.len > 0 && (negative || *scan.at == '+')) {
        scan.at++;
    }
    size_t count = scan_digits(&scan, 0);
    if (scan.at < scan.end && *scan.at == '.') {
        scan.at++;
        count += scan_digits(&scan, -1);
    }
    if (count == 0 || !scan_exponent(&scan) || scan.at != scan.end) {
        return EXPR_ERROR_CAST;
    }
    if (scan.over) {
        return EXPR_ERROR_OVERFLOW;
    }
    if (scan.exponent > 0) {
        uint32_t room = NUMERIC_DIGITS - numeric_digits(scan.digits);
        if (scan.digits != 0 && (uint32_t)scan.exponent > room) {
            return EXPR_ERROR_OVERFLOW;
        }
        scan.digits *= scan.digits == 0 ? 1 : numeric_power10((uint32_t)scan.exponent);
        scan.exponent = 0;
    }
    if (scan.exponent < -NUMERIC_SCALE_MAX) {
        return EXPR_ERROR_OVERFLOW;
    }
    int128 value = negative ? -(int128)scan.digits : (int128)scan.digits;
    *out = numeric_make(value, (uint32_t)-scan.exponent);
    return EXPR_OK;
}

uint32_t numeric_format(struct kappa_numeric value, char *text)
{
    char digits[NUMERIC_DIGITS + 1];
    int128 coefficient = numeric_coefficient(value);
    uint128 rest = i128_magnitude(coefficient);
    uint32_t count = 0;
    for (; rest > 0 || count <= value.scale; rest /= 10) {
        if (rest <= UINT64_MAX) { /* the common case divides fast */
            uint64_t small = (uint64_t)rest;
            for (; small > 0 || count <= value.scale; small /= 10) {
                digits[count++] = (char)('0' + small % 10);
            }
            break;
        }
        digits[count++] = (char)('0' + (int)(rest % 10));
    }
    char *at = text;
    if (coefficient < 0) {
        *at++ = '-';
    }
    while (count > 0) {
        if (count == value.scale) {
            *at++ = '.';
        }
        *at++ = digits[--count];
    }
    return (uint32_t)(at - text);
}

double numeric_to_double(struct kappa_numeric value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    int128 coefficient = numeric_coefficient(value);
    const int128 exact = (int128)1 << 53;
    if (coefficient >= -exact && coefficient <= exact && value.scale < array_len(powers)) {
        return (double)(int64_t)coefficient / powers[value.scale]; /* both exact: one rounding */
    }
    char text[NUMERIC_TEXT + 1];
    text[numeric_format(value, text)] = '\0';
    return strtod(text, NULL);
}

enum expr_state numeric_from_double(double value, int digits, struct kappa_numeric *out)
{
    char text[48];
    if (!isfinite(value)) {
        return EXPR_ERROR_OVERFLOW;
    }
    /* Of tiny values only the digits that there is room for. */
    bool tiny = fabs(value) < 1e-23;
    int len = strfromd(text, sizeof text, tiny ? "%.38f" : digits == 6 ? "%.6g" : "%.15g", value);
    while (tiny && len > 0 && text[len - 1] == '0') {
        len--;
    }
    return numeric_parse((struct kappa_text){text, (uint32_t)len}, out);
}
