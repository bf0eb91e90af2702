/* What a scope holds: its end, its stamp, its tables and what they look like. Own header: inner.h and
 * include/kappa/reader.h. It is begun in open.c. */
#include "library/inner.h"

#include <stdlib.h>
#include <string.h>

int library_check_scope(const struct kappa_scope *scope, struct kappa_error *error)
{
    if (scope == NULL || scope->magic != LIBRARY_SCOPE_MAGIC) {
        return library_fail(error, KE_INVALID, "this is no open scope");
    }
    return library_check_fork(scope->generation, error);
}

int library_check_table(const struct kappa_table *table, struct kappa_error *error)
{
    if (table == NULL || table->magic != LIBRARY_TABLE_MAGIC) {
        return library_fail(error, KE_INVALID, "this is no table of an open scope");
    }
    return library_check_scope(table->scope, error);
}

void kappa_scope_end(struct kappa_scope *scope)
{
    if (library_check_scope(scope, NULL) != 0) {
        return; /* nothing, or a parent's */
    }
    struct kappa_reader *owner = scope->owner;
    while (scope->rows != NULL) {
        kappa_rows_close(scope->rows);
    }
    for (uint32_t i = 0; i < scope->reading.version->plan->view_count; i++) {
        struct kappa_table *table = &scope->tables[i];
        if (table->finisher != NULL) {
            reader_finisher_give(owner->reader, scope->reading.version, i, table->finisher);
        }
        table->magic = 0;
    }
    reader_end(owner->reader, &scope->reading);
    arena_free(&scope->memory);
    free(scope->cut);
    scope->magic = 0;
    free(scope);
    (void)__atomic_sub_fetch(&owner->scopes, 1, __ATOMIC_ACQ_REL);
}

int kappa_scope_stamp(struct kappa_scope *scope, struct kappa_stamp *out, struct kappa_error *error)
{
    int rc = library_check_scope(scope, error);
    if (rc != 0) {
        return rc;
    }
    if (out == NULL) {
        return library_fail(error, KE_INVALID, "a place for the stamp is needed");
    }
    const struct reader_version *version = scope->reading.version;
    if (scope->cut == NULL) {
        scope->cut = xcalloc(version->source_count, sizeof *scope->cut);
        for (uint32_t source = 0; source < version->source_count; source++) {
            scope->cut[source] = (struct kappa_position){
                .topic = version->sources[source].topic,
                .partition = version->sources[source].partition,
                .next = reader_source_next(version, scope->reading.snapshot, source),
            };
        }
    }
    *out = (struct kappa_stamp){
        .processor = version->processor,
        .version = version->number,
        .epoch = scope->reading.epoch,
        .cut = scope->cut,
        .cut_count = version->source_count,
    };
    return 0;
}

int kappa_scope_table(struct kappa_scope *scope, const char *name, struct kappa_table **out,
                      struct kappa_error *error)
{
    int rc = library_check_scope(scope, error);
    if (rc != 0) {
        return rc;
    }
    if (out == NULL) {
        return library_fail(error, KE_INVALID, "a place for the table is needed");
    }
    uint32_t index =
        name == NULL ? scope->reading.table : reader_version_table(scope->reading.version, name);
    if (index == PLAN_NONE) {
        return library_fail(error, KE_NOT_FOUND, "version %u of %s has no table %.200s",
                            scope->reading.version->number, scope->reading.version->processor,
                            name);
    }
    *out = &scope->tables[index];
    return 0;
}

/* ---- what a table looks like */

uint32_t library_key_columns(const struct plan_view *view)
{
    uint32_t count = view->kind == PLAN_APPEND ? 2 : 0;
    for (uint32_t i = 0; i < view->key_count; i++) {
        count += view->keys[i].role == PLAN_KEY_COLUMN ? 1 : 0;
    }
    return count;
}

bool library_keeps_several(const struct plan_view *view)
{
    return view->top != NULL && view->top->limit > 1;
}

struct kappa_column library_key_column(const struct plan_view *view, uint32_t i)
{
    if (view->kind == PLAN_APPEND) {
        return i == 0 ? (struct kappa_column){"partition", KAPPA_TYPE_INTEGER}
                      : (struct kappa_column){"offset", KAPPA_TYPE_BIGINT};
    }
    const struct plan_key *key = reader_key_column(view, i);
    return key != NULL ? (struct kappa_column){key->name, key->type}
                       : (struct kappa_column){"row_number", KAPPA_TYPE_BIGINT};
}

static uint32_t key_count_of(const struct plan_view *view)
{
    return library_key_columns(view) + (library_keeps_several(view) ? 1 : 0);
}

int kappa_table_describe(struct kappa_table *table, struct kappa_table_shape_info *out,
                         struct kappa_error *error)
{
    int rc = library_check_table(table, error);
    if (rc != 0) {
        return rc;
    }
    if (out == NULL) {
        return library_fail(error, KE_INVALID, "a place for the shape is needed");
    }
    const struct plan_view *view = table->view;
    *out = (struct kappa_table_shape_info){
        .name = view->shape.name,
        .kind = view->kind == PLAN_APPEND ? KAPPA_TABLE_ROWS
                : view->shape.windowed    ? KAPPA_TABLE_WINDOWS
                                          : KAPPA_TABLE_GROUPS,
        .column_count = view->output_count,
        .key_count = key_count_of(view),
    };
    return 0;
}

int kappa_table_column(struct kappa_table *table, uint32_t i, struct kappa_column *out,
                       struct kappa_error *error)
{
    int rc = library_check_table(table, error);
    if (rc != 0) {
        return rc;
    }
    if (out == NULL || i >= table->view->output_count) {
        return library_fail(error, KE_INVALID, "table %s has columns 0 to %u",
                            table->view->shape.name, table->view->output_count - 1);
    }
    *out = (struct kappa_column){table->view->outputs[i].name, table->view->outputs[i].type};
    return 0;
}

int kappa_table_key(struct kappa_table *table, uint32_t i, struct kappa_column *out,
                    struct kappa_error *error)
{
    int rc = library_check_table(table, error);
    if (rc != 0) {
        return rc;
    }
    if (out == NULL || i >= key_count_of(table->view)) {
        return library_fail(error, KE_INVALID, "a key of table %s has %u values",
                            table->view->shape.name, key_count_of(table->view));
    }
    *out = library_key_column(table->view, i);
    return 0;
}
