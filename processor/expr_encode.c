/* Hashes, and bytes as text: md5, sha256, encode, decode. Own header: functions.def. */
#include "base/limits.h"
#include "processor/functions.h"
#include "processor/letter.h"

#include <nettle/md5.h>
#include <nettle/nettle-meta.h>
#include <nettle/sha2.h>
#include <string.h>
#include <strings.h>

static const char hex_digits[] = "0123456789abcdef";

static struct kappa_text hex_of(struct arena *texts, const uint8_t *bytes, uint32_t len)
{
    char *text = arena_alloc(texts, (size_t)len * 2 + 1);
    for (uint32_t k = 0; k < len; k++) {
        text[2 * (size_t)k] = hex_digits[bytes[k] >> 4];
        text[2 * (size_t)k + 1] = hex_digits[bytes[k] & 15];
    }
    return (struct kappa_text){text, len * 2};
}

/* ---- Hashes, of text as of bytea. Nettle's MD5 is there on machines in FIPS mode, too: a table may not
 * depend on that. */

union hash_context {
    struct md5_ctx md5;
    struct sha256_ctx sha256;
};

static void hash(const struct expr_step *step, const struct expr_frame *frame,
                 const struct nettle_hash *by, bool hex)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    struct expr_vec *out = expr_out(step, frame);
    union hash_context context;
    ASSERT_CMP(by->context_size, <=, sizeof context);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        uint8_t *digest = arena_alloc(frame->texts, by->digest_size);
        by->init(&context);
        by->update(&context, a[i].len, (const uint8_t *)a[i].bytes);
        by->digest(&context, by->digest_size, digest);
        out->s[i] = hex ? hex_of(frame->texts, digest, by->digest_size)
                        : (struct kappa_text){(const char *)digest, by->digest_size};
    }
}

void expr_md5(const struct expr_step *step, const struct expr_frame *frame)
{
    hash(step, frame, &nettle_md5, true);
}

void expr_sha256(const struct expr_step *step, const struct expr_frame *frame)
{
    hash(step, frame, &nettle_sha256, false);
}

void expr_sha256_hex(const struct expr_step *step, const struct expr_frame *frame)
{
    hash(step, frame, &nettle_sha256, true);
}

/* ---- encode(bytea, form), decode(text, form). */

enum form { FORM_NONE, FORM_HEX, FORM_BASE64 };

static enum form form_find(struct kappa_text name)
{
    if (name.len == 3 && strncasecmp(name.bytes, "hex", 3) == 0) {
        return FORM_HEX;
    }
    return name.len == 6 && strncasecmp(name.bytes, "base64", 6) == 0 ? FORM_BASE64 : FORM_NONE;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define BASE64_LINE 76

/* Lines of 76 characters, as PostgreSQL. */
static struct kappa_text base64_of(struct arena *texts, struct kappa_text bytes)
{
    uint32_t groups = bytes.len / 3 + (bytes.len % 3 > 0 ? 1 : 0);
    char *text = arena_alloc(texts, (size_t)groups * 4 + (size_t)groups * 4 / BASE64_LINE + 1);
    uint32_t len = 0;
    uint32_t column = 0;
    for (uint32_t at = 0; at < bytes.len; at += 3) {
        if (column == BASE64_LINE) {
            text[len++] = '\n';
            column = 0;
        }
        uint32_t have = bytes.len - at < 3 ? bytes.len - at : 3;
        uint32_t group = 0;
        for (uint32_t k = 0; k < 3; k++) {
            group = group << 8 | (k < have ? (uint8_t)bytes.bytes[at + k] : 0);
        }
        for (uint32_t k = 0; k < 4; k++) {
            text[len++] = (char)(k <= have ? base64_digits[group >> (18 - 6 * k) & 63] : '=');
        }
        column += 4;
    }
    return (struct kappa_text){text, len};
}

void expr_encode(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *form = expr_arg(step, frame, 1)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        enum form found = out->state[i] == EXPR_OK ? form_find(form[i]) : FORM_NONE;
        if (found == FORM_HEX) {
            out->s[i] = hex_of(frame->texts, (const uint8_t *)a[i].bytes, a[i].len);
        } else if (found == FORM_BASE64) {
            out->s[i] = base64_of(frame->texts, a[i]);
        } else {
            expr_fail(&out->state[i], true, EXPR_ERROR_ARGUMENT);
        }
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static int digit_of(const char *digits, char c)
{
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

/* Pairs of hexadecimal digits, blanks between pairs; false for anything else. */
static bool bytes_of_hex(struct kappa_text text, uint8_t *out, uint32_t *len)
{
    for (uint32_t at = 0; at < text.len;) {
        if (is_blank(text.bytes[at])) {
            at++;
            continue;
        }
        if (at + 1 == text.len) {
            return false;
        }
        int high = hex_digit(text.bytes[at]);
        int low = hex_digit(text.bytes[at + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[(*len)++] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    return true;
}

/* Groups of four digits, blanks anywhere; the last group may end in = or ==. */
static bool bytes_of_base64(struct kappa_text text, uint8_t *out, uint32_t *len)
{
    uint32_t group = 0;
    uint32_t count = 0; /* digits and = in the group */
    uint32_t ends = 0;  /* of them = */
    for (uint32_t at = 0; at < text.len; at++) {
        if (is_blank(text.bytes[at])) {
            continue;
        }
        bool end = text.bytes[at] == '=';
        int digit = end ? 0 : digit_of(base64_digits, text.bytes[at]);
        if (digit < 0 || (end && (count < 2 || ends == 2)) || (!end && ends > 0)) {
            return false;
        }
        ends += end;
        group = group << 6 | (uint32_t)digit;
        if (++count == 4) {
            for (uint32_t k = 0; k < 3 - ends; k++) {
                out[(*len)++] = (uint8_t)(group >> (16 - 8 * k));
            }
            count = 0;
            group = 0;
        }
    }
    return count == 0;
}

void expr_decode(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *form = expr_arg(step, frame, 1)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        if (out->state[i] != EXPR_OK) {
            continue;
        }
        enum form found = form_find(form[i]);
        uint8_t *bytes = arena_alloc(frame->texts, (size_t)a[i].len + 1);
        uint32_t len = 0;
        bool good = (found == FORM_HEX && bytes_of_hex(a[i], bytes, &len)) ||
                    (found == FORM_BASE64 && bytes_of_base64(a[i], bytes, &len));
        out->s[i] = (struct kappa_text){(const char *)bytes, len};
        expr_fail(&out->state[i], !good, EXPR_ERROR_ARGUMENT);
    }
}

/* ---- convert_to(text, 'UTF8'), convert_from(bytea, 'UTF8'). */

static bool is_utf8(struct kappa_text name)
{
    return (name.len == 4 && strncasecmp(name.bytes, "utf8", 4) == 0) ||
           (name.len == 5 && strncasecmp(name.bytes, "utf-8", 5) == 0);
}

void expr_convert_to(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *encoding = expr_arg(step, frame, 1)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->s[i] = a[i];
        bool good = out->state[i] == EXPR_OK && is_utf8(encoding[i]);
        expr_fail(&out->state[i], !good, EXPR_ERROR_ARGUMENT);
    }
}

void expr_convert_from(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    const struct kappa_text *a = expr_arg(step, frame, 0)->s;
    const struct kappa_text *encoding = expr_arg(step, frame, 1)->s;
    struct expr_vec *out = expr_out(step, frame);
    for (uint32_t i = 0; i < frame->n; i++) {
        out->s[i] = a[i];
        bool good = out->state[i] == EXPR_OK && is_utf8(encoding[i]) && text_is_utf8(a[i]);
        expr_fail(&out->state[i], !good, EXPR_ERROR_ARGUMENT);
    }
}
