/* A strict scanner of JSON. Own header: json_check.h. */
#include "serve/json_check.h"

#include "base/limits.h"

#include <string.h>

struct scan {
    const unsigned char *at;
    const unsigned char *end;
};

/* ---- UTF-8 ---- */

/* Bytes of the letter that starts here, 0 if it is none. */
static size_t utf8_letter(const unsigned char *at, size_t left)
{
    unsigned char first = at[0];
    if (first < 0x80) {
        return 1;
    }
    size_t len = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || len > left) {
        return 0;
    }
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (first == 0xE0) {
        low = 0xA0;
    } else if (first == 0xED) {
        high = 0x9F;
    } else if (first == 0xF0) {
        low = 0x90;
    } else if (first == 0xF4) {
        high = 0x8F;
    }
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return len;
}

bool utf8_check(const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text;
    const unsigned char *end = at + len;
    while (at < end) {
        size_t letter = utf8_letter(at, (size_t)(end - at));
        if (letter == 0) {
            return false;
        }
        at += letter;
    }
    return true;
}

/* ---- Tokens ---- */

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r')) {
        scan->at++;
    }
}

static bool take(struct scan *scan, char wanted)
{
    if (scan->at < scan->end && *scan->at == (unsigned char)wanted) {
        scan->at++;
        return true;
    }
    return false;
}

static size_t take_digits(struct scan *scan)
{
    const unsigned char *from = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') {
        scan->at++;
    }
    return (size_t)(scan->at - from);
}

static bool take_number(struct scan *scan)
{
    (void)take(scan, '-');
    if (!take(scan, '0') && take_digits(scan) == 0) {
        return false;
    }
    if (take(scan, '.') && take_digits(scan) == 0) {
        return false;
    }
    if (take(scan, 'e') || take(scan, 'E')) {
        if (!take(scan, '+')) {
            (void)take(scan, '-');
        }
        return take_digits(scan) > 0;
    }
    return true;
}

static bool take_word(struct scan *scan, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0) {
        return false;
    }
    scan->at += len;
    return true;
}

/* The four digits of \uXXXX, or -1. */
static int take_hex4(struct scan *scan)
{
    int value = 0;
    if (scan->end - scan->at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        unsigned char c = *scan->at++;
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* What follows a backslash. */
static bool take_escape(struct scan *scan)
{
    if (scan->at == scan->end) {
        return false;
    }
    unsigned char c = *scan->at++;
    if (c != 'u') {
        return c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
    }
    int unit = take_hex4(scan);
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        int low = take(scan, '\\') && take(scan, 'u') ? take_hex4(scan) : -1;
        return low >= 0xDC00 && low <= 0xDFFF;
    }
    return unit >= 0 && !(unit >= 0xDC00 && unit <= 0xDFFF);
}

static bool take_string(struct scan *scan)
{
    if (!take(scan, '"')) {
        return false;
    }
    while (scan->at < scan->end) {
        unsigned char c = *scan->at;
        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c == '\\') {
            scan->at++;
            if (!take_escape(scan)) {
                return false;
            }
            continue;
        }
        size_t letter = c < 0x20 ? 0 : utf8_letter(scan->at, (size_t)(scan->end - scan->at));
        if (letter == 0) {
            return false;
        }
        scan->at += letter;
    }
    return false;
}

static bool take_scalar(struct scan *scan)
{
    if (scan->at == scan->end) {
        return false;
    }
    switch (*scan->at) {
    case '"':
        return take_string(scan);
    case 't':
        return take_word(scan, "true");
    case 'f':
        return take_word(scan, "false");
    case 'n':
        return take_word(scan, "null");
    default:
        return take_number(scan);
    }
}

/* The name and colon in front of a member's value. */
static bool take_name(struct scan *scan)
{
    skip_blanks(scan);
    if (!take_string(scan)) {
        return false;
    }
    skip_blanks(scan);
    return take(scan, ':');
}

/* Closes containers and takes the comma to the next value; *depth 0: the text is whole. */
static bool take_after_value(struct scan *scan, const bool *is_object, unsigned *depth)
{
    while (*depth > 0) {
        skip_blanks(scan);
        bool object = is_object[*depth - 1];
        if (take(scan, ',')) {
            return !object || take_name(scan);
        }
        if (!take(scan, object ? '}' : ']')) {
            return false;
        }
        (*depth)--;
    }
    return true;
}

bool json_check_container(const char *text, size_t len)
{
    struct scan scan = {(const unsigned char *)text, (const unsigned char *)text + len};
    bool is_object[LIMIT_JSON_DEPTH];
    unsigned depth = 0;
    skip_blanks(&scan);
    if (scan.at == scan.end || (*scan.at != '{' && *scan.at != '[')) {
        return false;
    }
    do {
        skip_blanks(&scan);
        bool object = take(&scan, '{');
        if (object || take(&scan, '[')) {
            if (depth == LIMIT_JSON_DEPTH) {
                return false;
            }
            is_object[depth++] = object;
            skip_blanks(&scan);
            if (take(&scan, object ? '}' : ']')) {
                depth--;
            } else if (object && !take_name(&scan)) {
                return false;
            } else {
                continue;
            }
        } else if (!take_scalar(&scan)) {
            return false;
        }
        if (!take_after_value(&scan, is_object, &depth)) {
            return false;
        }
    } while (depth > 0);
    skip_blanks(&scan);
    return scan.at == scan.end;
}
