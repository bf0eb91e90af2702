/* Views of definitions read like tables, all rows; and what is known of one by its text. Rows by their
 * key: query_rows.c. Own header: query.h.
 *
 * Reading one is a statement, so that a view behaves the same way wherever it is read. */
#include "serve/query_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The version that a name is read from, and the name without it; 0, or negative. Give it back. */
static int version_of(struct reader *reader, const char *text, uint32_t version, char *name,
                      struct reader_version **out, struct err *err)
{
    char processor[LIMIT_NAME_LEN + 1];
    struct catalog_pointer pointer = {0};
    int rc = reader_name_split(text, name, &version, err);
    if (rc == 0) {
        rc = version != 0 ? reader_version_resolve(reader, name, &version, processor, err)
                          : catalog_pointer_get(reader->catalog, name, &pointer, err);
    }
    if (rc != 0) {
        return rc;
    }
    return version != 0 ? reader_version_take(reader, processor, version, out, err)
                        : reader_version_take(reader, pointer.processor, pointer.version, out, err);
}

bool query_is_view(struct reader *reader, const char *name, uint32_t version)
{
    char plain[LIMIT_NAME_LEN + 1];
    struct reader_version *found = NULL;
    if (version_of(reader, name, version, plain, &found, NULL) != 0) {
        return false;
    }
    bool is_view = reader_view_find(found->plan, plain) != NULL;
    reader_version_give(reader, found);
    return is_view;
}

/* Is this token a word for what changes by itself? behind: the text after it. */
static bool token_drifts(const struct query_token *token, const char *behind)
{
    static const struct {
        const char *word;
        const char *signs; /* that make it that */
    } words[] = {
        {"CURRENT_TIMESTAMP", ""}, {"CURRENT_DATE", ""}, {"CURRENT_TIME", ""}, {"NOW", "("},
        {"RANDOM", "("},           {"RANDOMBLOB", "("},  {"DATE", "()"},       {"TIME", "()"},
        {"DATETIME", "()"},        {"JULIANDAY", "()"},  {"UNIXEPOCH", "()"},
    };

    for (size_t i = 0; i < array_len(words); i++) {
        bool same = query_token_is(token, words[i].word);
        size_t at = 0;
        for (const char *sign = words[i].signs; same && *sign != '\0'; sign++) {
            struct query_token next = query_token_next(behind, strlen(behind), &at);
            same = next.len == 1 && next.text[0] == *sign;
        }
        if (same) {
            return true;
        }
    }
    return token->kind == QUERY_TOKEN_STRING && token->len == 5 &&
           strncasecmp(token->text, "'now'", 5) == 0;
}

bool query_view_drifts(const struct plan *plan, const char *view)
{
    char name[QUERY_NAME_LEN];
    const struct plan_read_view *seen[LIMIT_VIEWS];
    uint32_t count = 0;
    const struct plan_read_view *first = reader_view_find(plan, view);
    seen[count++] = first;
    for (uint32_t i = 0; first != NULL && i < count; i++) {
        const char *text = seen[i]->query;
        for (size_t at = 0;;) {
            struct query_token token = query_token_next(text, strlen(text), &at);
            if (token.kind == QUERY_TOKEN_END) {
                break;
            }
            if (token_drifts(&token, text + at)) {
                return true;
            }
            const struct plan_read_view *inner =
                query_token_name(&token, name, sizeof name) ? reader_view_find(plan, name) : NULL;
            bool known = inner == NULL || count == array_len(seen);
            for (uint32_t k = 0; k < count; k++) {
                known = known || seen[k] == inner;
            }
            if (!known) {
                seen[count++] = inner;
            }
        }
    }
    return false;
}

/* ---- all rows */

/* Rows as they are given on. */
struct objects {
    struct query_row *row;
    bool (*give)(void *ctx, const json_t *row);
    void *ctx;
};

static void take_columns(void *ctx, const struct query_column *columns, uint32_t count)
{
    query_row_columns(((struct objects *)ctx)->row, columns, count);
}

static bool take_row(void *ctx, const struct query_value *values, uint32_t count)
{
    struct objects *objects = ctx;
    ASSERT_CMP(count, ==, objects->row->shape.output_count);
    query_row_set(objects->row, values);
    json_t *json = reader_row_json(&objects->row->shape, objects->row->values);
    bool more = objects->give(objects->ctx, json);
    json_decref(json);
    return more;
}

/* SELECT * FROM the view, with these options. */
static int run_all(struct query *query, const char *view, const struct query_options *options,
                   bool (*give)(void *ctx, const json_t *row), void *ctx,
                   struct query_result *result, struct err *err)
{
    struct query_row row;
    query_row_init(&row);
    struct objects objects = {.row = &row, .give = give, .ctx = ctx};
    struct query_sink sink = {.ctx = &objects, .columns = take_columns, .row = take_row};
    char *select = xasprintf("SELECT * FROM \"%s\"", view);
    int rc = query_run(query, select, strlen(select), options, &sink, result, err);
    free(select);
    query_row_free(&row);
    return rc;
}

int query_view_scan(struct query *query, const char *view, uint32_t version, int64_t limit,
                    bool (*row)(void *ctx, const json_t *row), void *ctx, const bool *stop,
                    struct reader_stamp *stamp, struct err *err)
{
    struct query_result result = {0};
    struct query_options options = {.rows_max = limit, .stop = stop, .version = version};
    int rc = run_all(query, view, &options, row, ctx, &result, err);
    if (rc == 0) {
        const json_t *from = json_array_get(result.stamps, 0);
        *stamp = (struct reader_stamp){
            .version = (uint32_t)json_int(from, "version", 0),
            .epoch = (uint64_t)json_int(from, "epoch", 0),
            .cut = json_incref(json_object_get(from, "cut")),
        };
        (void)snprintf(stamp->processor, sizeof stamp->processor, "%s",
                       json_text(from, "processor", ""));
        bool complete = json_object_get(from, "complete_since") == NULL;
        (void)snprintf(stamp->since, sizeof stamp->since, "%s",
                       complete ? "" : json_text(from, "complete_since", "unknown"));
    }
    json_decref(result.stamps);
    return rc;
}

/* The columns of its key, when they name a row of its first table. */
static json_t *key_names(const struct query_view_key *key)
{
    json_t *names = key->whole ? json_array() : json_null();
    for (uint32_t i = 0; key->whole && i < key->count; i++) {
        ASSERT(json_array_append_new(names, json_string(key->names[i])) == 0);
    }
    if (key->whole && key->end != NULL) {
        ASSERT(json_array_append_new(names, json_string(key->end)) == 0);
    }
    return names;
}

int query_view_at(struct query *query, const char *view, const struct reader_read *reading,
                  json_t **key, bool (*row)(void *ctx, const json_t *row), void *ctx,
                  int64_t timeout_us, const bool *stop, struct err *err)
{
    const struct plan *plan = reading->version->plan;
    const struct plan_read_view *found = reader_view_find(plan, view);
    struct query_view_key columns = {0};
    struct query_row row_names;
    if (found == NULL) {
        return err_set(err, KE_NOT_FOUND, "version %u of %s has no view %s",
                       reading->version->number, reading->version->processor, view);
    }
    query_row_init(&row_names);
    int rc = query_view_key_read(query, plan, found, &columns, &row_names, err);
    query_row_free(&row_names);
    if (rc < 0) {
        return rc;
    }
    *key = key_names(&columns);
    struct query_result result = {0};
    struct query_options options = {.rows_max = -1,
                                    .timeout_us = timeout_us,
                                    .stop = stop,
                                    .version = reading->version->number,
                                    .at = reading};
    rc = run_all(query, view, &options, row, ctx, &result, err);
    json_decref(result.stamps);
    return rc;
}
