/* Versions that are open for reading: found by (processor, number), opened once, kept while they
 * are used and their files exist. Own header: reader_inner.h.
 *
 * A version's files may go at any time (`kappa drop`) while its numbers stay in memory: each take
 * looks with one stat whether the data file is still the one that was opened. A serving version is not
 * dropped, so its files are looked at once an epoch (a stat costs more than all else of a read; the
 * caller looks at the pointer again after it has taken the snapshot). What is open stays
 * readable until the last read gives it back. */
#include "serve/reader_inner.h"

#include "base/clock.h"
#include "base/timefmt.h"
#include "processor/plan_object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SWEEP_EVERY_US 5000000
#define IDLE_MAX_US    600000000

static char *version_dir(const struct reader *reader, const char *processor, uint32_t number)
{
    return xasprintf("%s/versions/%s/%u", reader->data_dir, processor, number);
}

static bool data_stat(const struct reader *reader, const char *processor, uint32_t number,
                      struct stat *st)
{
    char *path = xasprintf("%s/versions/%s/%u/0/data.mdb", reader->data_dir, processor, number);
    bool there = stat(path, st) == 0;
    free(path);
    return there;
}

static bool files_are_same(const struct reader *reader, const struct reader_version *version)
{
    struct stat st;
    return data_stat(reader, version->processor, version->number, &st) &&
           st.st_dev == version->device && st.st_ino == version->inode;
}

/* ---- closing */

static void version_free(struct reader_version *version)
{
    ASSERT_CMP(version->refs, ==, 0);
    if (version->idle != NULL) {
        for (uint32_t i = 0; i < version->plan->view_count; i++) {
            for (uint32_t f = 0; f < version->idle[i].count; f++) {
                row_finisher_free(version->idle[i].finishers[f]);
            }
        }
    }
    view_close(version->view);
    if (version->plan != NULL) {
        plan_free(version->plan);
    }
    buf_free(&version->cut.text);
    (void)pthread_mutex_destroy(&version->cut.lock);
    free(version->idle);
    free(version->sources);
    free(version->input_first);
    json_decref(version->object);
    free(version);
}

/* Takes it out of the list; with the lock held. True: nobody reads it, the caller frees it. */
static bool doom(struct reader *reader, struct reader_version *version)
{
    struct reader_version **at = &reader->versions;
    while (*at != NULL && *at != version) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        return false; /* another thread did */
    }
    *at = version->next;
    version->next = NULL;
    version->doomed = true;
    return version->refs == 0;
}

void reader_version_give(struct reader *reader, struct reader_version *version)
{
    (void)pthread_mutex_lock(&reader->lock);
    ASSERT_CMP(version->refs, >, 0);
    version->refs--;
    bool last = version->doomed && version->refs == 0;
    (void)pthread_mutex_unlock(&reader->lock);
    if (last) {
        version_free(version);
    }
}

/* Takes one version out that is not worth keeping, or NULL; with the lock held. */
static struct reader_version *sweep_one(struct reader *reader, int64_t now_us)
{
    for (struct reader_version *version = reader->versions; version != NULL;
         version = version->next) {
        if (version->refs == 0 &&
            (now_us - version->used_us > IDLE_MAX_US || !files_are_same(reader, version))) {
            ASSERT(doom(reader, version));
            return version;
        }
    }
    return NULL;
}

void reader_sweep(struct reader *reader)
{
    MAGIC_ASSERT(reader, READER_MAGIC);
    int64_t now_us = clock_mono_us(clock_real());
    struct reader_version *version;
    do {
        (void)pthread_mutex_lock(&reader->lock);
        __atomic_store_n(&reader->sweep_us, now_us + SWEEP_EVERY_US, __ATOMIC_RELAXED);
        version = sweep_one(reader, now_us);
        (void)pthread_mutex_unlock(&reader->lock);
        if (version != NULL) {
            version_free(version);
        }
    } while (version != NULL);
}

void reader_versions_close(struct reader *reader)
{
    while (reader->versions != NULL) {
        struct reader_version *version = reader->versions;
        ASSERT(doom(reader, version)); /* nobody reads any more */
        version_free(version);
    }
}

/* ---- opening */

static int broken_object(const struct reader_version *version, struct err *err)
{
    return err_set(err, KE_CORRUPT, "the catalog's object of version %u of %s does not add up",
                   version->number, version->processor);
}

/* Numbers the sources as the words of the architecture say: input by input. */
static int sources_read(struct reader_version *version, struct err *err)
{
    const json_t *inputs = json_object_get(version->object, "inputs");
    const json_t *starts = json_object_get(version->object, "start");
    uint32_t input_count = version->plan->input_count;
    if (json_array_size(inputs) != input_count) {
        return broken_object(version, err);
    }
    version->input_first = xcalloc(input_count + 1, sizeof *version->input_first);
    version->sources = xcalloc(LIMIT_SOURCES, sizeof *version->sources);
    for (uint32_t i = 0; i < input_count; i++) {
        const json_t *input = json_array_get(inputs, i);
        int64_t partitions = json_int(input, "partitions", 0);
        if (partitions < 0 || partitions > LIMIT_SOURCES - (int64_t)version->source_count) {
            return broken_object(version, err);
        }
        version->input_first[i] = version->source_count;
        for (uint32_t p = 0; p < (uint32_t)partitions; p++) {
            uint32_t source = version->source_count++;
            version->sources[source] = (struct reader_source){
                .input = i,
                .partition = p,
                .topic = json_text(input, "topic", ""),
                .start = (int64_t)json_integer_value(json_array_get(starts, source)),
            };
        }
    }
    version->input_first[input_count] = version->source_count;
    return 0;
}

/* Since when it knows all records. */
static void since_read(struct reader_version *version)
{
    int64_t since_ms = json_int(version->object, "complete_since_ms", -1);
    char time[TIME_TEXT_LEN] = "unknown";
    if (since_ms >= 0) {
        time_format(since_ms * 1000, time);
    }
    bool complete = json_bool(version->object, "complete", true);
    (void)snprintf(version->since, sizeof version->since, "%s", complete ? "" : time);
}

static int plan_read(struct reader_version *version, struct err *err)
{
    int rc = plan_compile_object(version->object, &version->plan, err);
    if (rc != 0) {
        version->plan = NULL;
        err_prefix(err, "version %u of %s", version->number, version->processor);
        return rc;
    }
    since_read(version);
    version->idle = xcalloc(version->plan->view_count + 1, sizeof *version->idle);
    return sources_read(version, err);
}

static int files_open(struct reader *reader, struct reader_version *version, struct err *err)
{
    int64_t shards = json_int(version->object, "shards", 0);
    if (shards < 1 || shards > LIMIT_SHARDS) {
        return broken_object(version, err);
    }
    struct kappa_table_shape shapes[LIMIT_VIEWS];
    ASSERT_CMP(version->plan->table_count, <=, LIMIT_VIEWS);
    for (uint32_t i = 0; i < version->plan->table_count; i++) {
        shapes[i] = version->plan->tables[i].shape;
    }
    char *dir = version_dir(reader, version->processor, version->number);
    int rc =
        view_open(dir, (uint32_t)shards, shapes, version->plan->table_count, &version->view, err);
    free(dir);
    struct stat st;
    if (rc == 0 && data_stat(reader, version->processor, version->number, &st)) {
        version->device = st.st_dev;
        version->inode = st.st_ino;
        return 0;
    }
    if (rc == 0 || rc == -KE_NOT_FOUND) {
        rc = err_set(err, KE_NOT_FOUND, "version %u of %s has no tables (%s)", version->number,
                     version->processor, json_text(version->object, "state", "unknown"));
        err_hint(err,
                 "a new version has them a moment after its deploy; a dropped one never again");
    }
    return rc;
}

static int object_read(struct reader *reader, struct reader_version *version, struct err *err)
{
    char key[CATALOG_KEY_LEN];
    catalog_key_version(key, version->processor, version->number);
    int rc = catalog_get(reader->catalog, key, &version->object, err);
    if (rc == -KE_NOT_FOUND) {
        rc = reader_version_unknown(reader, version->processor, version->number, err);
    }
    return rc;
}

static int version_open(struct reader *reader, const char *processor, uint32_t number,
                        struct reader_version **out, struct err *err)
{
    if (strlen(processor) > LIMIT_NAME_LEN) {
        return err_set(err, KE_NOT_FOUND, "there is no processor %.40s...", processor);
    }
    struct reader_version *version = xcalloc(1, sizeof *version);
    ASSERT(pthread_mutex_init(&version->cut.lock, NULL) == 0);
    (void)snprintf(version->processor, sizeof version->processor, "%s", processor);
    version->number = number;
    int rc = object_read(reader, version, err);
    if (rc == 0) {
        rc = plan_read(version, err);
    }
    if (rc == 0) {
        rc = files_open(reader, version, err);
    }
    if (rc != 0) {
        version_free(version);
        return rc;
    }
    *out = version;
    return 0;
}

/* ---- taking */

/* epoch: in which it serves, or 0. */
static struct reader_version *find(struct reader *reader, const char *processor, uint32_t number,
                                   uint64_t epoch, int64_t now_us)
{
    bool trusted = false;
    (void)pthread_mutex_lock(&reader->lock);
    struct reader_version *version = reader->versions;
    while (version != NULL &&
           (version->number != number || strcmp(version->processor, processor) != 0)) {
        version = version->next;
    }
    if (version != NULL) {
        version->refs++;
        version->used_us = now_us;
        trusted = epoch != 0 && version->seen_epoch == epoch;
    }
    (void)pthread_mutex_unlock(&reader->lock);
    if (version == NULL || trusted) {
        return version;
    }
    bool same = files_are_same(reader, version);
    (void)pthread_mutex_lock(&reader->lock);
    if (same) {
        version->seen_epoch = epoch != 0 ? epoch : version->seen_epoch;
    } else {
        (void)doom(reader, version); /* this read still holds it */
    }
    (void)pthread_mutex_unlock(&reader->lock);
    if (same) {
        return version;
    }
    reader_version_give(reader, version);
    return NULL;
}

int reader_version_take_serving(struct reader *reader, const char *processor, uint32_t number,
                                uint64_t epoch, struct reader_version **out, struct err *err)
{
    int64_t now_us = clock_mono_us(clock_real());
    if (now_us >= __atomic_load_n(&reader->sweep_us, __ATOMIC_RELAXED)) {
        reader_sweep(reader);
    }
    struct reader_version *version = find(reader, processor, number, epoch, now_us);
    if (version == NULL) {
        (void)pthread_mutex_lock(&reader->opening);
        /* Another thread may have opened it. */
        version = find(reader, processor, number, epoch, now_us);
        int rc = version == NULL ? version_open(reader, processor, number, &version, err) : 1;
        if (rc == 0) {
            ASSERT(version != NULL);
            (void)pthread_mutex_lock(&reader->lock);
            version->refs = 1;
            version->used_us = clock_mono_us(clock_real());
            version->next = reader->versions;
            reader->versions = version;
            (void)pthread_mutex_unlock(&reader->lock);
        }
        (void)pthread_mutex_unlock(&reader->opening);
        if (rc < 0) {
            return rc;
        }
    }
    *out = version;
    return 0;
}

int reader_version_take(struct reader *reader, const char *processor, uint32_t number,
                        struct reader_version **out, struct err *err)
{
    return reader_version_take_serving(reader, processor, number, 0, out, err);
}

uint32_t reader_version_table(const struct reader_version *version, const char *table)
{
    for (uint32_t i = 0; i < version->plan->view_count; i++) {
        if (strcmp(version->plan->views[i].shape.name, table) == 0) {
            return i;
        }
    }
    return PLAN_NONE;
}

struct row_finisher *reader_finisher_take(struct reader *reader, struct reader_version *version,
                                          uint32_t table)
{
    struct row_finisher *finisher = NULL;
    struct reader_idle *idle = &version->idle[table];
    (void)pthread_mutex_lock(&reader->lock);
    if (idle->count > 0) {
        finisher = idle->finishers[--idle->count];
    }
    (void)pthread_mutex_unlock(&reader->lock);
    return finisher != NULL ? finisher : row_finisher_new(version->plan, table);
}

void reader_finisher_give(struct reader *reader, struct reader_version *version, uint32_t table,
                          struct row_finisher *finisher)
{
    struct reader_idle *idle = &version->idle[table];
    (void)pthread_mutex_lock(&reader->lock);
    if (idle->count < READER_FINISHERS) {
        idle->finishers[idle->count++] = finisher;
        finisher = NULL;
    }
    (void)pthread_mutex_unlock(&reader->lock);
    row_finisher_free(finisher);
}
