/* Names of tables: whom they belong to, and what is said when there is no such table. Own header:
 * reader_inner.h. */
#include "serve/reader_inner.h"

#include "base/suggest.h"

#include <stdlib.h>
#include <string.h>

/* Calls fn for each table of each version in the catalog until it returns true. */
static void each_table(const json_t *versions,
                       bool (*fn)(void *ctx, const json_t *version, const char *table), void *ctx)
{
    size_t i;
    size_t j;
    json_t *item;
    json_t *table;
    json_array_foreach (versions, i, item) {
        const json_t *version = json_object_get(item, "value");
        json_array_foreach (json_object_get(version, "tables"), j, table) {
            if (json_is_string(table) && fn(ctx, version, json_string_value(table))) {
                return;
            }
        }
    }
}

struct name_search {
    const char *table;
    uint32_t version;       /* wanted, or 0 */
    const json_t *found;    /* a version object with the table */
    struct suggest nearest; /* another table */
};

static bool look_at_name(void *ctx, const json_t *version, const char *table)
{
    struct name_search *search = ctx;
    if (strcmp(table, search->table) == 0) {
        bool wanted = search->version == 0 || json_int(version, "version", 0) == search->version;
        if (search->found == NULL || wanted) {
            search->found = version;
        }
        return wanted;
    }
    suggest_offer(&search->nearest, table);
    return false;
}

/* No pointer names the table: says whether it is unknown, or only not served yet. */
int reader_table_not_served(struct reader *reader, const char *table, struct err *err)
{
    json_t *versions = NULL;
    int rc = catalog_list(reader->catalog, "v/", &versions, err);
    if (rc != 0) {
        return rc;
    }
    struct name_search search = {.table = table};
    suggest_begin(&search.nearest, table);
    each_table(versions, look_at_name, &search);
    if (search.found != NULL) {
        int64_t number = json_int(search.found, "version", 0);
        rc = err_set(err, KE_NOT_FOUND, "table %s is not served yet: version %lld of %s is %s",
                     table, (long long)number, json_text(search.found, "processor", "?"),
                     json_text(search.found, "state", "unknown"));
        err_hint(err, "name the version (--version %lld) to read it as far as it is",
                 (long long)number);
    } else {
        rc = err_set(err, KE_NOT_FOUND, "there is no table %s", table);
        if (search.nearest.best != NULL) {
            err_hint(err, "did you mean %s?", search.nearest.best);
        } else {
            err_hint(err, "kappa sql '\\d' lists all tables");
        }
    }
    json_decref(versions);
    return rc;
}

int reader_version_unknown(struct reader *reader, const char *processor, uint32_t version,
                           struct err *err)
{
    json_t *processors = NULL;
    int rc = catalog_list(reader->catalog, "p/", &processors, err);
    if (rc != 0) {
        return rc;
    }
    struct suggest nearest;
    suggest_begin(&nearest, processor);
    bool known = false;
    size_t i;
    json_t *row;
    json_array_foreach (processors, i, row) {
        const char *name = json_text(row, "key", "p/") + 2;
        known = known || strcmp(name, processor) == 0;
        suggest_offer(&nearest, name);
    }
    if (known && version != 0) {
        rc = err_set(err, KE_NOT_FOUND, "there is no version %u of %s", version, processor);
        err_hint(err, "`kappa status %s` lists its versions", processor);
    } else {
        rc = err_set(err, KE_NOT_FOUND, "there is no processor \"%s\"", processor);
        if (nearest.best != NULL) {
            err_hint(err, "did you mean %s?", nearest.best);
        } else {
            err_hint(err, "`kappa status` lists processors and versions");
        }
    }
    json_decref(processors);
    return rc;
}

/* The processor that a named version of a table belongs to. */
int reader_processor_of(struct reader *reader, const char *table, uint32_t version, char *processor,
                        struct err *err)
{
    struct catalog_pointer pointer;
    int rc = catalog_pointer_find(reader->catalog, table, &pointer, err);
    if (rc == 1) {
        memcpy(processor, pointer.processor, sizeof pointer.processor);
        return 0;
    }
    if (rc < 0) {
        return rc;
    }
    json_t *versions = NULL;
    rc = catalog_list(reader->catalog, "v/", &versions, err);
    if (rc != 0) {
        return rc;
    }
    struct name_search search = {.table = table, .version = version};
    suggest_begin(&search.nearest, table);
    each_table(versions, look_at_name, &search);
    if (search.found != NULL) {
        const char *name = json_text(search.found, "processor", "");
        size_t len = strlen(name) <= LIMIT_NAME_LEN ? strlen(name) : LIMIT_NAME_LEN;
        memcpy(processor, name, len);
        processor[len] = '\0';
    }
    bool found = search.found != NULL;
    json_decref(versions);
    return found ? 0 : reader_table_not_served(reader, table, err);
}

bool reader_version_parse(const char *text, size_t len, uint32_t *version)
{
    if (len == strlen(READER_CANDIDATE_WORD) && memcmp(text, READER_CANDIDATE_WORD, len) == 0) {
        *version = READER_CANDIDATE;
        return true;
    }
    uint32_t number = 0;
    for (size_t i = 0; i < len && len <= 9; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        number = number * 10 + (uint32_t)(text[i] - '0');
    }
    *version = number;
    return number > 0;
}

/* On its way to serve? */
static bool is_candidate(const json_t *version)
{
    static const char *const states[] = {"replaying", "catching_up", "ready"};
    const char *state = json_text(version, "state", "");
    if (strcmp(state, "paused") == 0) {
        state = json_text(version, "paused_from", "");
    }
    for (size_t i = 0; i < array_len(states); i++) {
        if (strcmp(state, states[i]) == 0) {
            return true;
        }
    }
    return false;
}

int reader_candidate_of(struct reader *reader, const char *processor, uint32_t *version,
                        struct err *err)
{
    char prefix[CATALOG_KEY_LEN];
    json_t *versions = NULL;
    (void)snprintf(prefix, sizeof prefix, "v/%s/", processor);
    int rc = catalog_list(reader->catalog, prefix, &versions, err);
    if (rc != 0) {
        return rc;
    }
    *version = 0;
    size_t i;
    json_t *item;
    json_array_foreach (versions, i, item) { /* by number */
        const json_t *object = json_object_get(item, "value");
        if (is_candidate(object)) {
            *version = (uint32_t)json_int(object, "version", 0);
        }
    }
    json_decref(versions);
    if (*version == 0) {
        rc = err_set(err, KE_NOT_FOUND,
                     "%s has no candidate: no version of it is on its way to serve", processor);
        err_hint(
            err,
            "`kappa status %s` lists its versions; one that serves or stands by is read by its "
            "number, as table@N",
            processor);
    }
    return rc;
}

int reader_number_of(struct reader *reader, const char *processor, uint32_t version, uint32_t *out,
                     struct err *err)
{
    char key[CATALOG_KEY_LEN];
    json_t *object = NULL;
    *out = version;
    if (version == READER_CANDIDATE) {
        return reader_candidate_of(reader, processor, out, err);
    }
    if (version != 0) {
        return 0;
    }
    catalog_key_processor(key, processor);
    int rc = catalog_get(reader->catalog, key, &object, err);
    if (rc == -KE_NOT_FOUND) {
        return reader_version_unknown(reader, processor, 0, err);
    }
    if (rc != 0) {
        return rc;
    }
    *out = (uint32_t)json_int(object, "serving", 0);
    json_decref(object);
    return *out != 0
               ? 0
               : err_set(err, KE_NOT_FOUND, "no version of %s serves yet: name one", processor);
}

int reader_version_resolve(struct reader *reader, const char *table, uint32_t *version,
                           char *processor, struct err *err)
{
    /* Of a table that nothing serves, the processor of any version that has it. */
    uint32_t named = *version == READER_CANDIDATE ? 0 : *version;
    int rc = reader_processor_of(reader, table, named, processor, err);
    return rc == 0 && named == 0 ? reader_candidate_of(reader, processor, version, err) : rc;
}
