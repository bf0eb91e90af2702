/* Names of a statement: which tables and views they are, of which version. Own header:
 * query_private.h.
 *
 * A view of a definition reads the tables of the same version. Under its plain name it is created as
 * written. As "v@2" it is
 *
 *     WITH "t" AS (SELECT * FROM "t@2") SELECT * FROM (the text)
 *
 * so that the names in the text mean the tables of version 2. */
#include "serve/query_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "totals@2" -> totals, 2; false when there is no version in it. */
static bool versioned(char *name, uint32_t *version)
{
    char *at = strrchr(name, '@');
    if (at == NULL || at == name || !reader_version_parse(at + 1, strlen(at + 1), version)) {
        return false;
    }
    *at = '\0';
    return true;
}

static uint32_t table_in(const struct plan *plan, const char *name)
{
    for (uint32_t i = 0; i < plan->view_count; i++) {
        if (strcmp(plan->views[i].shape.name, name) == 0) {
            return i;
        }
    }
    return PLAN_NONE;
}

/* Has the version a table or view of this name? */
static bool is_named(const struct query *query, const char *name, uint32_t version)
{
    char processor[LIMIT_NAME_LEN + 1];
    if (query->at != NULL) {
        const struct plan *plan = query->at->version->plan;
        return table_in(plan, name) != PLAN_NONE || reader_view_find(plan, name) != NULL;
    }
    return strlen(name) <= LIMIT_NAME_LEN &&
           reader_processor_of(query->reader, name, version == READER_CANDIDATE ? 0 : version,
                               processor, NULL) == 0;
}

int query_names_add(struct query *query, const char *text, size_t len, uint32_t version,
                    struct err *err)
{
    char name[QUERY_NAME_LEN];
    for (size_t at = 0;;) {
        struct query_token token = query_token_next(text, len, &at);
        if (token.kind == QUERY_TOKEN_END) {
            return 0;
        }
        if (!query_token_name(&token, name, sizeof name)) {
            continue;
        }
        uint32_t wanted = 0;
        int rc = 0;
        if (token.kind == QUERY_TOKEN_QUOTED && versioned(name, &wanted)) {
            rc = reader_pins_add(&query->pins, name, wanted, err);
        } else if (version == 0) {
            rc = reader_pins_add(&query->pins, name, 0, err);
        } else {
            /* Any word may be a column: only what is a table is read at the version. */
            rc = is_named(query, name, version) ? reader_pins_add(&query->pins, name, version, err)
                                                : 0;
        }
        if (rc < 0) {
            return rc;
        }
    }
}

/* What a name is under: as it is, or with a version behind it. */
struct binding {
    struct query *query;
    const struct plan *plan;
    uint32_t pin;
    uint32_t version; /* 0: plain names */
    uint32_t depth;
};

static int bind_name(const struct binding *binding, const char *name, struct err *err);

static void known_as(const struct binding *binding, const char *name, char *out)
{
    if (binding->version == 0) {
        (void)snprintf(out, QUERY_NAME_LEN, "%s", name);
    } else if (binding->version == READER_CANDIDATE) {
        (void)snprintf(out, QUERY_NAME_LEN, "%.*s@" READER_CANDIDATE_WORD, LIMIT_NAME_LEN, name);
    } else {
        (void)snprintf(out, QUERY_NAME_LEN, "%.*s@%u", LIMIT_NAME_LEN, name, binding->version);
    }
}

/* Binds what the text of a view names; the WITH that gives plain names to them is appended. */
// NOLINTNEXTLINE(misc-no-recursion): views read views, at most LIMIT_VIEWS deep
static int bind_names_of(const struct binding *binding, const char *text, struct buf *with,
                         struct err *err)
{
    char name[QUERY_NAME_LEN];
    char known[QUERY_NAME_LEN];
    struct binding inner = *binding;
    inner.depth++;
    bool done[2 * LIMIT_VIEWS] = {false};
    for (size_t at = 0;;) {
        struct query_token token = query_token_next(text, strlen(text), &at);
        if (token.kind == QUERY_TOKEN_END) {
            return 0;
        }
        if (!query_token_name(&token, name, sizeof name)) {
            continue;
        }
        uint32_t index = table_in(binding->plan, name);
        const struct plan_read_view *view = reader_view_find(binding->plan, name);
        if (index == PLAN_NONE && view == NULL) {
            continue;
        }
        index = view == NULL ? index : LIMIT_VIEWS + (uint32_t)(view - binding->plan->read_views);
        if (done[index]) {
            continue;
        }
        done[index] = true;
        int rc = bind_name(&inner, name, err);
        if (rc < 0) {
            return rc;
        }
        if (binding->version != 0) {
            known_as(binding, name, known);
            buf_printf(with, "%s \"%s\" AS (SELECT * FROM \"%s\")", with->len == 0 ? "WITH" : ",",
                       name, known);
        }
    }
}

static bool is_created(const struct query *query, const char *name)
{
    for (uint32_t i = 0; i < query->view_count; i++) {
        if (strcmp(query->views[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* The error of a view's text, at its place in the definition. */
static int view_error(const struct binding *binding, const struct plan_read_view *view,
                      struct err *err)
{
    err_prefix(err, "view %s of %s", view->name,
               binding->pin == PLAN_NONE
                   ? "the definition"
                   : binding->query->pins.reads[binding->pin].version->processor);
    return err == NULL ? -KE_SQL : err->code;
}

// NOLINTNEXTLINE(misc-no-recursion): views read views, at most LIMIT_VIEWS deep
static int create_view(const struct binding *binding, const struct plan_read_view *view,
                       const char *known, struct err *err)
{
    struct query *query = binding->query;
    struct buf with = {0};
    struct query_text text = {0};
    if (binding->depth > LIMIT_VIEWS) {
        return err_set(err, KE_SQL, "view %s reads itself", view->name);
    }
    int rc = bind_names_of(binding, view->query, &with, err);
    if (rc == 0) {
        rc = query_translate(&text, view->query, strlen(view->query), NULL, err);
    }
    if (rc == 0) {
        const char *select = buf_text(&text.out);
        char *create = with.len == 0 ? xasprintf("CREATE TEMP VIEW \"%s\" AS %s", known, select)
                                     : xasprintf("CREATE TEMP VIEW \"%s\" AS %s SELECT * FROM (%s)",
                                                 known, buf_text(&with), select);
        rc = query_exec(query, create, err);
        free(create);
    }
    if (rc < 0) {
        rc = view_error(binding, view, err);
    } else {
        ASSERT_CMP(query->view_count, <, array_len(query->views));
        (void)snprintf(query->views[query->view_count++], QUERY_NAME_LEN, "%s", known);
    }
    query_text_free(&text);
    buf_free(&with);
    return rc;
}

/* A table or view of the plan becomes known to SQLite. */
// NOLINTNEXTLINE(misc-no-recursion): views read views, at most LIMIT_VIEWS deep
static int bind_name(const struct binding *binding, const char *name, struct err *err)
{
    struct query *query = binding->query;
    char known[QUERY_NAME_LEN];
    known_as(binding, name, known);
    uint32_t table = table_in(binding->plan, name);
    if (table != PLAN_NONE) {
        int rc = query_table_bind(query, known, binding->pin, binding->plan, table);
        return rc == SQLITE_OK
                   ? 0
                   : err_set(err, KE_INTERNAL, "table %s: %s", name, sqlite3_errmsg(query->db));
    }
    const struct plan_read_view *view = reader_view_find(binding->plan, name);
    if (view == NULL || is_created(query, known)) {
        return 0; /* a version may lack what another has: SQLite says so */
    }
    if (query->view_count == LIMIT_VIEWS) {
        return err_set(err, KE_LIMIT, "more than %d views in one statement", LIMIT_VIEWS);
    }
    return create_view(binding, view, known, err);
}

int query_names_bind(struct query *query, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < query->pins.name_count && rc == 0; i++) {
        const struct reader_name *name = &query->pins.names[i];
        if (name->pin != PLAN_NONE) {
            struct binding binding = {
                .query = query,
                .plan = query->pins.reads[name->pin].version->plan,
                .pin = name->pin,
                .version = query->version == name->version ? 0 : name->version,
            };
            rc = bind_name(&binding, name->name, err);
        }
    }
    return rc;
}

int query_plan_bind(struct query *query, const struct plan *plan, struct err *err)
{
    struct binding binding = {.query = query, .plan = plan, .pin = PLAN_NONE};
    int rc = 0;
    for (uint32_t i = 0; i < plan->view_count && rc == 0; i++) {
        rc = bind_name(&binding, plan->views[i].shape.name, err);
    }
    for (uint32_t i = 0; i < plan->read_view_count && rc == 0; i++) {
        rc = bind_name(&binding, plan->read_views[i].name, err);
    }
    return rc;
}

/* The view's text by itself, so that an error has its place. */
static int check_view(struct query *query, const struct plan *plan, const char *file,
                      const struct plan_read_view *view, struct err *err)
{
    struct query_origin origin = {
        .file = file, .text = plan->text, .len = strlen(plan->text), .place = view->place};
    struct query_text text = {0};
    sqlite3_stmt *statement = NULL;
    query->guarded = true;
    int rc = query_translate(&text, view->query, strlen(view->query), &origin, err);
    if (rc == 0) {
        rc = query_prepare(query, &text, &statement, err);
    }
    (void)sqlite3_finalize(statement);
    query->guarded = false;
    query_text_free(&text);
    return rc;
}

int query_check_views(const struct plan *plan, const char *file, struct err *err)
{
    struct query *query = NULL;
    if (plan->read_view_count == 0) {
        return 0;
    }
    int rc = query_open(NULL, &query, err);
    if (rc < 0) {
        return rc;
    }
    struct binding binding = {.query = query, .plan = plan, .pin = PLAN_NONE};
    for (uint32_t i = 0; i < plan->view_count && rc == 0; i++) {
        rc = bind_name(&binding, plan->views[i].shape.name, err);
    }
    for (uint32_t i = 0; i < plan->read_view_count && rc == 0; i++) {
        rc = check_view(query, plan, file, &plan->read_views[i], err);
        if (rc == 0) {
            rc = bind_name(&binding, plan->read_views[i].name, err);
        }
    }
    query_names_drop(query);
    query_close(query);
    return rc;
}

void query_names_drop(struct query *query)
{
    while (query->view_count > 0) {
        char *drop = xasprintf("DROP VIEW temp.\"%s\"", query->views[--query->view_count]);
        int rc = query_exec(query, drop, NULL);
        ASSERT_CMP(rc, ==, 0);
        free(drop);
    }
    query_tables_unbind(query);
}
