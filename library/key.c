/* Keys as callers give them, checked and made the bytes that tables are sorted by. Own header: inner.h. */
#include "library/inner.h"

#include "processor/key_codec.h"
#include "processor/numeric.h"

#include <string.h>

bool library_value_is_sound(const struct kappa_value *value)
{
    unsigned type = (unsigned)value->type;
    unsigned element = type & ~(unsigned)KAPPA_TYPE_ARRAY;
    if (element >= KAPPA_TYPE_COUNT || (type != element && element == KAPPA_TYPE_NULL)) {
        return false;
    }
    if (value->is_null || type == KAPPA_TYPE_NULL) {
        return true;
    }
    enum kappa_payload payload = kappa_type_payload(value->type);
    if (payload == KAPPA_PAYLOAD_BYTES) {
        return value->s.bytes != NULL || value->s.len == 0;
    }
    if (payload == KAPPA_PAYLOAD_NUMERIC) {
        int128 c = numeric_coefficient(value->n);
        int128 bound = (int128)numeric_power10(NUMERIC_DIGITS);
        return value->n.scale <= NUMERIC_SCALE_MAX && c > -bound && c < bound;
    }
    return type != KAPPA_TYPE_DATE || (value->i >= INT32_MIN && value->i <= INT32_MAX);
}

static bool is_whole(enum kappa_type type)
{
    return type == KAPPA_TYPE_SMALLINT || type == KAPPA_TYPE_INTEGER || type == KAPPA_TYPE_BIGINT;
}

/* Text that is read as a person writes the type. */
static int from_text(const struct plan_key *key, const struct kappa_text *text,
                     struct arena *memory, struct kappa_value *out, struct err *err)
{
    const char *bytes = text->len > 0 ? text->bytes : "";
    if (text->len > LIMIT_TABLE_KEY_LEN || memchr(bytes, '\0', text->len) != NULL) {
        return err_set(err, KE_INVALID, "the text given for \"%s\" is no value of its type",
                       key->name);
    }
    const char *copy = arena_strndup(memory, bytes, text->len);
    return plan_key_value_from_text(key, copy, memory, out, err);
}

static int convert(const struct plan_key *key, const struct kappa_value *given,
                   struct arena *memory, struct kappa_value *out, struct err *err)
{
    if (given->is_null || given->type == KAPPA_TYPE_NULL) {
        *out = (struct kappa_value){.type = key->type, .is_null = true};
        return 0;
    }
    *out = *given;
    if (given->type == key->type || (is_whole(given->type) && is_whole(key->type))) {
        bool small =
            key->type == KAPPA_TYPE_SMALLINT && (given->i < INT16_MIN || given->i > INT16_MAX);
        bool middle =
            key->type == KAPPA_TYPE_INTEGER && (given->i < INT32_MIN || given->i > INT32_MAX);
        out->type = key->type;
        return small || middle ? err_set(err, KE_INVALID, "%lld is out of range for \"%s\"",
                                         (long long)given->i, key->name)
                               : 0;
    }
    if (given->type == KAPPA_TYPE_TEXT) {
        return from_text(key, &given->s, memory, out, err);
    }
    return err_set(err, KE_INVALID,
                   "the value given for \"%s\" is of another type (%d, not %d): give one of its "
                   "type, or text",
                   key->name, (int)given->type, (int)key->type);
}

int library_key_value(const struct plan_view *view, uint32_t column,
                      const struct kappa_value *given, struct arena *memory,
                      struct kappa_value *out, struct err *err)
{
    const struct plan_key *key = reader_key_column(view, column);
    if (key == NULL) {
        return err_set(err, KE_INVALID, "table %s has no key column so far", view->shape.name);
    }
    if (!library_value_is_sound(given)) {
        return err_set(err, KE_INVALID, "the value given for \"%s\" is none", key->name);
    }
    return convert(key, given, memory, out, err);
}

/* A whole number that is no column: partition, offset, number of a row. */
static int whole(const struct plan_view *view, uint32_t i, const struct kappa_value *given,
                 int64_t least, int64_t most, int64_t *out, struct err *err)
{
    const struct kappa_column column = library_key_column(view, i);
    const struct plan_key key = {.name = column.name, .type = KAPPA_TYPE_BIGINT};
    struct kappa_value value = {.is_null = true};
    struct arena memory;
    arena_init(&memory);
    int rc = library_value_is_sound(given) ? convert(&key, given, &memory, &value, err) : 0;
    arena_free(&memory);
    if (rc == 0 && (value.is_null || value.i < least || value.i > most)) {
        rc = err_set(err, KE_INVALID, "table %s: %s is a whole number from %lld to %lld",
                     view->shape.name, column.name, (long long)least, (long long)most);
    }
    *out = value.i;
    return rc;
}

static int append_key(const struct plan_view *view, const struct kappa_value *given,
                      uint8_t *columns, struct reader_key *out, struct err *err)
{
    int64_t partition = 0;
    int64_t offset = 0;
    int rc = whole(view, 0, &given[0], 0, LIMIT_SOURCES - 1, &partition, err);
    if (rc == 0) {
        rc = whole(view, 1, &given[1], 0, INT64_MAX, &offset, err);
    }
    out->partition = (uint32_t)partition;
    store_i64_sortable(columns, offset);
    out->len = sizeof offset;
    return rc;
}

static int group_key(const struct plan_view *view, const struct kappa_value *given, uint32_t count,
                     uint8_t *columns, struct reader_key *out, struct err *err)
{
    struct arena memory;
    arena_init(&memory);
    uint8_t *at = columns;
    int rc = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        struct kappa_value value;
        rc = library_key_value(view, i, &given[i], &memory, &value, err);
        at = rc == 0 ? key_put_value(at, columns + LIMIT_GROUP_KEY_LEN, &value) : at;
        if (at == NULL) {
            rc = err_set(err, KE_INVALID, "the key is longer than %d bytes", LIMIT_GROUP_KEY_LEN);
        }
    }
    out->len = rc == 0 ? (size_t)(at - columns) : 0;
    arena_free(&memory);
    return rc;
}

int library_key(const struct plan_view *view, const struct kappa_value *given, uint32_t count,
                uint8_t *columns, struct reader_key *out, struct err *err)
{
    uint32_t want = library_key_columns(view);
    bool several = library_keeps_several(view);
    *out = (struct reader_key){.columns = columns, .at_us = KAPPA_NO_TIME};
    if (count != want + (several ? 1 : 0) || (given == NULL && count > 0)) {
        return err_set(err, KE_INVALID, "a key of table %s has %u value%s, got %u",
                       view->shape.name, want + (several ? 1 : 0), want + several == 1 ? "" : "s",
                       given == NULL ? 0 : count);
    }
    if (view->kind == PLAN_APPEND) {
        return append_key(view, given, columns, out, err);
    }
    int64_t number = 1;
    int rc = several ? whole(view, want, &given[want], 1, view->top->limit, &number, err) : 0;
    out->number = (uint32_t)number - 1;
    return rc != 0 ? rc : group_key(view, given, want, columns, out, err);
}
