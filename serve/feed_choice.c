/* Which rows a feed tells of, as it was asked for and as a version understands it. Own header:
 * feed_inner.h.
 *
 * The rows of a choice are a table of their own to who follows it: a row that comes to be in it is an
 * upsert, one that ceases to be a delete. Keys bound what is read; a condition is asked of each row. */
#include "serve/feed_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *keep(const char *text)
{
    return text == NULL ? NULL : xstrdup(text);
}

static void name_add(struct buf *name, const char *what, const char *value)
{
    if (value != NULL) {
        buf_printf(name, " %s %zu %s", what, strlen(value), value);
    }
}

void feed_choice_make(const struct feed_ask *ask, struct feed_choice *out)
{
    struct row_range *range = &out->range;
    struct buf name = {0};
    buf_append_text(&name, ask->table);
    *out = (struct feed_choice){0};
    if (ask->range != NULL) {
        *range = *ask->range;
    }
    for (uint32_t i = 0; i < range->key_count; i++) {
        name_add(&name, "key", range->keys[i]);
        range->keys[i] = xstrdup(range->keys[i]);
    }
    name_add(&name, "from", range->from);
    name_add(&name, "below", range->below);
    name_add(&name, "prefix", range->prefix);
    name_add(&name, "since", range->since);
    name_add(&name, "until", range->until);
    name_add(&name, "at", range->at);
    out->bounded = name.len > strlen(ask->table);
    name_add(&name, "where", ask->where);
    range->from = keep(range->from);
    range->below = keep(range->below);
    range->prefix = keep(range->prefix);
    range->since = keep(range->since);
    range->until = keep(range->until);
    range->at = keep(range->at);
    out->where = ask->where == NULL ? NULL : xstrdup(ask->where);
    out->name = xstrdup(buf_text(&name));
    out->name_len = int_from(strlen(ask->table));
    buf_free(&name);
}

static void drop(const char *text)
{
    free((char *)(uintptr_t)text);
}

void feed_choice_free(struct feed_choice *choice)
{
    struct row_range *range = &choice->range;
    for (uint32_t i = 0; i < range->key_count; i++) {
        drop(range->keys[i]);
    }
    drop(range->from);
    drop(range->below);
    drop(range->prefix);
    drop(range->since);
    drop(range->until);
    drop(range->at);
    free(choice->where);
    free(choice->name);
    *choice = (struct feed_choice){0};
}

/* Of a view all rows are followed, if any. */
static int view_takes(const struct feed_choice *choice, const struct reader_read *reading,
                      struct err *err)
{
    char table[LIMIT_NAME_LEN + 1];
    (void)snprintf(table, sizeof table, "%.*s", choice->name_len, choice->name);
    if (choice->bounded || choice->where != NULL) {
        int rc = err_set(err, KE_REFUSED, "%s is a view: all of its rows are followed", table);
        err_hint(err, "choose in the view's text, or follow a table that it reads");
        return rc;
    }
    return feed_view_check(table, reading, err);
}

int feed_sieve_open(const struct feed_choice *choice, const struct reader_read *reading,
                    struct feed_sieve *out, struct err *err)
{
    int rc = 0;
    *out = (struct feed_sieve){.version = reading->version->number};
    (void)snprintf(out->processor, sizeof out->processor, "%s", reading->version->processor);
    if (reading->table == PLAN_NONE) {
        return view_takes(choice, reading, err);
    }
    const struct plan_view *view = &reading->version->plan->views[reading->table];
    if (choice->bounded) {
        out->bounds = xcalloc(1, sizeof *out->bounds);
        reader_bounds_init(out->bounds);
        rc = row_range_bounds(&choice->range, view, out->bounds, err);
    }
    if (rc == 0 && choice->where != NULL) {
        rc = row_filter_open(view, choice->where, &out->filter, err);
    }
    if (rc != 0) {
        feed_sieve_close(out);
    }
    return rc;
}

void feed_sieve_close(struct feed_sieve *sieve)
{
    if (sieve->bounds != NULL) {
        reader_bounds_free(sieve->bounds);
        free(sieve->bounds);
    }
    row_filter_close(sieve->filter);
    *sieve = (struct feed_sieve){0};
}

int feed_sieve_side(const struct feed_sieve *sieve, struct reader *reader,
                    const struct feed_point *point, struct reader_side *side, struct err *err)
{
    const struct reader_range *range = sieve->bounds == NULL ? NULL : &sieve->bounds->range;
    return reader_side_open(reader, &point->reading, range, side, err);
}

int feed_sieve_next(const struct feed_sieve *sieve, struct reader_side *side, struct err *err)
{
    int holds = 0;
    int rc;
    while ((rc = reader_side_next(side, err)) == 1 && sieve->filter != NULL) {
        holds = row_filter_holds(sieve->filter, side->values, err);
        if (holds < 0) {
            err_hint(err, "it needs a value for each row: a / nullif(b, 0)");
            return holds;
        }
        if (holds == 1) {
            break;
        }
    }
    return rc;
}
