/* Own header: row_range.h. */
#include "serve/row_range.h"

#include "processor/key_codec.h"
#include "serve/routes_private.h"

#include <string.h>

void row_range_asked(const struct route_request *request, struct row_range *out)
{
    *out = (struct row_range){.from = route_query(request, "from"),
                              .below = route_query(request, "below"),
                              .prefix = route_query(request, "prefix"),
                              .since = route_query(request, "since"),
                              .until = route_query(request, "until"),
                              .at = route_query(request, "at")};
    for (uint32_t i = 0; i < request->query_count; i++) {
        if (strcmp(request->query[i].name, "key") == 0) {
            out->keys[out->key_count++] = request->query[i].value;
        }
    }
}

static int key_value(const struct plan_view *view, uint32_t column, const char *text,
                     struct reader_bounds *bounds, struct kappa_value *out, struct err *err)
{
    const struct plan_key *key = reader_key_column(view, column);
    if (key == NULL || view->kind == PLAN_APPEND) {
        int rc = err_set(err, KE_INVALID, "table %s has no key column %u to choose rows by",
                         view->shape.name, column + 1);
        err_hint(err, "POST /v1/sql has WHERE for everything else");
        return rc;
    }
    return plan_key_value_from_text(key, text, &bounds->memory, out, err);
}

bool row_range_is_all(const struct row_range *range)
{
    return range->key_count == 0 && range->from == NULL && range->below == NULL &&
           range->prefix == NULL && range->since == NULL && range->until == NULL &&
           range->at == NULL;
}

/* Windows that begin by then and end later. */
static int window_at(const struct row_range *asked, const struct plan_view *view,
                     struct reader_range *range, struct err *err)
{
    int64_t us = 0;
    if (asked->since != NULL || asked->until != NULL) {
        return err_set(err, KE_INVALID,
                       "at is for windows that hold a time, without since and "
                       "until");
    }
    if (view->window == PLAN_WINDOW_SESSION) {
        int rc = err_set(err, KE_INVALID,
                         "table %s has sessions: a scan of those that hold a time "
                         "would look at each",
                         view->shape.name);
        err_hint(err, "choose by since and until, by which sessions end; or get one by its key and "
                      "at");
        return rc;
    }
    int rc = route_time(asked->at, &us, err);
    if (rc == 0) {
        range->window_least = us + 1;
        if (__builtin_add_overflow(us, view->window_us, &range->window_most)) {
            range->window_most = INT64_MAX;
        }
    }
    return rc;
}

static int window_bounds(const struct row_range *asked, const struct plan_view *view,
                         struct reader_range *range, struct err *err)
{
    int64_t us = 0;
    int rc = 0;
    if (asked->since == NULL && asked->until == NULL && asked->at == NULL) {
        return 0;
    }
    if (!view->shape.windowed) {
        return err_set(err, KE_INVALID, "table %s has no windows: it takes no %s", view->shape.name,
                       asked->at != NULL ? "at" : "since and until");
    }
    if (asked->at != NULL) {
        return window_at(asked, view, range, err);
    }
    if (asked->since != NULL) {
        rc = route_time(asked->since, &us, err);
        range->window_least = us + 1;
    }
    if (rc == 0 && asked->until != NULL) {
        rc = route_time(asked->until, &us, err);
        range->window_most = us;
    }
    return rc;
}

int row_range_bounds(const struct row_range *asked, const struct plan_view *view,
                     struct reader_bounds *bounds, struct err *err)
{
    struct reader_range *range = &bounds->range;
    struct kappa_value values[2];
    const struct kappa_value *set[2] = {NULL, NULL};
    const char *const texts[2] = {asked->from, asked->below};
    int rc = 0;
    for (uint32_t i = 0; i < asked->key_count && rc == 0; i++) {
        rc = key_value(view, range->key_count, asked->keys[i], bounds,
                       &bounds->keys[range->key_count], err);
        range->key_count += rc == 0 ? 1 : 0;
    }
    for (uint32_t i = 0; i < 2 && rc == 0; i++) {
        if (texts[i] != NULL) {
            rc = key_value(view, range->key_count, texts[i], bounds, &values[i], err);
            set[i] = &values[i];
        }
    }
    const char *prefix = asked->prefix;
    struct kappa_text text = {.bytes = prefix,
                              .len = prefix == NULL ? 0 : (uint32_t)strlen(prefix)};
    if (rc == 0) {
        rc = reader_bounds_set(view, bounds, set[0], set[1], prefix == NULL ? NULL : &text, err);
    }
    return rc == 0 ? window_bounds(asked, view, range, err) : rc;
}
