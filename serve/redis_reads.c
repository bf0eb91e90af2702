/* Own header: redis_reads.h. */
#include "serve/redis_reads.h"

#include <stdio.h>
#include <string.h>

void redis_reads_init(struct redis_reads *reads, struct reader *reader)
{
    memset(reads, 0, sizeof *reads);
    reads->reader = reader;
    reader_pins_init(&reads->pins, reader);
}

static void finisher_give(struct redis_reads *reads)
{
    if (reads->finisher != NULL) {
        reader_finisher_give(reads->reader, reads->finisher_version, reads->finisher_table,
                             reads->finisher);
        reads->finisher = NULL;
    }
}

static void rows_close(struct redis_reads *reads)
{
    query_rows_close(reads->rows);
    reads->rows = NULL;
}

static void read_end(struct redis_reads *reads, uint32_t read)
{
    if (reads->finisher != NULL && reads->finisher_version == reads->reads[read].version) {
        finisher_give(reads);
    }
    if (reads->rows_snapshot == reads->reads[read].snapshot) {
        rows_close(reads);
    }
    reader_end(reads->reader, &reads->reads[read]);
    reads->reads[read] = (struct reader_read){0};
    uint32_t kept = 0;
    for (uint32_t i = 0; i < reads->name_count; i++) {
        if (reads->names[i].read != read) {
            reads->names[kept++] = reads->names[i];
        }
    }
    reads->name_count = kept;
}

void redis_reads_end(struct redis_reads *reads)
{
    finisher_give(reads);
    rows_close(reads);
    for (uint32_t i = 0; i < REDIS_READS_MAX; i++) {
        if (reads->reads[i].version != NULL) {
            read_end(reads, i);
        }
    }
    reader_pins_end(&reads->pins);
    reads->pinned = false;
}

void redis_reads_free(struct redis_reads *reads)
{
    redis_reads_end(reads);
    query_close(reads->query);
    reads->query = NULL;
}

int redis_reads_view(struct redis_reads *reads, const char *view, const struct reader_read *reading,
                     struct query_rows **out, struct err *err)
{
    int rc = 0;
    if (reads->rows == NULL || reads->rows_snapshot != reading->snapshot ||
        strcmp(reads->rows_view, view) != 0) {
        rows_close(reads);
        rc = reads->query == NULL ? query_open(reads->reader, &reads->query, err) : 0;
        if (rc == 0) {
            rc = query_rows_open(reads->query, view, reading, &reads->rows, err);
        }
        reads->rows_snapshot = reading->snapshot;
        (void)snprintf(reads->rows_view, sizeof reads->rows_view, "%s", view);
    }
    *out = reads->rows;
    return rc;
}

struct row_finisher *redis_reads_finisher(struct redis_reads *reads,
                                          const struct reader_read *reading)
{
    if (reads->finisher == NULL || reads->finisher_version != reading->version ||
        reads->finisher_table != reading->table) {
        finisher_give(reads);
        reads->finisher = reader_finisher_take(reads->reader, reading->version, reading->table);
        reads->finisher_version = reading->version;
        reads->finisher_table = reading->table;
    }
    return reads->finisher;
}

int redis_reads_pin(struct redis_reads *reads, struct err *err)
{
    int rc = reader_pins_begin(&reads->pins, err);
    reads->pinned = rc == 0;
    return rc;
}

/* ---- finding */

static int pinned_get(struct redis_reads *reads, const char *table, uint32_t version,
                      struct reader_read *out, struct err *err)
{
    const struct reader_pins *pins = &reads->pins;
    for (uint32_t i = 0; i < pins->name_count; i++) {
        const struct reader_name *name = &pins->names[i];
        if (name->version != version || strcmp(name->name, table) != 0 || name->pin == PLAN_NONE) {
            continue;
        }
        *out = pins->reads[name->pin];
        out->table = reader_version_table(out->version, table);
        if (out->table != PLAN_NONE || reader_view_find(out->version->plan, table) != NULL) {
            return 0;
        }
        break;
    }
    /* The reader knows why, and nothing is answered from this look. */
    struct reader_read look = {0};
    int rc = reader_begin_any(reads->reader, table, version, &look, err);
    if (rc == 0) {
        reader_end(reads->reader, &look);
        rc = err_set(err, KE_AGAIN, "table %s began to be served while this ran: ask again", table);
    }
    return rc;
}

static bool known_get(const struct redis_reads *reads, const char *table, uint32_t version,
                      struct reader_read *out)
{
    for (uint32_t i = 0; i < reads->name_count; i++) {
        const struct redis_reads_name *name = &reads->names[i];
        if (name->version == version && strcmp(name->table, table) == 0) {
            *out = reads->reads[name->read];
            out->table = name->index;
            return true;
        }
    }
    return false;
}

static void name_add(struct redis_reads *reads, const char *table, uint32_t version, uint32_t index,
                     uint32_t read)
{
    struct redis_reads_name *name = &reads->names[reads->name_count++];
    *name = (struct redis_reads_name){.version = version, .index = index, .read = read};
    memcpy(name->table, table, strlen(table));
}

/* Another table of a processor that the round reads already, at the same epoch? */
static bool shared_get(struct redis_reads *reads, const char *table, struct reader_read *out)
{
    struct catalog_pointer now;
    struct err none;
    if (catalog_pointer_get(reads->reader->catalog, table, &now, &none) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < REDIS_READS_MAX; i++) {
        struct reader_read *read = &reads->reads[i];
        if (read->version == NULL || !reads->serving[i] || read->epoch != now.epoch ||
            !catalog_canary_same(&read->canary, &now.canary) ||
            read->version->number != now.version ||
            strcmp(read->version->processor, now.processor) != 0) {
            continue;
        }
        uint32_t index = reader_version_table(read->version, table);
        if (index == PLAN_NONE && reader_view_find(read->version->plan, table) == NULL) {
            return false;
        }
        name_add(reads, table, 0, index, i);
        *out = *read;
        out->table = index;
        return true;
    }
    return false;
}

/* What is held of the processor at another epoch, or with another canary, goes. */
static void older_end(struct redis_reads *reads, const struct reader_read *now)
{
    for (uint32_t i = 0; i < REDIS_READS_MAX; i++) {
        const struct reader_read *read = &reads->reads[i];
        if (read->version != NULL && reads->serving[i] &&
            (read->epoch != now->epoch || !catalog_canary_same(&read->canary, &now->canary)) &&
            strcmp(read->version->processor, now->version->processor) == 0) {
            read_end(reads, i);
        }
    }
}

/* 1: *reading is a read of the candidate now; 0: it stays; -AGAIN: the pointer has moved. */
static int canary_get(struct redis_reads *reads, const char *table, const char *const *keys,
                      uint32_t key_count, int64_t at_us, struct reader_read *reading)
{
    const struct reader_read serving = *reading;
    struct reader_read candidate;
    struct err none;
    if (!reader_canary_takes(&serving, key_count > 0 ? keys[0] : NULL)) {
        return 0;
    }
    /* The serving read must live on beside it: no name more than there are places for. */
    int rc = reads->name_count == REDIS_READS_MAX
                 ? -KE_AGAIN
                 : redis_reads_get(reads, table, serving.canary.version, &candidate, &none);
    if (rc == -KE_AGAIN || !reader_canary_stands(reads->reader, &serving)) {
        redis_reads_end(reads);
        return -KE_AGAIN;
    }
    if (rc != 0) {
        reader_canary_failed(reads->reader, &serving);
        return 0;
    }
    struct reader_both rows = {{0}, {0}};
    bool answers =
        reader_canary_compare(reads->reader, &serving, &candidate, keys, key_count, at_us, &rows);
    reader_both_free(&rows);
    if (answers && !serving.canary.shadow) {
        *reading = candidate;
        return 1;
    }
    return 0;
}

int redis_reads_row(struct redis_reads *reads, const char *table, const char *const *keys,
                    uint32_t key_count, int64_t at_us, struct reader_read *reading, struct err *err)
{
    for (int round = 0; !reads->pinned && round < READER_CANARY_ROUNDS; round++) {
        if (canary_get(reads, table, keys, key_count, at_us, reading) != -KE_AGAIN) {
            break;
        }
        int rc = redis_reads_get(reads, table, 0, reading, err);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int redis_reads_get(struct redis_reads *reads, const char *table, uint32_t version,
                    struct reader_read *out, struct err *err)
{
    int rc = redis_reads_any(reads, table, version, out, err);
    return rc == 0 && out->table == PLAN_NONE ? reader_view_refused(table, err) : rc;
}

int redis_reads_any(struct redis_reads *reads, const char *table, uint32_t version,
                    struct reader_read *out, struct err *err)
{
    if (reads->pinned) {
        return pinned_get(reads, table, version, out, err);
    }
    if (known_get(reads, table, version, out)) {
        return 0;
    }
    if (reads->name_count == REDIS_READS_MAX) {
        redis_reads_end(reads);
    }
    if (version == 0 && shared_get(reads, table, out)) {
        return 0;
    }
    int rc = reader_begin_any(reads->reader, table, version, out, err);
    if (rc != 0) {
        return rc;
    }
    if (version == 0) {
        older_end(reads, out);
    }
    for (uint32_t i = 0; i < REDIS_READS_MAX; i++) {
        if (reads->reads[i].version == NULL) { /* there is one: no more reads than names */
            reads->reads[i] = *out;
            reads->serving[i] = version == 0;
            name_add(reads, table, version, out->table, i);
            return 0;
        }
    }
    reader_end(reads->reader, out);
    return err_set(err, KE_INTERNAL, "more snapshots than tables");
}
