/* JSON scalars and strings. Own header: json_token.h. */
#include "processor/json_token.h"

#include "processor/json_simd.h"

#include <math.h>
#include <string.h>

/* More digits than a u64 holds for sure: the number is then kept as text only. */
#define DIGITS_EXACT_MAX 19
/* Exponents beyond this are far outside of every type; the bound keeps the arithmetic small. */
#define EXPONENT_MAX     100000

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* How many of the eight bytes, from the first on, are digits. */
static unsigned leading_digits(uint64_t word)
{
    uint64_t values = word ^ UINT64_C(0x3030303030303030);
    /* A digit is at most 9, so that adding 6 stays below 16. What carries over from a byte that is
     * no digit can only disturb the bytes behind it. */
    uint64_t others =
        ((values + UINT64_C(0x0606060606060606)) | values) & UINT64_C(0xF0F0F0F0F0F0F0F0);
    return others == 0 ? 8 : (unsigned)__builtin_ctzll(others) / 8;
}

/* The number that eight digits write (after Mula and Lemire); a zero byte is a zero too. */
static uint64_t eight_digits(uint64_t word)
{
    word = (word & UINT64_C(0x0F0F0F0F0F0F0F0F)) * 2561 >> 8;
    word = (word & UINT64_C(0x00FF00FF00FF00FF)) * 6553601 >> 16;
    return (word & UINT64_C(0x0000FFFF0000FFFF)) * UINT64_C(42949672960001) >> 32;
}

/* Adds digits to *value, which may wrap (the caller counts them). */
static const uint8_t *take_digits(const uint8_t *p, uint64_t *value)
{
    static const uint64_t powers[8] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
    uint64_t v = *value;
    for (;;) {
        uint64_t word = load_u64_le(p);
        unsigned n = leading_digits(word);
        if (n < 8) {
            /* The n digits move to the end, zeros in front of them. */
            *value = n == 0 ? v : v * powers[n] + eight_digits(word << (64 - 8 * n));
            return p + n;
        }
        v = v * 100000000 + eight_digits(word);
        p += 8;
    }
}

static const uint8_t *skip_digits(const uint8_t *p)
{
    unsigned n = 8;
    for (; n == 8; p += n) {
        n = leading_digits(load_u64_le(p));
    }
    return p;
}

static const uint8_t *scan_exponent(const uint8_t *p, int32_t *exponent)
{
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') {
        p++;
    }
    if (!is_digit(*p)) {
        return NULL;
    }
    int32_t value = 0;
    for (; is_digit(*p); p++) {
        value = value < EXPONENT_MAX ? value * 10 + (*p - '0') : value;
    }
    *exponent = negative ? -value : value;
    return p;
}

/* Leading zeros ("0.000012") are not digits that count. */
static bool digits_fit(const uint8_t *first, const uint8_t *end)
{
    while (first < end && (*first == '0' || *first == '.')) {
        first++;
    }
    const uint8_t *point = memchr(first, '.', (size_t)(end - first));
    return end - first - (point != NULL ? 1 : 0) <= DIGITS_EXACT_MAX;
}

bool json_number_scan(const uint8_t *start, struct json_number *number)
{
    const uint8_t *p = start;
    number->start = start;
    number->negative = *p == '-';
    p += number->negative ? 1 : 0;
    const uint8_t *first = p;
    uint64_t digits = 0;
    if (!is_digit(*p)) {
        return false;
    }
    p = *p == '0' ? p + 1 : take_digits(p, &digits);
    int32_t exponent = 0;
    number->integral = true;
    if (*p == '.') {
        const uint8_t *fraction = p + 1;
        p = take_digits(fraction, &digits);
        if (p == fraction) {
            return false;
        }
        exponent = (int32_t)(fraction - p);
        number->integral = false;
    }
    number->exact = p - first <= DIGITS_EXACT_MAX || digits_fit(first, p);
    if (*p == 'e' || *p == 'E') {
        int32_t written = 0;
        p = scan_exponent(p + 1, &written);
        if (p == NULL) {
            return false;
        }
        number->exact = number->exact && written > -EXPONENT_MAX && written < EXPONENT_MAX;
        exponent += written;
        number->integral = false;
    }
    number->digits = digits;
    number->exponent = exponent;
    number->end = p;
    return json_ends_scalar(*p);
}

bool json_number_check(const uint8_t *p)
{
    p += *p == '-' ? 1 : 0;
    const uint8_t *first = p;
    p = *p == '0' ? p + 1 : skip_digits(p);
    if (p == first) {
        return false;
    }
    if (*p == '.') {
        const uint8_t *fraction = p + 1;
        p = skip_digits(fraction);
        if (p == fraction) {
            return false;
        }
    }
    if (*p == 'e' || *p == 'E') {
        int32_t exponent = 0;
        p = scan_exponent(p + 1, &exponent);
    }
    return p != NULL && json_ends_scalar(*p);
}

bool json_number_int(const struct json_number *number, int64_t *value)
{
    if (!number->integral || !number->exact) {
        return false;
    }
    uint64_t bound = (uint64_t)INT64_MAX + (number->negative ? 1 : 0);
    if (number->digits > bound) {
        return false;
    }
    *value = (int64_t)(number->negative ? 0 - number->digits : number->digits);
    return true;
}

bool json_number_double(const struct json_number *number, double *value)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    /* Both the digits and the power are exact doubles: one rounding, so it is the right one. */
    if (number->exact && number->digits <= UINT64_C(1) << 53 && number->exponent >= -22 &&
        number->exponent <= 22) {
        double d = (double)number->digits;
        d = number->exponent < 0 ? d / powers[-number->exponent] : d * powers[number->exponent];
        *value = number->negative ? -d : d;
        return true;
    }
    return json_simd_double(number->start, value);
}

static bool double_to_int(double d, int64_t *value)
{
    d = round(d);
    if (!(d >= -0x1p63 && d < 0x1p63)) {
        return false;
    }
    *value = (int64_t)d;
    return true;
}

bool json_number_scaled(const struct json_number *number, int64_t num, int64_t den, int64_t *value)
{
    ASSERT(num > 0);
    ASSERT(den > 0);
    /* Within these bounds nothing below reaches 2^127: 10^19 * 10^9 * 10^9, 10^9 * 10^18. */
    bool small =
        num <= 1000000000 && den <= 1000000000 && number->exponent >= -18 && number->exponent <= 9;
    if (!number->exact || !small) {
        double d = 0;
        return json_number_double(number, &d) &&
               double_to_int(d * (double)num / (double)den, value);
    }
    uint64_t whole = 0;
    if (number->exponent == 0 && !__builtin_mul_overflow(number->digits, (uint64_t)num, &whole) &&
        whole <= INT64_MAX - (uint64_t)den) {
        int64_t rounded = (int64_t)(den == 1 ? whole : (whole + (uint64_t)den / 2) / (uint64_t)den);
        *value = number->negative ? -rounded : rounded;
        return true;
    }
    int128 up = (int128)number->digits * num;
    int128 down = den;
    for (int32_t e = number->exponent; e > 0; e--) {
        up *= 10;
    }
    for (int32_t e = number->exponent; e < 0; e++) {
        down *= 10;
    }
    int128 result = (up + down / 2) / down;
    result = number->negative ? -result : result;
    if (result < INT64_MIN || result > INT64_MAX) {
        return false;
    }
    *value = (int64_t)result;
    return true;
}

bool json_is_null(const uint8_t *start)
{
    return memcmp(start, "null", 4) == 0 && json_ends_scalar(start[4]);
}

bool json_is_true(const uint8_t *start)
{
    return memcmp(start, "true", 4) == 0 && json_ends_scalar(start[4]);
}

bool json_is_false(const uint8_t *start)
{
    return memcmp(start, "false", 5) == 0 && json_ends_scalar(start[5]);
}

/* The four digits behind \u; -1 if they are not, or the text ends before. */
static int32_t hex_four(const uint8_t *p, const uint8_t *end)
{
    if (end - p < 4) {
        return -1;
    }
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int32_t digit = hex_digit((char)p[i]);
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

static size_t put_utf8(uint32_t code, uint8_t *out)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xC0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xE0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (code & 0x3F));
    return 4;
}

/* *p is behind "\u"; it is moved behind what was read. -1: not a character. */
static int32_t take_unicode(const uint8_t **p, const uint8_t *end)
{
    int32_t code = hex_four(*p, end);
    if (code < 0 || (code >= 0xDC00 && code <= 0xDFFF)) {
        return -1;
    }
    *p += 4;
    if (code < 0xD800 || code > 0xDBFF) {
        return code;
    }
    if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u') {
        return -1;
    }
    int32_t low = hex_four(*p + 2, end);
    if (low < 0xDC00 || low > 0xDFFF) {
        return -1;
    }
    *p += 6;
    return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
}

static int32_t take_escape(const uint8_t **p, const uint8_t *end)
{
    static const char names[] = "\"\\/bfnrt";
    static const char codes[] = "\"\\/\b\f\n\r\t";
    if (*p == end) {
        return -1;
    }
    uint8_t name = *(*p)++;
    if (name == 'u') {
        return take_unicode(p, end);
    }
    const char *found = name == 0 ? NULL : strchr(names, name);
    return found == NULL ? -1 : codes[found - names];
}

int64_t json_unescape(const uint8_t *text, size_t len, uint8_t *out)
{
    const uint8_t *end = text + len;
    size_t used = 0;
    for (const uint8_t *p = text; p < end;) {
        const uint8_t *escape = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((escape == NULL ? end : escape) - p);
        if (out != NULL) {
            memcpy(out + used, p, plain);
        }
        used += plain;
        p += plain;
        if (escape == NULL) {
            break;
        }
        p++;
        int32_t code = take_escape(&p, end);
        if (code < 0) {
            return -1;
        }
        uint8_t bytes[4];
        size_t n = put_utf8((uint32_t)code, bytes);
        if (out != NULL) {
            memcpy(out + used, bytes, n);
        }
        used += n;
    }
    return (int64_t)used;
}
