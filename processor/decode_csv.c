/* The formats csv and tsv: a record is one line of fields. Own header: decode_inside.h.
 *
 *  1. Fields belong to the columns in the order in which these are declared; there is no header. CR,
 *     LF or both at the end of the record are no part of it.
 *  2. csv is RFC 4180: a field that begins with the quote ends with one; inside, two quotes are one,
 *     and delimiters and line breaks are plain text. A quote elsewhere, or text behind the closing
 *     one, is an error. tsv has no quotes unless the option says so.
 *  3. A field that is not quoted and equal to the option null (default: empty) is null.
 *  4. The number of fields is that of the columns, else the record is refused; with fields='any'
 *     columns without a field are null and surplus fields are ignored.
 *  5. Values are read as by a cast from text; a timestamptz that is written as a number counts the
 *     input's unit. Columns that no view uses are not read as values. */
#include "processor/decode_inside.h"

#include <string.h>

struct csv_decoder {
    struct decoder base;
    struct decode_column **by_position; /* per field; NULL: nobody uses it */
    uint32_t field_count;
    struct plan_csv options;
};

struct csv_field {
    struct kappa_text text;
    bool quoted;
    bool doubled; /* two quotes stand for one somewhere */
};

static void open_csv(struct decoder *base)
{
    struct csv_decoder *d = (struct csv_decoder *)base;
    const struct plan_input *input = base->input;
    d->options = input->csv;
    d->by_position =
        arena_calloc(&base->memory, (input->column_count + 1) * sizeof(struct decode_column *));
    d->field_count = input->column_count - input->meta_count;
    for (uint32_t c = 0; c < base->column_count; c++) {
        d->by_position[base->columns[c].index] = &base->columns[c];
    }
}

static void close_csv(struct decoder *base)
{
    (void)base;
}

static bool malformed(struct csv_decoder *d, const char *what, size_t at)
{
    buf_printf(&d->base.reason, "malformed line: %s at byte %zu", what, at);
    return false;
}

/* *at stands behind the opening quote, and then behind the closing one. */
static bool quoted_field(struct csv_decoder *d, const char *line, size_t len, size_t *at,
                         struct csv_field *field)
{
    char quote = d->options.quote;
    size_t start = *at;
    for (;;) {
        const char *end = memchr(line + *at, quote, len - *at);
        if (end == NULL) {
            return malformed(d, "the quote that opens here is not closed:", start - 1);
        }
        size_t i = (size_t)(end - line);
        *at = i + 1;
        if (*at == len || line[*at] != quote) {
            field->text = (struct kappa_text){line + start, (uint32_t)(i - start)};
            break;
        }
        field->doubled = true;
        *at += 1;
    }
    field->quoted = true;
    return *at == len || line[*at] == d->options.delimiter ||
           malformed(d, "text behind a closing quote", *at);
}

/* A byte of the word that is equal to the one repeated in the pattern: its highest bit is set. Bytes
 * above the first such one may have it too. */
static inline uint64_t equal_bytes(uint64_t word, uint64_t pattern)
{
    uint64_t differ = word ^ pattern;
    return (differ - UINT64_C(0x0101010101010101)) & ~differ & UINT64_C(0x8080808080808080);
}

static inline uint64_t repeated(char c)
{
    return (uint8_t)c * UINT64_C(0x0101010101010101);
}

/* Where the first delimiter or quote is from i on, or len. Eight bytes at a time: the record has
 * readable ones behind it. */
static inline size_t find_end(const char *line, size_t len, size_t i, char delimiter, char quote)
{
    uint64_t delimiters = repeated(delimiter);
    uint64_t quotes = repeated(quote);
    for (; i < len; i += 8) {
        uint64_t word = load_u64_le((const uint8_t *)line + i);
        uint64_t found = equal_bytes(word, delimiters) | equal_bytes(word, quotes);
        if (found != 0) {
            i += (size_t)__builtin_ctzll(found) / 8;
            break;
        }
    }
    return i < len ? i : len;
}

static bool plain_field(struct csv_decoder *d, const char *line, size_t len, size_t *at,
                        struct csv_field *field)
{
    size_t start = *at;
    char delimiter = d->options.delimiter;
    char quote = d->options.quote;
    if (quote == '\0') {
        quote = delimiter;
    }
    size_t i = find_end(line, len, start, delimiter, quote);
    if (i < len && line[i] != delimiter) {
        return malformed(d, "a quote inside of a field that does not begin with one", i);
    }
    *at = i;
    field->text = (struct kappa_text){line + start, (uint32_t)(i - start)};
    return true;
}

static bool next_field(struct csv_decoder *d, const char *line, size_t len, size_t *at,
                       struct csv_field *field)
{
    *field = (struct csv_field){.quoted = false};
    if (d->options.quote != '\0' && *at < len && line[*at] == d->options.quote) {
        *at += 1;
        return quoted_field(d, line, len, at, field);
    }
    return plain_field(d, line, len, at, field);
}

static struct kappa_text without_doubles(struct csv_decoder *d, struct kappa_text text)
{
    char *made = arena_alloc(&d->base.texts, text.len);
    uint32_t n = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        made[n++] = text.bytes[i];
        i += text.bytes[i] == d->options.quote;
    }
    return (struct kappa_text){made, n};
}

static bool take_field(struct csv_decoder *d, struct decode_column *column, uint32_t row,
                       const struct csv_field *field, const struct kappa_record *record)
{
    const struct kappa_text *null = &d->options.null;
    if (!field->quoted && field->text.len == null->len &&
        (null->len == 0 || memcmp(field->text.bytes, null->bytes, null->len) == 0)) {
        return true;
    }
    return field->doubled ? decode_text(&d->base, column, row, without_doubles(d, field->text))
                          : decode_text_inside(&d->base, column, row, field->text, record);
}

static bool check_count(struct csv_decoder *d, uint32_t count)
{
    if (count == d->field_count || d->options.any_fields) {
        return true;
    }
    /* The count is what is wrong, whatever was read wrong because of it. */
    buf_reset(&d->base.reason);
    buf_printf(&d->base.reason, "expected %u fields, got %u", d->field_count, count);
    return false;
}

static size_t line_length(const char *line, size_t len)
{
    len -= len > 0 && line[len - 1] == '\n';
    len -= len > 0 && line[len - 1] == '\r';
    return len;
}

static enum decode_taken take_csv(struct decoder *base, const struct kappa_record *record,
                                  uint32_t row)
{
    struct csv_decoder *d = (struct csv_decoder *)base;
    const char *line = (const char *)record->value;
    size_t len = line_length(line, record->value_len);
    bool good = true;
    uint32_t count = 0;
    if (!decode_check_utf8(base, record->value, len, "the record")) {
        return DECODE_REFUSED;
    }
    for (size_t at = 0;; at++) {
        struct csv_field field;
        if (!next_field(d, line, len, &at, &field)) {
            return DECODE_REFUSED;
        }
        struct decode_column *column = count < d->field_count ? d->by_position[count] : NULL;
        if (good && column != NULL) {
            good = take_field(d, column, row, &field, record);
        }
        count++;
        if (at == len) {
            break;
        }
    }
    return check_count(d, count) && good ? DECODE_ROW : DECODE_REFUSED;
}

const struct decode_ops decode_csv_ops = {
    .size = sizeof(struct csv_decoder),
    .open = open_csv,
    .take = take_csv,
    .close = close_csv,
};
