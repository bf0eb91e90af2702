/* Tables as SQLite sees them: eponymous virtual tables, one module a name, read-only.
 *
 * The plan of a scan travels as text, two characters for each argument of xFilter:
 *     'k' n   column n of the key equals it          'n' n   the same, null equals null
 *     'e' op  window end = < > l(e) g(e) it          's' op  the same of the window start
 * A bound that cannot be kept exactly is left out: SQLite looks at every condition again. Own header:
 * query_private.h. */
#include "serve/query_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WINDOWS_GUESSED 16.0 /* windows of a table, for costs */
#define SEEK_COST       4.0  /* of a jump, in rows read */
#define PLAN_MAX        128  /* characters of a plan */

struct query_vtab {
    sqlite3_vtab base;
    struct query_table *table; /* NULL once the name is bound otherwise */
};

struct query_cursor {
    sqlite3_vtab_cursor base;
    struct reader_cursor *rows;
    const struct kappa_value *values;
    bool at_end;
};

/* ---- failing */

static int fail(struct query *query, sqlite3_vtab *vtab, const struct err *err)
{
    if (query->err.code == 0) {
        query->err = *err;
    }
    sqlite3_free(vtab->zErrMsg);
    vtab->zErrMsg = sqlite3_mprintf("%s", err->text);
    return SQLITE_ERROR;
}

static struct query_table *table_of(sqlite3_vtab *vtab)
{
    struct query_vtab *own = (struct query_vtab *)vtab;
    ASSERT(own->table != NULL);
    return own->table;
}

/* ---- connecting */

static int vtab_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
                        sqlite3_vtab **out, char **text)
{
    (void)argc;
    (void)argv;
    struct query_table *table = aux;
    if (!table->bound) {
        *text = sqlite3_mprintf("no such table: %s", table->name);
        return SQLITE_ERROR;
    }
    bool guarded = table->query->guarded;
    table->query->guarded = false; /* this CREATE TABLE is ours */
    int rc = sqlite3_declare_vtab(db, table->schema);
    table->query->guarded = guarded;
    if (rc != SQLITE_OK) {
        *text = sqlite3_mprintf("%s: %s", table->name, sqlite3_errmsg(db));
        return rc;
    }
    struct query_vtab *vtab = xcalloc(1, sizeof *vtab);
    vtab->table = table;
    (void)sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS);
    *out = &vtab->base;
    return SQLITE_OK;
}

static int vtab_disconnect(sqlite3_vtab *vtab)
{
    free(vtab);
    return SQLITE_OK;
}

/* ---- planning */

/* What the conditions of a statement offer. */
struct offer {
    int key[LIMIT_COLUMNS];  /* constraint that gives column n of the key, or -1 */
    int least, most, window; /* constraints on the window: lower, upper, equal; or -1 */
    uint32_t key_count;      /* leading columns of the key that are given */
};

static bool collation_fits(sqlite3_index_info *info, int constraint, enum kappa_type type)
{
    const char *collation = sqlite3_vtab_collation(info, constraint);
    if (type == KAPPA_TYPE_TEXT) {
        return strcmp(collation, "BINARY") == 0;
    }
    return type != KAPPA_TYPE_TIMESTAMPTZ || sqlite3_stricmp(collation, QUERY_COLLATION) == 0;
}

static void offer_one(const struct query_table *table, sqlite3_index_info *info, int i,
                      struct offer *offer)
{
    const struct sqlite3_index_constraint *c = &info->aConstraint[i];
    if (c->usable == 0 || c->iColumn < 0 || (uint32_t)c->iColumn >= table->view->output_count ||
        !collation_fits(info, i, table->view->outputs[c->iColumn].type)) {
        return;
    }
    enum query_role role = (enum query_role)table->roles[c->iColumn];
    bool equal = c->op == SQLITE_INDEX_CONSTRAINT_EQ;
    if (role == QUERY_ROLE_KEY) {
        if (equal || c->op == SQLITE_INDEX_CONSTRAINT_IS ||
            c->op == SQLITE_INDEX_CONSTRAINT_ISNULL) {
            offer->key[table->keys[c->iColumn]] = i;
        }
    } else if (role != QUERY_ROLE_NONE) {
        if (equal) {
            offer->window = i;
        } else if (c->op == SQLITE_INDEX_CONSTRAINT_GT || c->op == SQLITE_INDEX_CONSTRAINT_GE) {
            offer->least = i;
        } else if (c->op == SQLITE_INDEX_CONSTRAINT_LT || c->op == SQLITE_INDEX_CONSTRAINT_LE) {
            offer->most = i;
        }
    }
}

static void offers_read(const struct query_table *table, sqlite3_index_info *info,
                        struct offer *offer)
{
    *offer = (struct offer){.least = -1, .most = -1, .window = -1};
    for (size_t k = 0; k < array_len(offer->key); k++) {
        offer->key[k] = -1;
    }
    for (int i = 0; i < info->nConstraint; i++) {
        offer_one(table, info, i, offer);
    }
    while (offer->key_count < table->key_count && offer->key[offer->key_count] >= 0) {
        offer->key_count++;
    }
}

static void plan_add(char *plan, int *count, sqlite3_index_info *info, int constraint, char kind,
                     char what)
{
    plan[2 * (size_t)*count] = kind;
    plan[2 * (size_t)*count + 1] = what;
    info->aConstraintUsage[constraint].argvIndex = ++*count;
}

static void plan_window(const struct query_table *table, char *plan, int *count,
                        sqlite3_index_info *info, int constraint)
{
    const struct sqlite3_index_constraint *c = &info->aConstraint[constraint];

    static const struct {
        unsigned char op;
        char letter;
    } letters[] = {{SQLITE_INDEX_CONSTRAINT_EQ, '='},
                   {SQLITE_INDEX_CONSTRAINT_LT, '<'},
                   {SQLITE_INDEX_CONSTRAINT_GT, '>'},
                   {SQLITE_INDEX_CONSTRAINT_LE, 'l'},
                   {SQLITE_INDEX_CONSTRAINT_GE, 'g'}};

    size_t i = 0;
    while (letters[i].op != c->op) {
        i++;
        ASSERT(i < array_len(letters));
    }
    bool start = table->roles[c->iColumn] == QUERY_ROLE_START;
    plan_add(plan, count, info, constraint, start ? 's' : 'e', letters[i].letter);
}

static int plan_write(const struct query_table *table, const struct offer *offer,
                      sqlite3_index_info *info)
{
    char plan[PLAN_MAX] = "";
    int count = 0;
    for (uint32_t k = 0; k < offer->key_count && 2 * k + 8 < sizeof plan; k++) {
        bool plain = info->aConstraint[offer->key[k]].op == SQLITE_INDEX_CONSTRAINT_EQ;
        plan_add(plan, &count, info, offer->key[k], plain ? 'k' : 'n', (char)('0' + k));
    }
    if (offer->window >= 0) {
        plan_window(table, plan, &count, info, offer->window);
    } else {
        if (offer->least >= 0) {
            plan_window(table, plan, &count, info, offer->least);
        }
        if (offer->most >= 0) {
            plan_window(table, plan, &count, info, offer->most);
        }
    }
    info->idxStr = sqlite3_mprintf("%.*s", 2 * count, plan);
    info->needToFreeIdxStr = 1;
    return info->idxStr == NULL ? SQLITE_NOMEM : SQLITE_OK;
}

static void costs(const struct query_table *table, const struct offer *offer, double entries,
                  sqlite3_index_info *info)
{
    bool windowed = table->view->shape.windowed;
    bool whole_key = offer->key_count == table->key_count && table->view->kind == PLAN_GROUP;
    double rows = entries < 1 ? 1 : entries;
    double windows = !windowed                               ? 1
                     : offer->window >= 0                    ? 1
                     : offer->least >= 0 && offer->most >= 0 ? WINDOWS_GUESSED / 4
                     : offer->least >= 0 || offer->most >= 0 ? WINDOWS_GUESSED / 2
                                                             : WINDOWS_GUESSED;
    double in_window = windowed ? rows / WINDOWS_GUESSED : rows;
    for (uint32_t k = 0; k < offer->key_count; k++) {
        in_window /= k == 0 ? 100 : 10;
    }
    in_window = whole_key || in_window < 1 ? 1 : in_window;
    rows = windows * in_window < rows ? windows * in_window : rows;
    info->estimatedRows = (sqlite3_int64)rows + (whole_key && windows == 1 ? 0 : 1);
    info->estimatedCost = rows + SEEK_COST * (offer->key_count > 0 ? 2 * windows : 1);
    bool one = table->view->top == NULL || table->view->top->limit == 1;
    if (whole_key && windows == 1 && one) {
        info->idxFlags = SQLITE_INDEX_SCAN_UNIQUE;
    }
}

/* Rows come by window end, then by the columns of the key, nulls last; SQLite wants nulls first. So
 * an exact order is kept only where there are no nulls, in windows; a grouping in any order where
 * the columns are the leading ones. */
static bool order_is_ours(const struct query_table *table, sqlite3_index_info *info)
{
    uint64_t keys = 0;
    bool windowed = table->view->shape.windowed;
    bool window = false;
    bool exact = sqlite3_vtab_distinct(info) == 0;
    if (info->nOrderBy == 0 || table->key_count > 60) {
        return false;
    }
    for (int i = 0; i < info->nOrderBy; i++) {
        int column = info->aOrderBy[i].iColumn;
        if (column < 0 || (uint32_t)column >= table->view->output_count) {
            return false;
        }
        enum query_role role = (enum query_role)table->roles[column];
        if (role == QUERY_ROLE_NONE || (exact && info->aOrderBy[i].desc != 0)) {
            return false;
        }
        if (role == QUERY_ROLE_KEY) {
            keys |= UINT64_C(1) << table->keys[column];
        } else {
            window = true;
        }
    }
    bool leading = (keys & (keys + 1)) == 0;
    return exact ? keys == 0 && window : leading && window == windowed;
}

static int vtab_best(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    struct query_table *table = table_of(vtab);
    struct query *query = table->query;
    ASSERT(table->bound);
    struct offer offer;
    offers_read(table, info, &offer);
    uint64_t entries = 0;
    if (table->pin != PLAN_NONE) {
        query->used[table->pin] = true;
        entries = view_entries(query->pins.reads[table->pin].snapshot, table->table);
    }
    costs(table, &offer, (double)entries, info);
    info->orderByConsumed = order_is_ours(table, info) ? 1 : 0;
    return plan_write(table, &offer, info);
}

/* ---- scanning */

static int cursor_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **out)
{
    (void)vtab;
    struct query_cursor *cursor = xcalloc(1, sizeof *cursor);
    *out = &cursor->base;
    return SQLITE_OK;
}

static int cursor_close(sqlite3_vtab_cursor *base)
{
    struct query_cursor *cursor = (struct query_cursor *)base;
    reader_cursor_close(cursor->rows);
    free(cursor);
    return SQLITE_OK;
}

/* Narrows the windows by a bound on their end or start. */
static void window_bound(const struct query_table *table, char kind, char op, sqlite3_value *value,
                         struct reader_range *range)
{
    struct kappa_value time;
    int64_t end = 0;
    int64_t shift = kind == 's' ? table->view->window_us : 0;
    if (query_key_value(KAPPA_TYPE_TIMESTAMPTZ, value, &time) != QUERY_MATCH_VALUE ||
        __builtin_add_overflow(time.i, shift, &end) || end == INT64_MAX || end == INT64_MIN) {
        return;
    }
    int64_t least = op == '>' ? end + 1 : end;
    int64_t most = op == '<' ? end - 1 : end;
    if (op != '<' && op != 'l') {
        range->window_least = i64_max(range->window_least, least);
    }
    if (op != '>' && op != 'g') {
        range->window_most = i64_min(range->window_most, most);
    }
}

static enum kappa_type key_type(const struct plan_view *view, uint32_t column)
{
    for (uint32_t i = 0; i < view->key_count; i++) {
        if (view->keys[i].role == PLAN_KEY_COLUMN && column-- == 0) {
            return view->keys[i].type;
        }
    }
    return KAPPA_TYPE_NULL;
}

/* False: no row can be meant. */
static bool range_read(const struct query_table *table, const char *plan, sqlite3_value **argv,
                       struct kappa_value *keys, struct reader_range *range)
{
    bool leading = true; /* all columns of the key so far are bounds */
    for (size_t i = 0; plan[2 * i] != '\0'; i++) {
        char kind = plan[2 * i];
        char what = plan[2 * i + 1];
        bool is_null = sqlite3_value_type(argv[i]) == SQLITE_NULL;
        if (is_null && kind != 'n') {
            return false;
        }
        if (kind != 'k' && kind != 'n') {
            window_bound(table, kind, what, argv[i], range);
            continue;
        }
        uint32_t column = (uint32_t)(what - '0');
        struct kappa_value *key = &keys[column];
        enum query_match match = query_key_value(key_type(table->view, column), argv[i], key);
        if (is_null) {
            key->is_null = true;
            match = QUERY_MATCH_VALUE;
        }
        if (match == QUERY_MATCH_NEVER) {
            return false;
        }
        leading = leading && match == QUERY_MATCH_VALUE;
        range->key_count += leading ? 1 : 0;
    }
    return true;
}

static int cursor_next(sqlite3_vtab_cursor *base)
{
    struct query_cursor *cursor = (struct query_cursor *)base;
    struct query *query = table_of(base->pVtab)->query;
    struct err err = {0};
    if (query_is_over(query)) {
        return SQLITE_INTERRUPT;
    }
    int rc = reader_cursor_next(cursor->rows, &cursor->values, &err);
    cursor->at_end = rc != 1;
    return rc < 0 ? fail(query, base->pVtab, &err) : SQLITE_OK;
}

static int cursor_filter(sqlite3_vtab_cursor *base, int number, const char *plan, int argc,
                         sqlite3_value **argv)
{
    (void)number;
    (void)argc;
    struct query_cursor *cursor = (struct query_cursor *)base;
    struct query_table *table = table_of(base->pVtab);
    struct query *query = table->query;
    struct kappa_value keys[PLAN_MAX / 2];
    struct reader_range range = {.window_least = INT64_MIN, .window_most = INT64_MAX, .keys = keys};
    struct err err = {0};
    ASSERT(table->bound);
    ASSERT(table->pin != PLAN_NONE);
    reader_cursor_close(cursor->rows);
    cursor->rows = NULL;
    cursor->at_end = true;
    if (!range_read(table, plan == NULL ? "" : plan, argv, keys, &range)) {
        return SQLITE_OK;
    }
    struct reader_read reading = query->pins.reads[table->pin];
    reading.table = table->table;
    int rc = reader_cursor_open(query->reader, &reading, &range, &cursor->rows, &err);
    return rc < 0 ? fail(query, base->pVtab, &err) : cursor_next(base);
}

static int cursor_eof(sqlite3_vtab_cursor *base)
{
    return ((struct query_cursor *)base)->at_end;
}

/* The hidden column that tells rows apart. */
static void result_key(const struct query_cursor *cursor, sqlite3_context *context)
{
    uint8_t bytes[KAPPA_KEY_SOURCE_BYTES + LIMIT_TABLE_KEY_LEN];
    uint32_t source = 0;
    const uint8_t *key = NULL;
    size_t len = 0;
    reader_cursor_key(cursor->rows, &source, &key, &len);
    store_u16_be(bytes, u16_from(source));
    memcpy(bytes + KAPPA_KEY_SOURCE_BYTES, key, len);
    sqlite3_result_blob64(context, bytes, KAPPA_KEY_SOURCE_BYTES + len, SQLITE_TRANSIENT);
}

static int cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column)
{
    const struct query_cursor *cursor = (const struct query_cursor *)base;
    struct query_table *table = table_of(base->pVtab);
    if ((uint32_t)column < table->view->output_count) {
        const struct kappa_value *value = &cursor->values[column];
        if (value->type == KAPPA_TYPE_NUMERIC && !value->is_null) {
            query_scale_note(&table->scales[column], value->n);
        }
        query_result_value(table->query, context, value);
    } else {
        result_key(cursor, context);
    }
    return SQLITE_OK;
}

static int cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid)
{
    (void)base;
    *rowid = 0;
    return SQLITE_ERROR; /* tables are WITHOUT ROWID */
}

static const sqlite3_module module = {
    .iVersion = 0,
    .xConnect = vtab_connect, /* no xCreate: eponymous only */
    .xBestIndex = vtab_best,
    .xDisconnect = vtab_disconnect,
    .xOpen = cursor_open,
    .xClose = cursor_close,
    .xFilter = cursor_filter,
    .xNext = cursor_next,
    .xEof = cursor_eof,
    .xColumn = cursor_column,
    .xRowid = cursor_rowid,
};

/* ---- binding names */

static void append_name(struct buf *out, const char *name)
{
    buf_append_u8(out, '"');
    for (; *name != '\0'; name++) {
        buf_append_text(out, *name == '"' ? "\"\"" : (char[]){*name, '\0'});
    }
    buf_append_u8(out, '"');
}

static char *schema_make(const struct plan_view *view)
{
    struct buf text = {0};
    buf_append_text(&text, "CREATE TABLE x(");
    for (uint32_t i = 0; i < view->output_count; i++) {
        append_name(&text, view->outputs[i].name);
        buf_printf(&text, " %s, ", query_type_declared(view->outputs[i].type));
    }
    /* Never null, so that no condition on a column of the key is taken for always false. */
    buf_append_text(&text, "kappa_key BLOB HIDDEN PRIMARY KEY) WITHOUT ROWID");
    char *schema = xstrdup(buf_text(&text));
    buf_free(&text);
    return schema;
}

/* Which outputs are plainly columns of the key: the final program's inputs are the keys in order. */
static void roles_read(struct query_table *table)
{
    const struct plan_view *view = table->view;
    uint8_t columns[LIMIT_COLUMNS];
    table->key_count = 0;
    for (uint32_t k = 0; k < view->key_count; k++) {
        columns[k] = (uint8_t)table->key_count;
        table->key_count += view->keys[k].role == PLAN_KEY_COLUMN ? 1 : 0;
    }
    for (uint32_t i = 0; i < view->output_count; i++) {
        uint32_t k = view->outputs[i].reg;
        table->roles[i] = QUERY_ROLE_NONE;
        if (view->kind != PLAN_GROUP || k >= view->key_count) {
            continue;
        }
        enum plan_key_role role = view->keys[k].role;
        if (role == PLAN_KEY_COLUMN) {
            table->roles[i] = QUERY_ROLE_KEY;
            table->keys[i] = columns[k];
        } else if (view->shape.windowed) {
            /* The start of a session is not known from its end. */
            bool start = role == PLAN_KEY_WINDOW_START;
            bool session = view->window == PLAN_WINDOW_SESSION;
            table->roles[i] = !start    ? QUERY_ROLE_END
                              : session ? QUERY_ROLE_NONE
                                        : QUERY_ROLE_START;
        }
    }
}

static void table_free(void *ctx)
{
    struct query_table *table = ctx;
    struct query_table **at = &table->query->tables;
    while (*at != table) {
        at = &(*at)->next;
    }
    *at = table->next;
    free(table->schema);
    free(table);
}

static struct query_table *table_find(const struct query *query, const char *name)
{
    struct query_table *table = query->tables;
    while (table != NULL && strcmp(table->name, name) != 0) {
        table = table->next;
    }
    return table;
}

int query_table_bind(struct query *query, const char *name, uint32_t pin, const struct plan *plan,
                     uint32_t table_index)
{
    const struct plan_view *view = &plan->views[table_index];
    struct query_table *table = table_find(query, name);
    char *schema = schema_make(view);
    int rc = SQLITE_OK;
    ASSERT_CMP(strlen(name), <, sizeof table->name);
    if (table == NULL || strcmp(table->schema, schema) != 0) {
        struct query_table *made = xcalloc(1, sizeof *made);
        made->query = query;
        memcpy(made->name, name, strlen(name) + 1);
        made->schema = schema;
        made->next = query->tables;
        query->tables = made;
        /* Frees what had the name before; and the new one if it fails. */
        rc = sqlite3_create_module_v2(query->db, name, &module, made, table_free);
        table = made;
    } else {
        free(schema);
    }
    if (rc == SQLITE_OK) {
        table->bound = true;
        table->pin = pin;
        table->table = table_index;
        table->view = view;
        roles_read(table);
        memset(table->scales, QUERY_SCALE_UNSEEN, sizeof table->scales);
    }
    return rc;
}

const uint8_t *query_table_scale(const struct query *query, const char *table, const char *column)
{
    const struct query_table *found = table == NULL ? NULL : table_find(query, table);
    if (found == NULL || !found->bound || column == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < found->view->output_count; i++) {
        if (strcmp(found->view->outputs[i].name, column) == 0) {
            return &found->scales[i];
        }
    }
    return NULL;
}

void query_tables_unbind(struct query *query)
{
    for (struct query_table *table = query->tables; table != NULL; table = table->next) {
        table->bound = false;
        table->view = NULL;
    }
}
