/* A share of keys read from a candidate. Own header: reader_inner.h.
 *
 * The serving pointer may name a canary: a version, and how many of 10,000 keys are its. The rule:
 *
 *  1. Only a read of one row by its key, alone, may go to the candidate: kappa get, GET of one row, a
 *     command of Redis on one row outside of MULTI; and a scope of libkappa that was begun for a key. What
 *     reads several rows in one scope (scans, SQL, lists of keys, MULTI, other scopes of libkappa) reads
 *     the serving version whole. A scope is of one version, whichever it is.
 *  2. Which keys: those whose first column, as the serving version stores it, hashes below the share,
 *     together with the candidate's number. So every reader takes the same keys, of all tables with that
 *     first column (what belongs to one user comes from one version); a larger share keeps the keys of a
 *     smaller one; the next candidate has others. Tables without key columns, and those with a row per
 *     record, have no canary.
 *  3. A share is set and taken back while both versions stand at one cut (controller/canary.c), and a read
 *     looks at the pointer again when it has its snapshot of the candidate. So reads of one key do not go
 *     back. They may when a canary ends because its version failed, or another one was swapped in.
 *  4. A candidate that cannot answer (it has no such table, or another key) is no reason for a read to
 *     fail: the serving version answers.
 *  5. For a key of the share both versions are read and compared, and the outcome counted; with `shadow`
 *     that is all. Columns that both have count. The two are not at one cut, so that a row that was just
 *     changed may count as different. */
#include "serve/reader_inner.h"

#include "processor/key_codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool reader_canary_takes(const struct reader_read *serving, const char *first)
{
    const struct plan_view *view = &serving->version->plan->views[serving->table];
    const struct catalog_canary *canary = &serving->canary;
    if (canary->version == 0 || first == NULL || view->kind == PLAN_APPEND) {
        return false;
    }
    const struct plan_key *key = reader_key_column(view, 0);
    uint8_t bytes[4 + LIMIT_TABLE_KEY_LEN];
    struct arena arena;
    struct kappa_value value;
    struct err none;
    if (key == NULL) {
        return false;
    }
    store_u32_le(bytes, canary->version);
    arena_init(&arena);
    const uint8_t *end = plan_key_value_from_text(key, first, &arena, &value, &none) == 0
                             ? key_put_value(bytes + 4, bytes + sizeof bytes, &value)
                             : NULL;
    arena_free(&arena);
    return end != NULL &&
           hash_bytes(bytes, (size_t)(end - bytes)) % CATALOG_SHARE_ALL < canary->share;
}

bool reader_canary_stands(struct reader *reader, const struct reader_read *serving)
{
    const struct reader_version *version = serving->version;
    const char *table = version->plan->views[serving->table].shape.name;
    struct catalog_pointer now;
    struct err none = {0};
    int rc = catalog_pointer_get(reader->catalog, table, &now, &none);
    struct catalog_pointer then = {
        .version = version->number, .epoch = serving->epoch, .canary = serving->canary};
    memcpy(then.processor, version->processor, sizeof then.processor);
    return rc == 0 && catalog_pointer_same(&now, &then);
}

/* ---- Comparing ---- */

/* The row's JSON, nothing when there is none; negative when it cannot be read. */
static int row_of(struct reader *reader, const struct reader_read *reading, const char *const *keys,
                  uint32_t key_count, int64_t at_us, struct buf *out)
{
    struct err none;
    const struct kappa_value *values = NULL;
    struct row_finisher *finisher = reader_finisher_take(reader, reading->version, reading->table);
    int rc = reader_row_find_text(reading, finisher, keys, key_count, at_us, &values, &none);
    if (rc == 1) {
        reader_row_write(out, &reading->version->plan->views[reading->table], values);
    }
    reader_finisher_give(reader, reading->version, reading->table, finisher);
    return rc < 0 ? rc : 0;
}

/* In the columns that both have. */
static bool rows_agree(const struct buf *one, const struct buf *two)
{
    if (one->len == two->len && memcmp(one->data, two->data, one->len) == 0) {
        return true; /* mostly */
    }
    struct err none;
    json_t *a = json_parse_exact(buf_text(one), one->len, &none);
    json_t *b = json_parse_exact(buf_text(two), two->len, &none);
    ASSERT(a != NULL && b != NULL);
    const char *name;
    json_t *value;
    bool agree = true;
    json_object_foreach (a, name, value) {
        json_t *other = json_object_get(b, name);
        agree = agree && (other == NULL || json_equal(value, other));
    }
    json_decref(a);
    json_decref(b);
    return agree;
}

static void count(struct reader *reader, const char *processor, uint32_t number,
                  enum reader_compared outcome)
{
    struct reader_canary_counts *least = &reader->canaries[0];
    pthread_mutex_lock(&reader->lock);
    for (uint32_t i = 0; i < READER_CANARIES; i++) {
        struct reader_canary_counts *at = &reader->canaries[i];
        if (at->number == number && strcmp(at->processor, processor) == 0) {
            at->counts[outcome]++;
            at->used = ++reader->canaries_used;
            pthread_mutex_unlock(&reader->lock);
            return;
        }
        least = at->used < least->used ? at : least;
    }
    *least = (struct reader_canary_counts){.number = number, .used = ++reader->canaries_used};
    (void)snprintf(least->processor, sizeof least->processor, "%s", processor);
    least->counts[outcome] = 1;
    pthread_mutex_unlock(&reader->lock);
}

void reader_both_free(struct reader_both *rows)
{
    buf_free(&rows->serving);
    buf_free(&rows->candidate);
}

bool reader_canary_compare(struct reader *reader, const struct reader_read *serving,
                           const struct reader_read *candidate, const char *const *keys,
                           uint32_t key_count, int64_t at_us, struct reader_both *rows)
{
    int rc = row_of(reader, candidate, keys, key_count, at_us, &rows->candidate);
    enum reader_compared outcome = READER_FAILED;
    if (rc == 0 && row_of(reader, serving, keys, key_count, at_us, &rows->serving) == 0) {
        bool a = rows->serving.len > 0;
        bool b = rows->candidate.len > 0;
        outcome = !a && !b                                       ? READER_SAME
                  : !b                                           ? READER_MISSING
                  : !a                                           ? READER_ADDED
                  : rows_agree(&rows->serving, &rows->candidate) ? READER_SAME
                                                                 : READER_DIFFERENT;
    }
    count(reader, candidate->version->processor, candidate->version->number, outcome);
    return rc == 0;
}

void reader_canary_failed(struct reader *reader, const struct reader_read *serving)
{
    count(reader, serving->version->processor, serving->canary.version, READER_FAILED);
}

void reader_canary_report(struct reader *reader, const char *processor, uint32_t version,
                          json_t **out)
{
    static const char *const words[] = {[READER_SAME] = "same",
                                        [READER_DIFFERENT] = "different",
                                        [READER_MISSING] = "missing",
                                        [READER_ADDED] = "added",
                                        [READER_FAILED] = "failed"};
    *out = NULL;
    pthread_mutex_lock(&reader->lock);
    for (uint32_t i = 0; i < READER_CANARIES; i++) {
        const struct reader_canary_counts *at = &reader->canaries[i];
        if (at->number != version || strcmp(at->processor, processor) != 0) {
            continue;
        }
        *out = json_object();
        for (size_t k = 0; k < array_len(words); k++) {
            int rc = json_object_set_new(*out, words[k], json_integer((json_int_t)at->counts[k]));
            ASSERT(rc == 0);
        }
    }
    pthread_mutex_unlock(&reader->lock);
}

/* ---- The candidate's read ---- */

/* 1: rows with this first key column are the candidate's, *out reads it; 0: the serving version answers;
 * -AGAIN: the pointer has moved. */
static int candidate_begin(struct reader *reader, const struct reader_read *serving,
                           const char *first, struct reader_read *out)
{
    struct err none = {0};
    const char *table = serving->version->plan->views[serving->table].shape.name;
    if (!reader_canary_takes(serving, first)) {
        return 0;
    }
    if (reader->between != NULL) {
        reader->between(reader->between_ctx);
    }
    int rc = reader_begin(reader, table, serving->canary.version, out, &none);
    if (!reader_canary_stands(reader, serving)) {
        if (rc == 0) {
            reader_end(reader, out);
        }
        return -KE_AGAIN;
    }
    if (rc != 0) {
        reader_canary_failed(reader, serving);
        return 0;
    }
    return 1;
}

/* ---- One row ---- */

int reader_canary_begin(struct reader *reader, const struct reader_read *serving,
                        const char *const *keys, uint32_t key_count, int64_t at_us,
                        struct reader_read *out, struct buf *row)
{
    struct reader_both rows = {{0}, {0}};
    int rc = candidate_begin(reader, serving, key_count > 0 ? keys[0] : NULL, out);
    if (rc != 1) {
        return rc;
    }
    bool answers = reader_canary_compare(reader, serving, out, keys, key_count, at_us, &rows) &&
                   !serving->canary.shadow;
    const struct buf *answer = answers ? &rows.candidate : &rows.serving;
    buf_append(row, answer->data, answer->len);
    reader_both_free(&rows);
    if (!answers) {
        reader_end(reader, out);
    }
    return answers ? 1 : 0;
}

/* ---- A scope of one key ---- */

/* May rows of both be asked for by the same keys? */
static bool same_key(const struct reader_read *a, const struct reader_read *b)
{
    const struct plan_view *of_a = &a->version->plan->views[a->table];
    const struct plan_view *of_b = &b->version->plan->views[b->table];
    bool same = of_a->kind == of_b->kind && of_a->shape.windowed == of_b->shape.windowed;
    for (uint32_t i = 0; same; i++) {
        const struct plan_key *column = reader_key_column(of_a, i);
        const struct plan_key *other = reader_key_column(of_b, i);
        if (column == NULL || other == NULL) {
            return column == other;
        }
        same = column->type == other->type;
    }
    return same;
}

/* 1: *reading is what was asked for, 0: the pointer has moved, negative. */
static int begin_for(struct reader *reader, const char *table, const char *first,
                     struct reader_read *reading, struct err *err)
{
    struct reader_read candidate;
    int rc = reader_begin(reader, table, 0, reading, err);
    if (rc != 0) {
        return rc;
    }
    rc = reading->canary.shadow ? 0 : candidate_begin(reader, reading, first, &candidate);
    if (rc == 1 && !same_key(reading, &candidate)) {
        reader_end(reader, &candidate);
        reader_canary_failed(reader, reading);
        rc = 0;
    }
    if (rc == 0) {
        return 1;
    }
    reader_end(reader, reading);
    if (rc != 1) {
        return 0;
    }
    *reading = candidate;
    return 1;
}

int reader_begin_for(struct reader *reader, const char *table, const char *first,
                     struct reader_read *reading, struct err *err)
{
    for (int round = 0; round < READER_CANARY_ROUNDS; round++) {
        int rc = begin_for(reader, table, first, reading, err);
        if (rc != 0) {
            return rc < 0 ? rc : 0;
        }
    }
    return reader_begin(reader, table, 0, reading, err);
}
