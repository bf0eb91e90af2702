/* Which version a read sees, and as of when. Own header: reader.h; rows: reader_row.c,
 * reader_scan.c.
 *
 * A serving read, step by step:
 *
 *     pointer(table) -> version, epoch
 *     take the version: open from before, or opened now
 *     snapshot
 *     pointer(table) again: same epoch -> the snapshot was begun while this version served, before
 *         anything beyond the cut of a swap was readable in it: go on. Another epoch -> begin anew.
 *
 * A swap in between costs another round, never an error. Rounds that follow one another quickly are
 * slowed down; only a version that cannot be opened ends them.
 */
#include "serve/reader_inner.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS_QUICK  4        /* without waiting in between */
#define ROUND_WAIT_NS 1000000  /* then so much */
#define ROUNDS_MAX_US 30000000 /* a pointer that moves for so long is a fault elsewhere */

int reader_open(const char *data_dir, struct reader **out, struct err *err)
{
    struct reader *reader = xcalloc(1, sizeof *reader);
    reader->magic = READER_MAGIC;
    reader->data_dir = xstrdup(data_dir);
    ASSERT(pthread_mutex_init(&reader->lock, NULL) == 0);
    ASSERT(pthread_mutex_init(&reader->opening, NULL) == 0);
    char *dir = xasprintf("%s/catalog", data_dir);
    int rc = catalog_open(dir, false, &reader->catalog, err);
    free(dir);
    if (rc == -KE_NOT_FOUND) {
        rc = err_set(err, KE_NOT_FOUND, "%s is not the data directory of a kappa: no catalog in it",
                     data_dir);
        err_hint(err, "`kappa up --data %s` makes one", data_dir);
    }
    if (rc != 0) {
        reader_close(reader);
        return rc;
    }
    *out = reader;
    return 0;
}

void reader_close(struct reader *reader)
{
    if (reader == NULL) {
        return;
    }
    MAGIC_ASSERT(reader, READER_MAGIC);
    reader_versions_close(reader);
    catalog_close(reader->catalog);
    (void)pthread_mutex_destroy(&reader->lock);
    (void)pthread_mutex_destroy(&reader->opening);
    reader->magic = 0;
    free(reader->data_dir);
    free(reader);
}

/* ---- which version, as of when */

void reader_end(struct reader *reader, struct reader_read *reading)
{
    view_snapshot_end(reading->snapshot);
    reader_version_give(reader, reading->version);
}

const struct plan_read_view *reader_view_find(const struct plan *plan, const char *name)
{
    for (uint32_t i = 0; i < plan->read_view_count; i++) {
        if (strcmp(plan->read_views[i].name, name) == 0) {
            return &plan->read_views[i];
        }
    }
    return NULL;
}

int reader_view_refused(const char *view, struct err *err)
{
    int rc = err_set(err, KE_REFUSED, "%s is a view: it is read by a statement", view);
    err_hint(err, "kappa sql 'SELECT * FROM %s'", view);
    return rc;
}

/* The snapshot of a version that is at hand; gives the version back when it fails. */
static int snapshot_of(struct reader *reader, const char *table, struct reader_read *reading,
                       struct err *err)
{
    reading->table = reader_version_table(reading->version, table);
    int rc;
    if (reading->table == PLAN_NONE && reader_view_find(reading->version->plan, table) == NULL) {
        rc = err_set(err, KE_NOT_FOUND, "version %u of %s has no table %s",
                     reading->version->number, reading->version->processor, table);
        err_hint(err, "if it is a view over tables, ask by SQL: SELECT * FROM %s", table);
    } else {
        rc = view_snapshot_begin(reading->version->view, &reading->snapshot, err);
    }
    if (rc != 0) {
        reader_version_give(reader, reading->version);
    }
    return rc;
}

static int named_begin(struct reader *reader, const char *table, uint32_t number,
                       struct reader_read *reading, struct err *err)
{
    char processor[LIMIT_NAME_LEN + 1];
    int rc = reader_version_resolve(reader, table, &number, processor, err);
    if (rc == 0) {
        rc = reader_version_take(reader, processor, number, &reading->version, err);
    }
    if (rc == 0) {
        rc = snapshot_of(reader, table, reading, err);
    }
    if (rc == 0) {
        reading->epoch = reader_epoch(reader, processor);
    }
    return rc;
}

/* One round: 1 the reading stands, 0 the pointer moved, negative. */
static int serving_round(struct reader *reader, const char *table, struct reader_read *reading,
                         struct err *err)
{
    struct catalog_pointer before;
    struct catalog_pointer after;
    int rc = catalog_pointer_find(reader->catalog, table, &before, err);
    if (rc != 1) {
        return rc < 0 ? rc : reader_table_not_served(reader, table, err);
    }
    if (reader->between != NULL) {
        reader->between(reader->between_ctx);
    }
    struct err reason; /* large: not cleared for each read */
    int taken = reader_version_take_serving(reader, before.processor, before.version, before.epoch,
                                            &reading->version, &reason);
    if (taken == 0) {
        taken = snapshot_of(reader, table, reading, &reason);
    }
    rc = catalog_pointer_find(reader->catalog, table, &after, err);
    bool same = rc == 1 && catalog_pointer_same(&before, &after);
    if (taken != 0) {
        /* It may have been retired and dropped since the first look: then there is another one. */
        if (same && err != NULL) {
            *err = reason;
        }
        return rc < 0 ? rc : same ? taken : 0;
    }
    reading->epoch = before.epoch;
    reading->canary = before.canary;
    if (!same) {
        reader_end(reader, reading);
    }
    return rc < 0 ? rc : same ? 1 : 0;
}

static int serving_begin(struct reader *reader, const char *table, struct reader_read *reading,
                         struct err *err)
{
    int64_t until = 0; /* mostly nobody asks what time it is */
    for (uint32_t round = 1;; round++) {
        int rc = serving_round(reader, table, reading, err);
        if (rc != 0) {
            return rc < 0 ? rc : 0;
        }
        int64_t now_us = clock_mono_us(clock_real());
        until = until == 0 ? now_us + ROUNDS_MAX_US : until;
        if (now_us > until) {
            return err_set(err, KE_TIMEOUT, "the serving pointer of %s does not come to rest",
                           table);
        }
        if (round >= ROUNDS_QUICK) {
            struct timespec nap = {0, ROUND_WAIT_NS};
            (void)nanosleep(&nap, NULL);
        }
    }
}

int reader_name_split(const char *text, char *table, uint32_t *version, struct err *err)
{
    const char *at = strchr(text, '@');
    size_t len = at == NULL ? strlen(text) : (size_t)(at - text);
    if (len > LIMIT_NAME_LEN ||
        (at != NULL && (*version != 0 || !reader_version_parse(at + 1, strlen(at + 1), version)))) {
        int rc = err_set(err, KE_INVALID, "\"%.200s\" is no name of a table", text);
        err_hint(err, "behind the @ stands the number of a version, or `" READER_CANDIDATE_WORD
                      "`; and a version is named once");
        return rc;
    }
    memcpy(table, text, len); /* NOLINT: a piece of a text */
    table[len] = '\0';
    return 0;
}

int reader_begin_any(struct reader *reader, const char *table, uint32_t version,
                     struct reader_read *reading, struct err *err)
{
    MAGIC_ASSERT(reader, READER_MAGIC);
    *reading = (struct reader_read){0};
    char plain[LIMIT_NAME_LEN + 1];
    if (strchr(table, '@') != NULL) {
        int bad = reader_name_split(table, plain, &version, err);
        if (bad != 0) {
            return bad;
        }
        table = plain;
    }
    int rc = version == 0 ? serving_begin(reader, table, reading, err)
                          : named_begin(reader, table, version, reading, err);
    ASSERT(rc != 0 || reading->snapshot != NULL);
    return rc;
}

int reader_begin(struct reader *reader, const char *table, uint32_t version,
                 struct reader_read *reading, struct err *err)
{
    int rc = reader_begin_any(reader, table, version, reading, err);
    if (rc == 0 && reading->table == PLAN_NONE) {
        reader_end(reader, reading);
        rc = reader_view_refused(table, err);
    }
    return rc;
}
