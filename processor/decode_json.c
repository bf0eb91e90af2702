/* Payload -> columns. Own header: decode_json.h.
 *
 * The walk goes over the token list of json_simd_index. `k` is always an index into that list; the
 * list is ended by the text's length, so that k + 1 may be looked at for every token k, but a token
 * exists only below `count`.
 *
 * Producers write fields in one order. So for each place in the object the name seen there last and
 * its column are remembered, and compared first: three masked words, no search. */
#include "processor/decode_json.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/timefmt.h"
#include "processor/json_simd.h"
#include "processor/json_token.h"

#include <stdlib.h>
#include <string.h>

#define GUESS_FIELDS 64 /* places in an object that are remembered */
#define GUESS_WORDS  3  /* names up to 23 bytes, with the quote behind them */
#define GUESS_BYTES  (GUESS_WORDS * 8)

_Static_assert(GUESS_BYTES <= KAPPA_RECORD_TAIL, "a name may be read beyond the record's end");

/* The name last seen at a place; never equal to anything while mask[0] is 0. */
struct guess {
    uint64_t word[GUESS_WORDS];
    uint64_t mask[GUESS_WORDS];
    struct column *column; /* NULL: skipped */
};

/* What a value of the wrong type was, for the message. */
enum got {
    GOT_TEXT,
    GOT_NUMBER,
    GOT_FRACTION,
    GOT_RANGE,
    GOT_BOOLEAN,
    GOT_OBJECT,
    GOT_ARRAY,
    GOT_TIME
};

struct column {
    enum kappa_type type;
    uint32_t name_len;
    const char *name;
    struct expr_vec vec;
    enum got got; /* of the row at hand, if its state is EXPR_ERROR_TYPE */
};

struct decoder {
    const struct plan_input *input;
    struct json_simd *simd;
    struct column *columns; /* the used ones */
    uint32_t column_count;
    uint32_t capacity;
    uint32_t last_row;     /* taken last; all rows behind it are null */
    struct expr_vec *vecs; /* per column of the input */
    struct arena memory;
    struct arena texts; /* unescaped texts of the chunk */
    struct buf reason;
    struct guess guesses[GUESS_FIELDS];
    /* The record at hand. */
    const uint8_t *text;
    const uint32_t *at; /* tokens */
    uint32_t count;     /* tokens */
    bool escapes;       /* a backslash is somewhere in it */
    bool wrong_type;    /* some value had the wrong type when it was read */
};

static const char *const got_words[] = {
    [GOT_TEXT] = "text",
    [GOT_NUMBER] = "number",
    [GOT_FRACTION] = "a number with fraction or exponent",
    [GOT_RANGE] = "a number out of range",
    [GOT_BOOLEAN] = "boolean",
    [GOT_OBJECT] = "object",
    [GOT_ARRAY] = "array",
    [GOT_TIME] = "text that is not an RFC 3339 time",
};

const char *decoder_type_name(enum kappa_type type)
{
    static const char *const names[KAPPA_TYPE_COUNT] = {
        [KAPPA_TYPE_NULL] = "unknown",
        [KAPPA_TYPE_BOOLEAN] = "boolean",
        [KAPPA_TYPE_INTEGER] = "integer",
        [KAPPA_TYPE_BIGINT] = "bigint",
        [KAPPA_TYPE_DOUBLE] = "double precision",
        [KAPPA_TYPE_TEXT] = "text",
        [KAPPA_TYPE_TIMESTAMPTZ] = "timestamptz",
        [KAPPA_TYPE_INTERVAL] = "interval",
    };
    return names[type];
}

static void vec_open(struct arena *arena, struct expr_vec *vec, enum kappa_type type, uint32_t rows)
{
    vec->type = type;
    vec->state = arena_alloc(arena, rows);
    memset(vec->state, EXPR_NULL, rows);
    if (type == KAPPA_TYPE_TEXT) {
        vec->s = arena_calloc(arena, rows * sizeof *vec->s);
    } else {
        vec->i = arena_calloc(arena, rows * sizeof *vec->i);
    }
}

struct decoder *decoder_new(const struct plan_input *input, uint32_t capacity)
{
    ASSERT(capacity > 0);
    struct decoder *d = xcalloc(1, sizeof *d);
    d->input = input;
    d->capacity = capacity;
    d->simd = json_simd_new();
    arena_init(&d->memory);
    arena_init(&d->texts);
    d->columns = arena_calloc(&d->memory, (input->column_count + 1) * sizeof *d->columns);
    d->vecs = arena_calloc(&d->memory, (input->column_count + 1) * sizeof *d->vecs);
    for (uint32_t c = 0; c < input->column_count; c++) {
        const struct plan_column *from = &input->columns[c];
        vec_open(&d->memory, &d->vecs[c], from->type, capacity);
        if (!from->used && c != input->event_time) {
            continue;
        }
        struct column *column = &d->columns[d->column_count++];
        column->type = from->type;
        column->name = from->name;
        column->name_len = u32_from(strlen(from->name));
        column->vec = d->vecs[c];
    }
    return d;
}

void decoder_free(struct decoder *d)
{
    if (d == NULL) {
        return;
    }
    json_simd_free(d->simd);
    buf_free(&d->reason);
    arena_free(&d->texts);
    arena_free(&d->memory);
    free(d);
}

const struct expr_vec *decoder_columns(const struct decoder *d)
{
    return d->vecs;
}

const char *decoder_reason(const struct decoder *d)
{
    return buf_text(&d->reason);
}

void decoder_reset(struct decoder *d)
{
    d->last_row = UINT32_MAX;
    for (uint32_t c = 0; c < d->column_count; c++) {
        memset(d->columns[c].vec.state, EXPR_NULL, d->capacity);
    }
    arena_reset(&d->texts);
}

/* ---- Malformed text. All return false. */

static bool malformed(struct decoder *d, const char *what)
{
    buf_reset(&d->reason);
    buf_printf(&d->reason, "malformed JSON: %s", what);
    return false;
}

static bool malformed_at(struct decoder *d, uint32_t k, const char *what)
{
    buf_reset(&d->reason);
    if (k >= d->count) {
        buf_printf(&d->reason, "malformed JSON: the text ends too early: %s", what);
    } else {
        buf_printf(&d->reason, "malformed JSON: %s at byte %u", what, d->at[k]);
    }
    return false;
}

/* ---- Tokens. */

/* First byte of token k, 0 behind the last. */
static inline uint8_t token(const struct decoder *d, uint32_t k)
{
    return k < d->count ? d->text[d->at[k]] : 0;
}

/* The bytes between the quotes of the string token k. Behind its closing quote there is only white
 * space up to the next token. */
static inline struct kappa_text token_string(const struct decoder *d, uint32_t k)
{
    const uint8_t *start = d->text + d->at[k] + 1;
    const uint8_t *last = d->text + d->at[k + 1] - 1;
    while (*last != '"') {
        last--;
    }
    ASSERT(last >= start);
    return (struct kappa_text){(const char *)start, (uint32_t)(last - start)};
}

/* A string's value; false if an escape is bad. */
static bool string_value(struct decoder *d, uint32_t k, struct kappa_text *out)
{
    struct kappa_text raw = token_string(d, k);
    if (!d->escapes || memchr(raw.bytes, '\\', raw.len) == NULL) {
        *out = raw;
        return true;
    }
    uint8_t *made = arena_alloc(&d->texts, raw.len);
    int64_t len = json_unescape((const uint8_t *)raw.bytes, raw.len, made);
    if (len < 0) {
        return malformed_at(d, k, "a bad escape in the string");
    }
    *out = (struct kappa_text){(const char *)made, (uint32_t)len};
    return true;
}

static bool check_string(struct decoder *d, uint32_t k)
{
    if (!d->escapes) {
        return true;
    }
    struct kappa_text raw = token_string(d, k);
    return json_unescape((const uint8_t *)raw.bytes, raw.len, NULL) >= 0 ||
           malformed_at(d, k, "a bad escape in the string");
}

/* Checks the string, number or literal k. */
static bool check_scalar(struct decoder *d, uint32_t k)
{
    const uint8_t *p = d->text + d->at[k];
    struct json_number number;
    switch (*p) {
    case '"':
        return check_string(d, k);
    case 't':
        return json_is_true(p) || malformed_at(d, k, "expected a value");
    case 'f':
        return json_is_false(p) || malformed_at(d, k, "expected a value");
    case 'n':
        return json_is_null(p) || malformed_at(d, k, "expected a value");
    default:
        return json_number_scan(p, &number) || malformed_at(d, k, "expected a value");
    }
}

/* Checks a name and its colon; *k is moved to the value. */
static bool check_name(struct decoder *d, uint32_t *k)
{
    if (token(d, *k) != '"') {
        return malformed_at(d, *k, "expected a name in quotes");
    }
    if (token(d, *k + 1) != ':') {
        return malformed_at(d, *k + 1, "expected ':' behind a name");
    }
    if (!check_string(d, *k)) {
        return false;
    }
    *k += 2;
    return true;
}

/* Checks the object or array that begins at *k, which becomes the token behind it. Not recursive:
 * bit n of `objects` says whether level n is an object. */
static bool check_nested(struct decoder *d, uint32_t *k)
{
    uint64_t objects = 0;
    uint32_t depth = 1; /* of the record's own object */
    do {
        uint8_t first = token(d, *k);
        if (first == '{' || first == '[') {
            if (++depth > LIMIT_JSON_DEPTH) {
                return malformed_at(d, *k, "nested deeper than 64 levels");
            }
            bool object = first == '{';
            uint64_t bit = UINT64_C(1) << (depth - 1);
            objects = object ? objects | bit : objects & ~bit;
            ++*k;
            if (token(d, *k) != (object ? '}' : ']')) {
                if (object && !check_name(d, k)) {
                    return false;
                }
                continue;
            }
            ++*k;
            depth--;
        } else if (*k + 1 >= d->count) {
            /* A scalar may not be the last token: looking for its end would leave the text. */
            return malformed_at(d, d->count, "the object has no end");
        } else if (!check_scalar(d, (*k)++)) {
            return false;
        }
        /* Behind a value: ends of levels, then a comma or the way out. */
        while (depth > 1 && token(d, *k) == ((objects >> (depth - 1) & 1) != 0 ? '}' : ']')) {
            ++*k;
            depth--;
        }
        if (depth > 1) {
            bool object = (objects >> (depth - 1) & 1) != 0;
            if (token(d, *k) != ',') {
                return malformed_at(d, *k, object ? "expected ',' or '}'" : "expected ',' or ']'");
            }
            ++*k;
            if (object && !check_name(d, k)) {
                return false;
            }
        }
    } while (depth > 1);
    return true;
}

_Static_assert(LIMIT_JSON_DEPTH == 64, "one bit per level, and the sentence above");

/* ---- Names. */

static struct column *find_column(struct decoder *d, struct kappa_text name)
{
    for (uint32_t c = 0; c < d->column_count; c++) {
        struct column *column = &d->columns[c];
        if (column->name_len == name.len && memcmp(column->name, name.bytes, name.len) == 0) {
            return column;
        }
    }
    return NULL;
}

/* Looks the name k up the long way and remembers it for this place. False: malformed. */
static bool learn_name(struct decoder *d, uint32_t k, uint32_t place, struct column **column)
{
    struct kappa_text name;
    if (!string_value(d, k, &name)) {
        return false;
    }
    *column = find_column(d, name);
    struct kappa_text raw = token_string(d, k);
    if (place < GUESS_FIELDS && raw.len < GUESS_BYTES) {
        /* With its closing quote, so that a longer name differs; kept as written, escapes and all. */
        struct guess guess = {.column = *column};
        memcpy(guess.word, raw.bytes, raw.len + 1);
        memset(guess.mask, 0xFF, raw.len + 1);
        d->guesses[place] = guess;
    }
    return true;
}

static inline bool guess_hits(const struct guess *guess, const uint8_t *name)
{
    uint64_t differ = (load_u64_le(name) ^ guess->word[0]) & guess->mask[0];
    differ |= (load_u64_le(name + 8) ^ guess->word[1]) & guess->mask[1];
    differ |= (load_u64_le(name + 16) ^ guess->word[2]) & guess->mask[2];
    return differ == 0 && guess->mask[0] != 0;
}

/* ---- Values. */

static void wrong(struct decoder *d, struct column *column, uint32_t row, enum got got)
{
    column->vec.state[row] = EXPR_ERROR_TYPE;
    column->got = got;
    d->wrong_type = true;
}

static inline void set_i64(struct column *column, uint32_t row, int64_t value)
{
    column->vec.i[row] = value;
    column->vec.state[row] = EXPR_OK;
}

static bool take_string(struct decoder *d, uint32_t k, struct column *column, uint32_t row)
{
    struct kappa_text text;
    if (!string_value(d, k, &text)) {
        return false;
    }
    if (column->type == KAPPA_TYPE_TEXT) {
        column->vec.s[row] = text;
        column->vec.state[row] = EXPR_OK;
    } else if (column->type == KAPPA_TYPE_TIMESTAMPTZ) {
        int64_t us = 0;
        if (time_parse(text.bytes, text.len, &us)) {
            set_i64(column, row, us);
        } else {
            wrong(d, column, row, GOT_TIME);
        }
    } else {
        wrong(d, column, row, GOT_TEXT);
    }
    return true;
}

static void take_integer(struct decoder *d, const struct json_number *number, struct column *column,
                         uint32_t row)
{
    int64_t value = 0;
    bool narrow = column->type == KAPPA_TYPE_INTEGER;
    if (!number->integral) {
        wrong(d, column, row, GOT_FRACTION);
    } else if (!json_number_int(number, &value) ||
               (narrow && (value < INT32_MIN || value > INT32_MAX))) {
        wrong(d, column, row, GOT_RANGE);
    } else {
        set_i64(column, row, value);
    }
}

static void take_time(struct decoder *d, const struct json_number *number, struct column *column,
                      uint32_t row)
{
    int64_t us = 0;
    if (!json_number_scaled(number, d->input->timestamp_unit_us_num,
                            d->input->timestamp_unit_us_den, &us) ||
        us < -DECODE_TIME_MAX || us > DECODE_TIME_MAX) {
        wrong(d, column, row, GOT_RANGE);
    } else {
        set_i64(column, row, us);
    }
}

static bool take_number(struct decoder *d, uint32_t k, struct column *column, uint32_t row)
{
    struct json_number number;
    if (!json_number_scan(d->text + d->at[k], &number)) {
        return malformed_at(d, k, "expected a value");
    }
    if (column->type == KAPPA_TYPE_DOUBLE) {
        if (json_number_double(&number, &column->vec.d[row])) {
            column->vec.state[row] = EXPR_OK;
        } else {
            wrong(d, column, row, GOT_RANGE);
        }
    } else if (column->type == KAPPA_TYPE_TIMESTAMPTZ) {
        take_time(d, &number, column, row);
    } else if (column->type == KAPPA_TYPE_INTEGER || column->type == KAPPA_TYPE_BIGINT) {
        take_integer(d, &number, column, row);
    } else {
        wrong(d, column, row, GOT_NUMBER);
    }
    return true;
}

static bool take_literal(struct decoder *d, uint32_t k, struct column *column, uint32_t row)
{
    const uint8_t *p = d->text + d->at[k];
    if (json_is_null(p)) {
        column->vec.state[row] = EXPR_NULL;
        return true;
    }
    bool truth = json_is_true(p);
    if (!truth && !json_is_false(p)) {
        return malformed_at(d, k, "expected a value");
    }
    if (column->type == KAPPA_TYPE_BOOLEAN) {
        set_i64(column, row, truth);
    } else {
        wrong(d, column, row, GOT_BOOLEAN);
    }
    return true;
}

/* Reads the value at *k, which becomes the token behind it. column NULL: only checks. */
static inline bool take_value(struct decoder *d, uint32_t *k, struct column *column, uint32_t row)
{
    uint8_t first = d->text[d->at[*k]];
    if (first == '{' || first == '[') {
        if (column != NULL) {
            wrong(d, column, row, first == '{' ? GOT_OBJECT : GOT_ARRAY);
        }
        return check_nested(d, k);
    }
    uint32_t at = (*k)++;
    if (column == NULL) {
        return check_scalar(d, at);
    }
    if (first == '"') {
        return take_string(d, at, column, row);
    }
    if (first == 't' || first == 'f' || first == 'n') {
        return take_literal(d, at, column, row);
    }
    return take_number(d, at, column, row);
}

/* The record's object. */
static bool take_object(struct decoder *d, uint32_t row)
{
    if (token(d, 0) != '{') {
        return malformed(d, "expected an object");
    }
    uint32_t k = 1;
    if (token(d, 1) == '}') {
        return d->count == 2 || malformed_at(d, 2, "something follows the object");
    }
    for (uint32_t place = 0;; place++) {
        /* A name, a colon, a value and what follows: four tokens at least. */
        if (token(d, k) != '"') {
            return malformed_at(d, k, "expected a name in quotes");
        }
        if (token(d, k + 1) != ':') {
            return malformed_at(d, k + 1, "expected ':' behind a name");
        }
        if (k + 3 >= d->count) {
            return malformed_at(d, d->count, "the object has no end");
        }
        const struct guess *guess = &d->guesses[place < GUESS_FIELDS ? place : 0];
        struct column *column = guess->column;
        if ((place >= GUESS_FIELDS || !guess_hits(guess, d->text + d->at[k] + 1)) &&
            !learn_name(d, k, place, &column)) {
            return false;
        }
        k += 2;
        if (!take_value(d, &k, column, row)) {
            return false;
        }
        uint8_t end = token(d, k++);
        if (end == '}') {
            return k == d->count || malformed_at(d, k, "something follows the object");
        }
        if (end != ',') {
            return malformed_at(d, k - 1, "expected ',' or '}'");
        }
    }
}

/* Of several columns of the wrong type the first declared is named. */
static bool check_types(struct decoder *d, uint32_t row)
{
    for (uint32_t c = 0; c < d->column_count; c++) {
        const struct column *column = &d->columns[c];
        if (column->vec.state[row] == EXPR_ERROR_TYPE) {
            buf_reset(&d->reason);
            buf_printf(&d->reason, "column \"%s\": expected %s, got %s", column->name,
                       decoder_type_name(column->type), got_words[column->got]);
            return false;
        }
    }
    return true; /* a duplicate with the right type came later */
}

static bool take_text(struct decoder *d, const struct kappa_record *record, uint32_t row)
{
    if (record->value_len == KAPPA_NULL_LEN) {
        buf_reset(&d->reason);
        buf_append_text(&d->reason, "no value (tombstone)");
        return false;
    }
    if (record->value_len > 0 && record->value[0] == 0) {
        return malformed(d, "it begins with a zero byte (looks like Confluent framing)");
    }
    if (record->value_len > LIMIT_RECORD_BYTES) {
        return malformed(d, "longer than a record may be");
    }
    d->text = record->value;
    d->wrong_type = false;
    const char *bad = json_simd_index(d->simd, record->value, record->value_len, &d->at, &d->count);
    if (bad != NULL) {
        return malformed(d, bad);
    }
    d->escapes = memchr(record->value, '\\', record->value_len) != NULL;
    return take_object(d, row) && (!d->wrong_type || check_types(d, row));
}

static void clear_row(struct decoder *d, uint32_t row)
{
    for (uint32_t c = 0; c < d->column_count; c++) {
        d->columns[c].vec.state[row] = EXPR_NULL;
    }
}

bool decoder_take(struct decoder *d, const struct kappa_record *record, uint32_t row)
{
    ASSERT_CMP(row, <, d->capacity);
    if (row == d->last_row) {
        clear_row(d, row);
    }
    d->last_row = row;
    if (take_text(d, record, row)) {
        return true;
    }
    clear_row(d, row);
    return false;
}
