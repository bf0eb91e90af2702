/* The format json. Own header: decode_json.h.
 *
 *  1. The value is one JSON object (RFC 8259, UTF-8), checked whole, also what is skipped. Nesting
 *     is at most LIMIT_JSON_DEPTH deep. Of duplicate names the last wins.
 *  2. text takes a string; boolean true or false; smallint, integer and bigint a number written
 *     without fraction and exponent, in range; double precision and real any number in range;
 *     numeric a number or a string of one, read digit by digit; timestamptz and timestamp a number
 *     times the input's unit, rounded to the microsecond, or an RFC 3339 string; date, interval,
 *     uuid and bytea a string, read as a cast reads it; jsonb any value;
 *     arrays a JSON array of such values (times as strings).
 *  3. With rename='old=column' the column is also read from the field old, and with
 *     rename='outer.inner=column' from a field of the object outer: of several the last in the record
 *     wins. Where outer is null or missing the column is null; any other value there refuses the
 *     record.
 *
 * Producers write fields in one order. So for each place in an object the name seen there last and
 * its column are remembered, and compared first: three masked words, no search. A field that is
 * looked into is a column too, of no type: what costs is found only where an object begins. */
#include "processor/decode_json.h"

#include "base/timefmt.h"
#include "processor/array.h"
#include "processor/expr_step.h"
#include "processor/json_simd.h"
#include "processor/jsonb.h"
#include "processor/numeric.h"
#include "processor/value_cast.h"

#include <string.h>

#define DAYS_MAX (DECODE_TIME_MAX / US_DAY)

_Static_assert(GUESS_BYTES <= KAPPA_RECORD_TAIL, "a name may be read beyond the record's end");

/* What a value of the wrong type was, for the message. */
enum got {
    GOT_TEXT,
    GOT_NUMBER,
    GOT_FRACTION,
    GOT_RANGE,
    GOT_BOOLEAN,
    GOT_OBJECT,
    GOT_ARRAY,
    GOT_TIME,
    GOT_INTERVAL,
    GOT_UNREAD,
    GOT_DOCUMENT,
    GOT_ELEMENT
};

static const char *const got_words[] = {
    [GOT_TEXT] = "text",
    [GOT_NUMBER] = "number",
    [GOT_FRACTION] = "a number with fraction or exponent",
    [GOT_RANGE] = "a number out of range",
    [GOT_BOOLEAN] = "boolean",
    [GOT_OBJECT] = "object",
    [GOT_ARRAY] = "array",
    [GOT_ELEMENT] = "an array with another element",
    [GOT_DOCUMENT] = "a document with U+0000",
    [GOT_INTERVAL] = "text that is no interval of days and less",
    [GOT_UNREAD] = "text that does not read as one",
    [GOT_TIME] = "text that is not an RFC 3339 time",
};

/* ---- The fields that are read. */

static struct json_field *find_field(const struct json_object *object, struct kappa_text name)
{
    for (uint32_t i = 0; i < object->count; i++) {
        struct json_field *field = &object->fields[i];
        if (field->name_len == name.len && memcmp(field->name, name.bytes, name.len) == 0) {
            return field;
        }
    }
    return NULL;
}

/* An object has room for every column and every name of a rename. */
static void object_open(struct json_decoder *d, struct json_object *object)
{
    size_t most = (size_t)d->base.input->column_count + d->base.input->rename_count;
    object->fields = arena_calloc(&d->base.memory, (most + 1) * sizeof *object->fields);
}

static struct json_field *add_field(struct json_object *object, const char *name)
{
    uint32_t len = u32_from(strlen(name));
    struct json_field *field = find_field(object, (struct kappa_text){name, len});
    if (field == NULL) {
        field = &object->fields[object->count++];
        *field = (struct json_field){.name = name, .name_len = len};
    }
    return field;
}

/* The object that the field of this name is. */
static struct json_object *look_into(struct json_decoder *d, struct json_object *object,
                                     const char *name)
{
    struct json_field *field = add_field(object, name);
    if (field->column == NULL) {
        field->column = &d->outers[d->outer_count++];
        field->column->name = name;
        field->column->vec.state = arena_calloc(&d->base.memory, d->base.capacity);
    }
    if (field->column->inside == NULL) {
        struct json_object *inside = arena_calloc(&d->base.memory, sizeof *inside);
        object_open(d, inside);
        field->column->inside = inside;
    }
    return field->column->inside;
}

static void add_rename(struct json_decoder *d, const struct plan_rename *rename)
{
    struct decode_column *column = NULL;
    struct json_object *object = &d->top;
    for (uint32_t c = 0; c < d->base.column_count; c++) {
        column = d->base.columns[c].index == rename->column ? &d->base.columns[c] : column;
    }
    if (column == NULL) {
        return; /* nobody uses it */
    }
    for (uint32_t i = 0; i + 1 < rename->depth; i++) {
        object = look_into(d, object, rename->path[i]);
    }
    struct json_field *field = add_field(object, rename->path[rename->depth - 1]);
    if (field->column == NULL) {
        field->column = column; /* else a column of just this name */
    }
}

void decode_json_open(struct decoder *base)
{
    struct json_decoder *d = (struct json_decoder *)base;
    const struct plan_input *input = base->input;
    d->simd = json_simd_new();
    d->outers = arena_calloc(&base->memory,
                             ((size_t)input->rename_count * PLAN_PATH_MAX + 1) * sizeof *d->outers);
    object_open(d, &d->top);
    for (uint32_t c = 0; c < base->column_count; c++) {
        add_field(&d->top, base->columns[c].name)->column = &base->columns[c];
    }
    for (uint32_t i = 0; i < input->rename_count; i++) {
        add_rename(d, &input->renames[i]);
    }
}

void decode_json_close(struct decoder *base)
{
    json_simd_free(((struct json_decoder *)base)->simd);
}

/* A string's value; false if an escape is bad. */
static bool string_value(struct json_decoder *d, uint32_t k, struct kappa_text *out)
{
    struct kappa_text raw = json_string(&d->walk, k);
    *out = raw;
    if (!d->walk.escapes || raw.len == 0 || memchr(raw.bytes, '\\', raw.len) == NULL) {
        return true;
    }
    uint8_t *made = arena_alloc(&d->base.texts, raw.len);
    int64_t len = json_unescape((const uint8_t *)raw.bytes, raw.len, made);
    if (len < 0) {
        return json_fail(&d->walk, k, "a bad escape in the string");
    }
    *out = (struct kappa_text){(const char *)made, (uint32_t)len};
    return true;
}

/* ---- Names. */

/* Looks the name k up the long way and remembers it for this place. False: malformed. */
static bool learn_name(struct json_decoder *d, struct json_object *object, uint32_t k,
                       uint32_t place, struct decode_column **column)
{
    struct kappa_text name;
    if (!string_value(d, k, &name)) {
        return false;
    }
    const struct json_field *field = find_field(object, name);
    *column = field == NULL ? NULL : field->column;
    struct kappa_text raw = json_string(&d->walk, k);
    if (place < GUESS_FIELDS && raw.len < GUESS_BYTES) {
        /* With its closing quote, so that a longer name differs; kept as written, escapes and all.
         * */
        struct json_guess guess = {.column = *column};
        memcpy(guess.word, raw.bytes, raw.len + 1);
        memset(guess.mask, 0xFF, raw.len + 1);
        object->guesses[place] = guess;
    }
    return true;
}

static inline bool guess_hits(const struct json_guess *guess, const uint8_t *name)
{
    uint64_t differ = (load_u64_le(name) ^ guess->word[0]) & guess->mask[0];
    differ |= (load_u64_le(name + 8) ^ guess->word[1]) & guess->mask[1];
    differ |= (load_u64_le(name + 16) ^ guess->word[2]) & guess->mask[2];
    return differ == 0 && guess->mask[0] != 0;
}

/* ---- Values. */

static void wrong(struct json_decoder *d, struct decode_column *column, uint32_t row, enum got got)
{
    column->vec.state[row] = EXPR_ERROR_TYPE;
    column->got = got;
    d->wrong_type = true;
}

static inline void set_i64(struct decode_column *column, uint32_t row, int64_t value)
{
    column->vec.i[row] = value;
    column->vec.state[row] = EXPR_OK;
}

/* A value of the column's type from text, by the rules of casts. */
static void set_text(struct json_decoder *d, struct kappa_text text, struct decode_column *column,
                     uint32_t row, enum got got)
{
    struct kappa_value value;
    enum expr_state state = value_parse(text, column->type, &d->base.texts, &value);
    if (state == EXPR_OK && column->type == KAPPA_TYPE_NUMERIC) {
        state = expr_numeric_fit(value.n, column->modifier, &value.n);
    }
    if (state == EXPR_OK) {
        expr_set(&column->vec, row, &value);
    } else {
        wrong(d, column, row, state == EXPR_ERROR_OVERFLOW ? GOT_RANGE : got);
    }
}

/* A JSON text of the record, from token k to the byte before `end`, into a jsonb column. */
static void take_document(struct json_decoder *d, uint32_t k, const uint8_t *end,
                          struct decode_column *column, uint32_t row)
{
    const uint8_t *first = d->walk.text + d->walk.at[k];
    struct kappa_text text = {(const char *)first, (uint32_t)(end - first)};
    enum expr_state state = jsonb_parse(text, &d->base.texts, &column->vec.s[row]);
    column->vec.state[row] = EXPR_OK;
    if (state != EXPR_OK) {
        wrong(d, column, row, state == EXPR_ERROR_CAST ? GOT_DOCUMENT : GOT_RANGE);
    }
}

/* A JSON array into an array column. */
static void take_list(struct json_decoder *d, uint32_t k, const uint8_t *end,
                      struct decode_column *column, uint32_t row)
{
    enum kappa_type element = kappa_type_element(column->type);
    const uint8_t *first = d->walk.text + d->walk.at[k];
    struct kappa_text text = {(const char *)first, (uint32_t)(end - first)};
    struct arena *memory = &d->base.texts;
    enum expr_state state = jsonb_parse(text, memory, &text);
    state = state != EXPR_OK ? state : array_from_json(text, element, memory, &column->vec.s[row]);
    column->vec.state[row] = EXPR_OK;
    if (state != EXPR_OK) {
        wrong(d, column, row, state == EXPR_ERROR_CAST ? GOT_ELEMENT : GOT_RANGE);
    }
}

/* The scalar k likewise. */
static void take_scalar(struct json_decoder *d, uint32_t k, struct decode_column *column,
                        uint32_t row)
{
    const uint8_t *end = d->walk.text + d->walk.at[k + 1];
    while (end[-1] == ' ' || end[-1] == '\n' || end[-1] == '\r' || end[-1] == '\t') {
        end--;
    }
    take_document(d, k, end, column, row);
}

/* A string of a column that is not text: kept apart, so that the usual case stays small. */
static __attribute__((noinline)) void take_other_string(struct json_decoder *d, uint32_t k,
                                                        struct kappa_text text,
                                                        struct decode_column *column, uint32_t row)
{
    if (column->type == KAPPA_TYPE_TIMESTAMPTZ) {
        int64_t us = 0;
        if (time_parse(text.bytes, text.len, &us)) {
            set_i64(column, row, us);
        } else {
            wrong(d, column, row, GOT_TIME);
        }
    } else if (column->type == KAPPA_TYPE_DATE || column->type == KAPPA_TYPE_TIMESTAMP) {
        set_text(d, text, column, row, GOT_TIME);
    } else if (column->type == KAPPA_TYPE_JSONB) {
        take_scalar(d, k, column, row);
    } else if (column->type == KAPPA_TYPE_NUMERIC ||
               (column->type > KAPPA_TYPE_TEXT && column->type < KAPPA_TYPE_COUNT)) {
        set_text(d, text, column, row,
                 column->type == KAPPA_TYPE_INTERVAL ? GOT_INTERVAL : GOT_UNREAD);
    } else {
        wrong(d, column, row, GOT_TEXT);
    }
}

static inline __attribute__((always_inline)) bool take_string(struct json_decoder *d, uint32_t k,
                                                              struct decode_column *column,
                                                              uint32_t row)
{
    struct kappa_text text;
    if (!string_value(d, k, &text)) {
        return false;
    }
    if (column->type == KAPPA_TYPE_TEXT) {
        column->vec.s[row] = text;
        column->vec.state[row] = EXPR_OK;
    } else {
        take_other_string(d, k, text, column, row);
    }
    return true;
}

static void take_integer(struct json_decoder *d, const struct json_number *number,
                         struct decode_column *column, uint32_t row)
{
    int64_t value = 0;
    int64_t most = column->type == KAPPA_TYPE_BIGINT    ? INT64_MAX
                   : column->type == KAPPA_TYPE_INTEGER ? INT32_MAX
                                                        : INT16_MAX;
    if (!number->integral) {
        wrong(d, column, row, GOT_FRACTION);
    } else if (!json_number_int(number, &value) || value > most || value < -most - 1) {
        wrong(d, column, row, GOT_RANGE);
    } else {
        set_i64(column, row, value);
    }
}

static void take_numeric(struct json_decoder *d, const struct json_number *number,
                         struct decode_column *column, uint32_t row)
{
    if (number->exact && number->exponent <= 0 && number->exponent >= -NUMERIC_SCALE_MAX &&
        column->modifier == 0) {
        int128 digits = (int128)number->digits;
        column->vec.n[row] =
            numeric_make(number->negative ? -digits : digits, (uint32_t)-number->exponent);
        column->vec.state[row] = EXPR_OK;
        return;
    }
    struct kappa_text text = {(const char *)number->start, (uint32_t)(number->end - number->start)};
    set_text(d, text, column, row, GOT_RANGE);
}

static void take_double(struct json_decoder *d, const struct json_number *number,
                        struct decode_column *column, uint32_t row)
{
    bool fits = true;
    if (column->type == KAPPA_TYPE_DOUBLE) {
        fits = json_number_double(number, &column->vec.d[row]);
    } else { /* rounded twice would be wrong */
        struct kappa_text text = {(const char *)number->start,
                                  (uint32_t)(number->end - number->start)};
        fits = expr_parse_real(text, &column->vec.d[row]) == EXPR_OK;
    }
    if (fits) {
        column->vec.state[row] = EXPR_OK;
    } else {
        wrong(d, column, row, GOT_RANGE);
    }
}

/* Days since 1970, as Debezium and Avro write dates. */
static void take_date(struct json_decoder *d, const struct json_number *number,
                      struct decode_column *column, uint32_t row)
{
    int64_t days = 0;
    if (!number->integral) {
        wrong(d, column, row, GOT_FRACTION);
    } else if (!json_number_int(number, &days) || days < -DAYS_MAX || days > DAYS_MAX) {
        wrong(d, column, row, GOT_RANGE);
    } else {
        set_i64(column, row, days);
    }
}

static inline __attribute__((always_inline)) void take_time(struct json_decoder *d,
                                                            const struct json_number *number,
                                                            struct decode_column *column,
                                                            uint32_t row)
{
    int64_t us = 0;
    if (!json_number_scaled(number, d->base.input->timestamp_unit_us_num,
                            d->base.input->timestamp_unit_us_den, &us) ||
        us < -DECODE_TIME_MAX || us > DECODE_TIME_MAX) {
        wrong(d, column, row, GOT_RANGE);
    } else {
        set_i64(column, row, us);
    }
}

/* A number of a column of another type than take_number knows, or out of its column's range. */
static __attribute__((noinline)) void take_other_number(struct json_decoder *d, uint32_t k,
                                                        const struct json_number *number,
                                                        struct decode_column *column, uint32_t row)
{
    switch ((unsigned)column->type) {
    case KAPPA_TYPE_DOUBLE:
    case KAPPA_TYPE_REAL:
        take_double(d, number, column, row);
        break;
    case KAPPA_TYPE_TIMESTAMP:
        take_time(d, number, column, row);
        break;
    case KAPPA_TYPE_DATE:
        take_date(d, number, column, row);
        break;
    case KAPPA_TYPE_SMALLINT:
    case KAPPA_TYPE_INTEGER:
    case KAPPA_TYPE_BIGINT:
        take_integer(d, number, column, row);
        break;
    case KAPPA_TYPE_NUMERIC:
        take_numeric(d, number, column, row);
        break;
    case KAPPA_TYPE_JSONB:
        take_scalar(d, k, column, row);
        break;
    default:
        wrong(d, column, row, GOT_NUMBER);
        break;
    }
}

static inline __attribute__((always_inline)) bool take_number(struct json_decoder *d, uint32_t k,
                                                              struct decode_column *column,
                                                              uint32_t row)
{
    struct json_number number;
    if (!json_number_scan(d->walk.text + d->walk.at[k], &number)) {
        return json_fail(&d->walk, k, "expected a value");
    }
    if (column->type == KAPPA_TYPE_DOUBLE && json_number_double(&number, &column->vec.d[row])) {
        column->vec.state[row] = EXPR_OK;
    } else if (column->type == KAPPA_TYPE_BIGINT && number.integral && number.exact &&
               number.digits <= INT64_MAX) {
        set_i64(column, row, number.negative ? -(int64_t)number.digits : (int64_t)number.digits);
    } else if (column->type == KAPPA_TYPE_TIMESTAMPTZ) {
        take_time(d, &number, column, row);
    } else {
        take_other_number(d, k, &number, column, row);
    }
    return true;
}

static bool take_literal(struct json_decoder *d, uint32_t k, struct decode_column *column,
                         uint32_t row)
{
    const uint8_t *p = d->walk.text + d->walk.at[k];
    if (json_is_null(p)) {
        column->vec.state[row] = EXPR_NULL;
        return true;
    }
    bool truth = json_is_true(p);
    if (!truth && !json_is_false(p)) {
        return json_fail(&d->walk, k, "expected a value");
    }
    if (column->type == KAPPA_TYPE_BOOLEAN) {
        set_i64(column, row, truth);
    } else if (column->type == KAPPA_TYPE_JSONB) {
        take_scalar(d, k, column, row);
    } else {
        wrong(d, column, row, GOT_BOOLEAN);
    }
    return true;
}

static __attribute__((noinline)) bool take_compound(struct json_decoder *d, uint32_t *k,
                                                    struct decode_column *column, uint32_t row,
                                                    uint32_t depth);

/* Reads the value at *k, which becomes the token behind it. column NULL: only checks. */
static inline __attribute__((always_inline)) bool take_value(struct json_decoder *d, uint32_t *k,
                                                             struct decode_column *column,
                                                             uint32_t row, uint32_t depth)
{
    uint8_t first = d->walk.text[d->walk.at[*k]];
    if (first == '{' || first == '[') {
        return column == NULL ? json_check_nested(&d->walk, k, depth + 1)
                              : take_compound(d, k, column, row, depth + 1);
    }
    uint32_t at = (*k)++;
    if (column == NULL) {
        return json_check_scalar(&d->walk, at);
    }
    if (first == '"') {
        return take_string(d, at, column, row);
    }
    if (first == 't' || first == 'f' || first == 'n') {
        return take_literal(d, at, column, row);
    }
    return take_number(d, at, column, row);
}

/* The members of the object at *at, which becomes the token behind it. depth: levels around it. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by the depth of renames
static inline __attribute__((always_inline)) bool take_members(struct json_decoder *d,
                                                               struct json_object *object,
                                                               uint32_t *at, uint32_t row,
                                                               uint32_t depth)
{
    uint32_t k = *at + 1;
    if (json_token(&d->walk, k) == '}') {
        *at = k + 1;
        return true;
    }
    for (uint32_t place = 0;; place++) {
        /* A name, a colon, a value and what follows: four tokens at least. */
        if (json_token(&d->walk, k) != '"') {
            return json_fail(&d->walk, k, "expected a name in quotes");
        }
        if (json_token(&d->walk, k + 1) != ':') {
            return json_fail(&d->walk, k + 1, "expected ':' behind a name");
        }
        if (k + 3 >= d->walk.count) {
            return json_fail(&d->walk, d->walk.count, "the object has no end");
        }
        const struct json_guess *guess = &object->guesses[place < GUESS_FIELDS ? place : 0];
        struct decode_column *column = guess->column;
        if ((place >= GUESS_FIELDS || !guess_hits(guess, d->walk.text + d->walk.at[k] + 1)) &&
            !learn_name(d, object, k, place, &column)) {
            return false;
        }
        k += 2;
        if (!take_value(d, &k, column, row, depth)) {
            return false;
        }
        uint8_t end = json_token(&d->walk, k++);
        if (end == '}') {
            *at = k;
            return true;
        }
        if (end != ',') {
            return json_fail(&d->walk, k - 1, "expected ',' or '}'");
        }
    }
}

/* An object or a list for a column: what a rename looks into, or of the wrong type. */
// NOLINTNEXTLINE(misc-no-recursion): bounded by the depth of renames
static __attribute__((noinline)) bool take_compound(struct json_decoder *d, uint32_t *k,
                                                    struct decode_column *column, uint32_t row,
                                                    uint32_t depth)
{
    bool object = json_token(&d->walk, *k) == '{';
    uint32_t first = *k;
    if (object && column->inside != NULL) {
        uint32_t inner = first;
        if (!take_members(d, column->inside, &inner, row, depth)) {
            return false;
        }
        if (column->type == KAPPA_TYPE_NULL) { /* nothing but looked into */
            *k = inner;
            return true;
        }
    }
    if (!json_check_nested(&d->walk, k, depth)) {
        return false;
    }
    if (column->type == KAPPA_TYPE_JSONB) {
        take_document(d, first, d->walk.text + d->walk.at[*k - 1] + 1, column, row);
    } else if (!object && kappa_type_is_array(column->type)) {
        take_list(d, first, d->walk.text + d->walk.at[*k - 1] + 1, column, row);
    } else {
        wrong(d, column, row, object ? GOT_OBJECT : GOT_ARRAY);
    }
    return true;
}

static bool check_type(struct json_decoder *d, const struct decode_column *column, uint32_t row)
{
    if (column->vec.state[row] != EXPR_ERROR_TYPE) {
        return true;
    }
    bool outer = column->type == KAPPA_TYPE_NULL;
    buf_printf(&d->base.reason, "%s \"%s\": expected %s, got %s", outer ? "field" : "column",
               column->name, outer ? "object" : decoder_type_name(column->type),
               got_words[column->got]);
    return false;
}

/* Of several columns of the wrong type the first declared is named. */
static bool check_types(struct json_decoder *d, uint32_t row)
{
    bool good = true; /* a duplicate with the right type may have come later */
    for (uint32_t c = 0; c < d->base.column_count && good; c++) {
        good = check_type(d, &d->base.columns[c], row);
    }
    for (uint32_t c = 0; c < d->outer_count; c++) {
        good = good && check_type(d, &d->outers[c], row);
        d->outers[c].vec.state[row] = EXPR_NULL;
    }
    return good;
}

static void malformed(struct json_decoder *d, const char *what)
{
    buf_printf(&d->base.reason, "malformed JSON: %s", what);
}

bool decode_json_fault(struct json_decoder *d)
{
    const struct json_walk *walk = &d->walk;
    if (walk->fault_token >= walk->count) {
        malformed(d, "the text ends too early: ");
        buf_append_text(&d->base.reason, walk->fault);
    } else {
        malformed(d, walk->fault);
        buf_printf(&d->base.reason, " at byte %u", walk->at[walk->fault_token]);
    }
    return false;
}

static inline __attribute__((always_inline)) bool begin(struct json_decoder *d,
                                                        const struct kappa_record *record)
{
    struct json_walk *walk = &d->walk;
    if (record->value_len > 0 && record->value[0] == 0) {
        malformed(d, "it begins with a zero byte (looks like Confluent framing)");
        return false;
    }
    walk->text = record->value;
    walk->fault = NULL;
    d->wrong_type = false;
    const char *bad =
        json_simd_index(d->simd, record->value, record->value_len, &walk->at, &walk->count);
    if (bad != NULL) {
        malformed(d, bad);
        return false;
    }
    walk->escapes = memchr(record->value, '\\', record->value_len) != NULL;
    return json_token(walk, 0) == '{' ||
           (json_fail(walk, 0, "expected an object"), decode_json_fault(d));
}

bool decode_json_begin(struct json_decoder *d, const struct kappa_record *record)
{
    return begin(d, record);
}

bool decode_json_columns(struct json_decoder *d, uint32_t *k, uint32_t row, uint32_t depth)
{
    return take_members(d, &d->top, k, row, depth) ? !d->wrong_type || check_types(d, row)
                                                   : decode_json_fault(d);
}

/* Apart from decode_json_columns, so that its loop is one function with a depth that is known. */
static enum decode_taken take_json(struct decoder *base, const struct kappa_record *record,
                                   uint32_t row)
{
    struct json_decoder *d = (struct json_decoder *)base;
    uint32_t k = 0;
    if (!begin(d, record)) {
        return DECODE_REFUSED;
    }
    if (!take_members(d, &d->top, &k, row, 0) ||
        (k != d->walk.count && !json_fail(&d->walk, k, "something follows the object"))) {
        (void)decode_json_fault(d);
        return DECODE_REFUSED;
    }
    return !d->wrong_type || check_types(d, row) ? DECODE_ROW : DECODE_REFUSED;
}

const struct decode_ops decode_json_ops = {
    .size = sizeof(struct json_decoder),
    .open = decode_json_open,
    .take = take_json,
    .close = decode_json_close,
};
