/* Words, numbers, colours and errors. Tables are in output_table.c. Own header: output.h. */
#include "cli/output.h"

#include "base/timefmt.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void out_safe(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = c == 0xC2 && i + 1 < len && ((unsigned char)text[i + 1] & 0xE0) == 0x80;
        if (c == '\n') {
            buf_append_text(out, "\\n");
        } else if (c == '\t') {
            buf_append_text(out, "\\t");
        } else if (c < 0x20 || c == 0x7F) {
            buf_printf(out, "\\x%02x", c);
        } else if (c1) { /* U+0080..U+009F: controls of eight-bit terminals */
            i++;
            buf_printf(out, "\\x%02x", (unsigned char)text[i]);
        } else {
            buf_append_u8(out, c);
        }
    }
}

void out_value(struct buf *out, const json_t *value)
{
    if (value == NULL) {
        buf_append_text(out, "-");
    } else if (json_is_string(value)) {
        out_safe(out, json_string_value(value), json_string_length(value));
    } else {
        json_write(out, value);
    }
}

char *out_count(int64_t value, char *text)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%" PRIu64, i64_magnitude(value));
    size_t len = strlen(digits);
    char *to = text;
    if (value < 0) {
        *to++ = '-';
    }
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            *to++ = ',';
        }
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

static char *scaled(double value, double step, const char *const *units, size_t unit_count,
                    char *text)
{
    size_t unit = 0;
    while (unit + 1 < unit_count && fabs(value) >= step * 0.9995) {
        value /= step;
        unit++;
    }
    int digits = unit == 0 || fabs(value) >= 99.95 ? 0 : fabs(value) >= 9.995 ? 1 : 2;
    (void)snprintf(text, OUT_NUMBER_LEN, "%.*f%s%s", digits, value,
                   units[unit][0] == '\0' ? "" : " ", units[unit]);
    return text;
}

char *out_short(double value, char *text)
{
    static const char *const units[] = {"", "k", "M", "G", "T"};
    return scaled(value, 1000, units, array_len(units), text);
}

char *out_bytes(double value, char *text)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    return scaled(value, 1024, units, array_len(units), text);
}

char *out_seconds(const json_t *seconds, char *text)
{
    double value = json_is_number(seconds) ? json_number_value(seconds) : -1;
    if (!(value >= 0 && value < 1e12)) {
        (void)snprintf(text, OUT_NUMBER_LEN, "-");
        return text;
    }
    char duration[TIME_TEXT_LEN];
    duration_format((int64_t)(value * 1e6), duration);
    (void)snprintf(text, OUT_NUMBER_LEN, "%.*s", OUT_NUMBER_LEN - 1, duration);
    return text;
}

char *out_brief(const json_t *seconds, char *text)
{
    double value = json_is_number(seconds) ? json_number_value(seconds) : -1;
    if (!(value >= 0 && value < 1e12)) {
        (void)snprintf(text, OUT_NUMBER_LEN, "-");
        return text;
    }
    int64_t whole = (int64_t)value;
    if (value < 0.9995) {
        (void)snprintf(text, OUT_NUMBER_LEN, "%.0fms", value * 1000);
    } else if (value < 59.95) {
        (void)snprintf(text, OUT_NUMBER_LEN, "%.1fs", value);
    } else if (whole < 3600) {
        (void)snprintf(text, OUT_NUMBER_LEN, "%" PRId64 "m%02" PRId64 "s", whole / 60, whole % 60);
    } else if (whole < 86400) {
        (void)snprintf(text, OUT_NUMBER_LEN, "%" PRId64 "h%02" PRId64 "m", whole / 3600,
                       whole / 60 % 60);
    } else if (whole < INT64_C(86400) * 100) {
        (void)snprintf(text, OUT_NUMBER_LEN, "%" PRId64 "d%02" PRId64 "h", whole / 86400,
                       whole / 3600 % 24);
    } else {
        (void)snprintf(text, OUT_NUMBER_LEN, "%" PRId64 "d", whole / 86400);
    }
    return text;
}

void out_bar(struct buf *out, double ratio, uint32_t width)
{
    ASSERT_CMP(width, >, 2);
    uint32_t cells = width - 2;
    double clamped = ratio > 0 ? fmin(ratio, 1) : 0;
    uint32_t full = (uint32_t)(clamped * cells + (clamped < 1 ? 0 : 0.5));
    buf_append_u8(out, '[');
    for (uint32_t i = 0; i < cells; i++) {
        buf_append_u8(out, i < full ? '#' : '-');
    }
    buf_append_u8(out, ']');
}

void out_styled(struct buf *out, bool colour, enum out_style style, const char *text)
{
    static const char *const codes[] = {
        [OUT_PLAIN] = "0", [OUT_BOLD] = "1",   [OUT_DIM] = "2",
        [OUT_RED] = "31",  [OUT_GREEN] = "32", [OUT_YELLOW] = "33",
    };
    if (colour && style != OUT_PLAIN && text[0] != '\0') {
        buf_printf(out, "\x1b[%sm%s\x1b[0m", codes[style], text);
    } else {
        buf_append_text(out, text);
    }
}

enum out_style out_state_style(const char *state)
{
    static const struct {
        const char *state;
        enum out_style style;
    } styles[] = {
        {"serving", OUT_GREEN}, {"ready", OUT_GREEN}, {"failed", OUT_RED},
        {"paused", OUT_YELLOW}, {"retired", OUT_DIM}, {"aborted", OUT_DIM},
    };

    for (size_t i = 0; i < array_len(styles); i++) {
        if (strcmp(state, styles[i].state) == 0) {
            return styles[i].style;
        }
    }
    return OUT_PLAIN;
}

void out_terminals(struct cli *cli)
{
    const char *term = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    bool dumb = term == NULL || strcmp(term, "dumb") == 0;
    bool wanted =
        !dumb && (no_colour == NULL || no_colour[0] == '\0') && cli_option(cli, "no-color") == NULL;
    cli->colour = wanted && isatty(STDOUT_FILENO) == 1;
    cli->live = !dumb && isatty(STDERR_FILENO) == 1;
}

int out_write(const struct buf *text, struct err *err)
{
    if (fwrite(buf_text(text), 1, text->len, stdout) == text->len && fflush(stdout) == 0) {
        return 0;
    }
    if (errno == EPIPE) { /* the reader, say head, has seen enough: end as other tools do */
        (void)signal(SIGPIPE, SIG_DFL);
        (void)raise(SIGPIPE);
    }
    return err_errno(err, errno, "cannot write to standard output");
}

int out_json(const json_t *value, struct err *err)
{
    struct buf text = {0};
    json_write(&text, value);
    buf_append_u8(&text, '\n');
    int rc = out_write(&text, err);
    buf_free(&text);
    return rc;
}

int out_error(const struct err *err, bool json)
{
    if (json) {
        json_t *object = json_from_err(err);
        char *text = json_print(object);
        (void)fprintf(stderr, "%s\n", text);
        free(text);
        json_decref(object);
        return err_exit_code(err->code);
    }
    /* The text may be lines with a caret; only what would steer the terminal is escaped. */
    struct buf text = {0};
    const char *rest = err->text;
    for (size_t len; *rest != '\0'; rest += len + (rest[len] == '\n')) {
        len = strcspn(rest, "\n");
        out_safe(&text, rest, len);
        buf_append_u8(&text, '\n');
    }
    bool plain = -err->code == KE_SQL;
    (void)fprintf(stderr, "%s%s", plain ? "" : "kappa: ", buf_text(&text));
    if (err->hint[0] != '\0') {
        buf_reset(&text);
        out_safe(&text, err->hint, strlen(err->hint));
        (void)fprintf(stderr, "  hint: %s\n", buf_text(&text));
    }
    buf_free(&text);
    return err_exit_code(err->code);
}
