/* Views (CREATE VIEW) as feeds see them. Own header: feed_inner.h.
 *
 * A view is a statement: which of its rows a commit changes is known only by running it. So it is run at
 * each point, as of the point's snapshot, and its rows are kept as texts, sorted by (key, row): what
 * differs between two points is a merge. That is exact for every view whose rows are a function of its
 * tables; one that asks for the time or for chance is refused, as are more rows than
 * FEED_VIEW_BYTES hold, and a run of more than FEED_VIEW_US.
 *
 * The key of a row: the key columns of the first table that the view reads, and the window's end, when it
 * gives them all out under their names; else all of its values. Rows beyond the first of one key (joins,
 * UNION ALL) have a number more at its end, from 2. */
#include "serve/feed_inner.h"
#include "serve/query.h"
#include "serve/reader_pins.h"

#include <stdlib.h>
#include <string.h>

struct view_row {
    const char *key; /* JSON: a list */
    const char *row; /* JSON: an object */
};

struct feed_view {
    struct arena memory;
    struct view_row *rows;
    uint32_t count;
    uint32_t capacity;
    size_t bytes;
    char *shape; /* the names of its key and of its columns */
};

/* ---- reading it */

/* The name of a feed's table by itself. */
static int plain_name(const char *table, char *plain, uint32_t *version, struct err *err)
{
    *version = 0;
    return reader_name_split(table, plain, version, err);
}

int feed_view_begin(struct reader *reader, const char *table, struct reader_read *out,
                    struct err *err)
{
    char plain[LIMIT_NAME_LEN + 1];
    uint32_t version = 0;
    int rc = plain_name(table, plain, &version, err);
    if (rc != 0) {
        return rc;
    }
    struct reader_pins *pins = xcalloc(1, sizeof *pins);
    reader_pins_init(pins, reader);
    rc = reader_pins_add(pins, plain, version, err);
    rc = rc == 0 ? reader_pins_begin(pins, err) : rc;
    if (rc == 0 && pins->read_count == 0) {
        rc = reader_table_not_served(reader, plain, err);
    } else if (rc == 0) {
        *out = pins->reads[0]; /* it is the caller's now */
        out->table = PLAN_NONE;
        pins->read_count = 0;
    }
    reader_pins_end(pins);
    free(pins);
    return rc;
}

int feed_view_check(const char *table, const struct reader_read *reading, struct err *err)
{
    char plain[LIMIT_NAME_LEN + 1];
    uint32_t version = 0;
    int rc = plain_name(table, plain, &version, err);
    if (rc == 0 && query_view_drifts(reading->version->plan, plain)) {
        rc = err_set(err, KE_REFUSED,
                     "the rows of view %s change with the time or by chance, also when no record "
                     "comes: they cannot be followed",
                     plain);
        err_hint(err, "follow a table that it reads, or a view that asks for neither");
    }
    return rc;
}

struct taking {
    struct feed_view *view;
    json_t *key; /* names; set by query_view_at */
    struct buf text;
    bool too_many;
};

/* Of the first row: its names, which are those of all. */
static void shape_of(struct taking *taking, const json_t *row)
{
    const char *name;
    json_t *value;
    json_write(&taking->text, taking->key);
    json_object_foreach ((json_t *)(uintptr_t)row, name, value) {
        buf_printf(&taking->text, " %s", name);
    }
    taking->view->shape = xstrdup(buf_text(&taking->text));
    buf_reset(&taking->text);
}

static json_t *key_of(const struct taking *taking, const json_t *row)
{
    json_t *list = json_array();
    const char *name;
    json_t *value;
    size_t i;
    json_array_foreach (taking->key, i, value) {
        json_t *part = json_object_get(row, json_string_value(value));
        ASSERT(json_array_append(list, part) == 0);
    }
    if (json_is_null(taking->key)) {
        json_object_foreach ((json_t *)(uintptr_t)row, name, value) {
            ASSERT(json_array_append(list, value) == 0);
        }
    }
    return list;
}

static const char *keep_json(struct taking *taking, const json_t *value)
{
    buf_reset(&taking->text);
    json_write(&taking->text, value);
    taking->view->bytes += taking->text.len + sizeof(struct view_row);
    return arena_strndup(&taking->view->memory, buf_text(&taking->text), taking->text.len);
}

static bool take_row(void *ctx, const json_t *row)
{
    struct taking *taking = ctx;
    struct feed_view *view = taking->view;
    if (view->shape == NULL) {
        shape_of(taking, row);
    }
    if (view->count == view->capacity) {
        view->capacity = view->capacity == 0 ? 64 : view->capacity * 2;
        view->rows = xrealloc(view->rows, view->capacity * sizeof *view->rows);
    }
    json_t *key = key_of(taking, row);
    struct view_row *kept = &view->rows[view->count++];
    kept->key = keep_json(taking, key);
    kept->row = keep_json(taking, row);
    json_decref(key);
    taking->too_many = view->bytes > FEED_VIEW_BYTES;
    return !taking->too_many;
}

static int row_order(const void *a, const void *b)
{
    const struct view_row *one = a;
    const struct view_row *two = b;
    int order = strcmp(one->key, two->key);
    return order != 0 ? order : strcmp(one->row, two->row);
}

/* Rows beyond the first of one key get a number. */
static void number_rows(struct feed_view *view)
{
    const char *first = NULL;
    uint32_t number = 1;
    bool any = false;
    qsort(view->rows, view->count, sizeof *view->rows, row_order);
    for (uint32_t i = 0; i < view->count; i++) {
        const char *key = view->rows[i].key;
        if (first == NULL || strcmp(first, key) != 0) {
            first = key;
            number = 1;
            continue;
        }
        size_t len = strlen(key) - 1; /* without its bracket */
        const char *comma = len > 1 ? "," : "";
        view->rows[i].key =
            arena_printf(&view->memory, "%.*s%s%u]", (int)len, key, comma, ++number);
        any = true;
    }
    if (any) {
        qsort(view->rows, view->count, sizeof *view->rows, row_order);
    }
}

int feed_view_read(struct feed *feed, struct feed_point *point, struct err *err)
{
    char plain[LIMIT_NAME_LEN + 1];
    uint32_t version = 0;
    int rc = plain_name(feed->table, plain, &version, err);
    if (rc == 0 && feed->query == NULL) {
        rc = query_open(feed->feeds->reader, &feed->query, err);
    }
    if (rc != 0) {
        return rc;
    }
    struct feed_view *view = xcalloc(1, sizeof *view);
    struct taking taking = {.view = view};
    arena_init(&view->memory);
    rc = query_view_at(feed->query, plain, &point->reading, &taking.key, take_row, &taking,
                       feed->feeds->view_us, &feed->feeds->closing, err);
    if (rc == -KE_TIMEOUT) {
        rc = err_set(err, KE_REFUSED, "view %s takes more than %d s to run: it cannot be followed",
                     plain, FEED_VIEW_US / 1000000);
        err_hint(err, "follow the tables that it reads");
    }
    if (rc == 0 && taking.too_many) {
        rc =
            err_set(err, KE_REFUSED, "view %s has more rows than can be followed: more than %u MiB",
                    plain, FEED_VIEW_BYTES >> 20);
        err_hint(err, "follow the tables that it reads");
    }
    json_decref(taking.key);
    buf_free(&taking.text);
    if (rc != 0) {
        feed_view_free(view);
        return rc;
    }
    if (view->count > 1) {
        number_rows(view);
    }
    point->view = view;
    return 0;
}

void feed_view_free(struct feed_view *view)
{
    if (view != NULL) {
        arena_free(&view->memory);
        free(view->rows);
        free(view->shape);
        free(view);
    }
}

/* ---- telling of it */

bool feed_view_match(const struct feed_view *a, const struct feed_view *b)
{
    return a->shape == NULL || b->shape == NULL || strcmp(a->shape, b->shape) == 0;
}

static void put_upsert(struct buf *out, const struct view_row *row)
{
    buf_printf(out, "event: upsert\ndata: {\"key\":%s,\"row\":%s}\n\n", row->key, row->row);
}

static void put_delete(struct buf *out, const struct view_row *row)
{
    buf_printf(out, "event: delete\ndata: {\"key\":%s}\n\n", row->key);
}

int feed_view_compare(const struct feed_view *a, const struct feed_view *b, struct feed_step *step)
{
    uint32_t i = 0;
    uint32_t k = 0;
    while (i < a->count || k < b->count) {
        int order = i == a->count ? 1 : k == b->count ? -1 : strcmp(a->rows[i].key, b->rows[k].key);
        if (order < 0) {
            put_delete(&step->text, &a->rows[i]);
        } else if (order > 0 || strcmp(a->rows[i].row, b->rows[k].row) != 0) {
            put_upsert(&step->text, &b->rows[k]);
        }
        i += order <= 0 ? 1 : 0;
        k += order >= 0 ? 1 : 0;
        if (step->text.len >= FEED_PIECE_BYTES) {
            feed_step_cut(step, "");
        }
        if (step->bytes > FEED_STEP_BYTES) {
            return 0;
        }
    }
    return 1;
}

int feed_view_list(const struct feed_view *view, struct route_answer *out, struct err *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < view->count && rc == 0; i++) {
        put_upsert(&out->body, &view->rows[i]);
        rc = route_answer_spill(out, err);
    }
    return rc;
}
