/* Rows by their keys. Own header: inner.h and include/kappa/reader.h. */
#include "library/inner.h"

#include <string.h>

/* One word for no time, in two headers. */
_Static_assert(KAPPA_NEWEST == KAPPA_NO_TIME, ""); // NOLINT(misc-redundant-expression)

/* 1 a row, 0 none, negative. */
static int get(struct kappa_table *table, const struct kappa_value *keys, uint32_t key_count,
               int64_t at_us, const struct kappa_value **row, struct err *err)
{
    struct kappa_scope *scope = table->scope;
    struct reader_read reading = scope->reading;
    uint8_t columns[LIMIT_TABLE_KEY_LEN];
    struct reader_key key;
    int rc = library_key(table->view, keys, key_count, columns, &key, err);
    if (rc != 0) {
        return rc;
    }
    if (table->finisher == NULL) {
        table->finisher = reader_finisher_take(scope->owner->reader, reading.version, table->index);
    }
    reading.table = table->index;
    key.at_us = at_us;
    return reader_row_find(&reading, table->finisher, &key, row, err);
}

int kappa_get(struct kappa_table *table, const struct kappa_value *keys, uint32_t key_count,
              int64_t at_us, const struct kappa_value **row, struct kappa_error *error)
{
    int rc = library_check_table(table, error);
    if (rc != 0) {
        return rc;
    }
    if (row == NULL) {
        return library_fail(error, KE_INVALID, "a place for the row is needed");
    }
    struct err reason;
    reason.code = 0;
    rc = get(table, keys, key_count, at_us, row, &reason);
    return library_result(rc, &reason, error);
}

int kappa_get_text(struct kappa_table *table, const char *const *keys, uint32_t key_count,
                   int64_t at_us, const struct kappa_value **row, struct kappa_error *error)
{
    struct kappa_value values[LIMIT_COLUMNS];
    if (key_count > LIMIT_COLUMNS || (keys == NULL && key_count > 0)) {
        return library_fail(error, KE_INVALID, "%u values are no key", key_count);
    }
    for (uint32_t i = 0; i < key_count; i++) {
        size_t len = keys[i] == NULL ? 0 : strlen(keys[i]);
        if (len > UINT32_MAX) {
            return library_fail(error, KE_INVALID, "a text is longer than a key may be");
        }
        values[i] = (struct kappa_value){
            .type = KAPPA_TYPE_TEXT, .is_null = keys[i] == NULL, .s = {keys[i], (uint32_t)len}};
    }
    return kappa_get(table, values, key_count, at_us, row, error);
}

/* A copy of the row that lives as long as the scope. */
static const struct kappa_value *keep(struct kappa_table *table, const struct kappa_value *row)
{
    struct arena *memory = &table->scope->memory;
    uint32_t count = table->view->output_count;
    struct kappa_value *copy = arena_alloc(memory, count * sizeof *copy);
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = row[i];
        if (!row[i].is_null && kappa_type_payload(row[i].type) == KAPPA_PAYLOAD_BYTES) {
            copy[i].s.bytes =
                arena_strndup(memory, row[i].s.len > 0 ? row[i].s.bytes : "", row[i].s.len);
        }
    }
    return copy;
}

int kappa_get_many(struct kappa_table *table, const struct kappa_value *keys, uint32_t key_count,
                   uint32_t count, int64_t at_us, const struct kappa_value **rows,
                   struct kappa_error *error)
{
    int rc = library_check_table(table, error);
    if (rc != 0) {
        return rc;
    }
    if (count > 0 && (rows == NULL || (keys == NULL && key_count > 0))) {
        return library_fail(error, KE_INVALID, "keys and a place for the rows are needed");
    }
    struct err reason;
    reason.code = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct kappa_value *row = NULL;
        const struct kappa_value *key = key_count == 0 ? NULL : keys + (size_t)i * key_count;
        rc = get(table, key, key_count, at_us, &row, &reason);
        if (rc < 0) {
            err_prefix(&reason, "key %u of %u", i + 1, count);
            memset(rows, 0, count * sizeof rows[0]); // NOLINT: pointers
            return library_result(rc, &reason, error);
        }
        ASSERT(rc == 0 || row != NULL);
        rows[i] = rc == 1 ? keep(table, row) : NULL;
    }
    return 0;
}
