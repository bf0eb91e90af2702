/* The model and the catalog kept in step. Own header: core_inside.h.
 *
 * Every write goes through struct change: fail point "commit", one transaction, fail point
 * "committed", and only then does memory take the new objects. When a commit fails, the catalog is
 * asked what it holds: the old objects, then nothing happened; anything else, then the process must
 * start anew (ops->in_doubt). */
#include "controller/core_inside.h"

#include "base/suggest.h"
#include "table/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Objects ---- */

void object_set(json_t *object, const char *name, json_t *value)
{
    int rc = json_object_set_new(object, name, value);
    ASSERT(rc == 0);
}

json_t *version_object_in(const struct core *core, const struct core_version *version,
                          enum version_state state)
{
    json_t *object = json_copy(version->object);
    ASSERT(object != NULL);
    if (state != version->state) {
        object_set(object, "state", json_string(state_name(&version_states, state)));
        object_set(object, "state_since_ms", json_integer(core_now_ms(core)));
    }
    return object;
}

static void version_adopt(struct core_version *version, json_t *object)
{
    json_decref(version->object);
    version->object = object;
    uint32_t state = state_find(&version_states, json_text(object, "state", ""));
    ASSERT_CMP(state, <, VERSION_STATE_COUNT);
    version->state = state;
}

/* ---- The model ---- */

static uint32_t processor_place(const struct core *core, const char *name, bool *found)
{
    uint32_t i = 0;
    while (i < core->processor_count && strcmp(core->processors[i]->name, name) < 0) {
        i++;
    }
    *found = i < core->processor_count && strcmp(core->processors[i]->name, name) == 0;
    return i;
}

struct core_processor *core_processor_find(struct core *core, const char *name)
{
    bool found = false;
    uint32_t place = processor_place(core, name, &found);
    return found ? core->processors[place] : NULL;
}

int core_processor_unknown(const struct core *core, const char *name, struct err *err)
{
    struct suggest suggest;
    suggest_begin(&suggest, name);
    for (uint32_t i = 0; i < core->processor_count; i++) {
        suggest_offer(&suggest, core->processors[i]->name);
    }
    int rc = err_set(err, KE_NOT_FOUND, "there is no processor \"%s\"", name);
    if (suggest.best != NULL) {
        err_hint(err, "did you mean %s?", suggest.best);
    } else {
        err_hint(err, "kappa status lists the processors");
    }
    return rc;
}

int core_version_unknown(const struct core_processor *processor, uint32_t number, struct err *err)
{
    int rc = err_set(err, KE_NOT_FOUND, "%s has no version %u", processor->name, number);
    err_hint(err, "kappa status %s lists the versions", processor->name);
    return rc;
}

struct core_processor *model_processor_add(struct core *core, const char *name, json_t *object)
{
    bool found = false;
    uint32_t place = processor_place(core, name, &found);
    ASSERT(!found);
    struct core_processor *processor = xcalloc(1, sizeof *processor);
    processor->name = xstrdup(name);
    processor->object = object;
    core->processors =
        xrealloc(core->processors, (core->processor_count + 1) * sizeof(struct core_processor *));
    memmove(&core->processors[place + 1], &core->processors[place],
            (core->processor_count - place) * sizeof(struct core_processor *));
    core->processors[place] = processor;
    core->processor_count++;
    return processor;
}

struct core_version *core_version_find(const struct core_processor *processor, uint32_t number)
{
    for (uint32_t i = 0; i < processor->version_count; i++) {
        if (processor->versions[i]->number == number) {
            return processor->versions[i];
        }
    }
    return NULL;
}

struct core_version *core_serving(struct core_processor *processor)
{
    return core_version_find(processor, (uint32_t)json_int(processor->object, "serving", 0));
}

struct core_version *model_version_add(struct core_processor *processor, json_t *object)
{
    struct core_version *version = xcalloc(1, sizeof *version);
    version->processor = processor;
    version->number = (uint32_t)json_int(object, "version", 0);
    ASSERT_CMP(version->number, >, 0);
    version_adopt(version, object);
    lag_open(&version->lag, json_object_get(object, "start"), json_object_get(object, "target"));
    processor->versions = xrealloc(processor->versions,
                                   (processor->version_count + 1) * sizeof(struct core_version *));
    processor->versions[processor->version_count++] = version;
    return version;
}

static void version_free(struct core_version *version)
{
    json_decref(version->object);
    lag_close(&version->lag);
    child_free(&version->child);
    json_decref(version->told_sent);
    plot_free(version->plot);
    json_decref(version->gate.found);
    free(version);
}

void model_version_remove(struct core_version *version)
{
    struct core_processor *processor = version->processor;
    uint32_t i = 0;
    while (processor->versions[i] != version) {
        i++;
        ASSERT_CMP(i, <, processor->version_count);
    }
    processor->version_count--;
    memmove(&processor->versions[i], &processor->versions[i + 1],
            (processor->version_count - i) * sizeof(struct core_version *));
    version_free(version);
}

void model_free(struct core *core)
{
    for (uint32_t i = 0; i < core->processor_count; i++) {
        struct core_processor *processor = core->processors[i];
        for (uint32_t k = 0; k < processor->version_count; k++) {
            version_free(processor->versions[k]);
        }
        free(processor->versions);
        json_decref(processor->later.body);
        free(processor->name);
        json_decref(processor->object);
        free(processor);
    }
    free(core->processors);
}

/* ---- Reading it all ---- */

/* What the brain relies on; anything else in an object is only carried along. */
static int check_version(const char *key, const json_t *object, struct err *err)
{
    size_t sources = json_array_size(json_object_get(object, "start"));
    size_t partitions = 0;
    size_t i;
    json_t *input;
    json_array_foreach (json_object_get(object, "inputs"), i, input) {
        partitions += (size_t)json_int(input, "partitions", 0);
    }
    bool good = json_int(object, "version", 0) > 0 && sources > 0 && sources <= LIMIT_SOURCES &&
                sources == partitions &&
                sources == json_array_size(json_object_get(object, "target")) &&
                state_find(&version_states, json_text(object, "state", "")) < VERSION_STATE_COUNT;
    return good ? 0 : err_set(err, KE_CORRUPT, "the catalog's object %s is not a version", key);
}

static int load_processors(struct core *core, struct err *err)
{
    json_t *list = NULL;
    int rc = catalog_list(core->catalog, "p/", &list, err);
    if (rc != 0) {
        return rc;
    }
    size_t i;
    json_t *entry;
    json_array_foreach (list, i, entry) {
        json_t *object = json_object_get(entry, "value");
        const char *name = json_text(object, "processor", NULL);
        if (name == NULL) {
            rc = err_set(err, KE_CORRUPT, "the catalog's object %s is not a processor",
                         json_text(entry, "key", "?"));
            break;
        }
        (void)model_processor_add(core, name, json_incref(object));
    }
    json_decref(list);
    return rc;
}

static int load_versions(struct core *core, struct core_processor *processor, struct err *err)
{
    char prefix[CATALOG_KEY_LEN];
    (void)snprintf(prefix, sizeof prefix, "v/%s/", processor->name);
    json_t *list = NULL;
    int rc = catalog_list(core->catalog, prefix, &list, err);
    if (rc != 0) {
        return rc;
    }
    size_t i;
    json_t *entry;
    json_array_foreach (list, i, entry) {
        json_t *object = json_object_get(entry, "value");
        rc = check_version(json_text(entry, "key", "?"), object, err);
        if (rc != 0) {
            break;
        }
        (void)model_version_add(processor, json_incref(object));
    }
    json_decref(list);
    if (rc == 0 && json_int(processor->object, "serving", 0) != 0 &&
        core_serving(processor) == NULL) {
        rc = err_set(err, KE_CORRUPT, "the catalog's serving version %lld of %s is not there",
                     (long long)json_int(processor->object, "serving", 0), processor->name);
    }
    return rc;
}

int change_load(struct core *core, struct err *err)
{
    int rc = load_processors(core, err);
    for (uint32_t i = 0; rc == 0 && i < core->processor_count; i++) {
        rc = load_versions(core, core->processors[i], err);
    }
    return rc;
}

/* ---- Transactions ---- */

void change_begin(struct change *change, struct core *core)
{
    memset(change, 0, sizeof *change);
    change->core = core;
    if (core->dead) {
        change->rc = err_set(&change->err, KE_CLOSED, "the controller has ended");
    } else if (core_dies(core, "commit")) {
        change->rc = err_set(&change->err, KE_CLOSED, "died before a commit");
    } else {
        change->rc = catalog_begin(core->catalog, &change->err);
    }
}

/* After a failed call the transaction is given up and later calls do nothing. */
static void change_note(struct change *change, int rc)
{
    if (rc != 0) {
        change->rc = rc;
        catalog_abort(change->core->catalog);
    }
}

/* object is taken; NULL deletes. */
static struct change_item *change_object(struct change *change, const char *key,
                                         const json_t *known, json_t *object)
{
    change->items = xrealloc(change->items, (change->count + 1) * sizeof *change->items);
    struct change_item *item = &change->items[change->count++];
    *item = (struct change_item){.key = xstrdup(key), .known = known, .object = object};
    if (change->rc == 0) {
        struct catalog *catalog = change->core->catalog;
        change_note(change, object != NULL ? catalog_put(catalog, key, object, &change->err)
                                           : catalog_delete(catalog, key, &change->err));
    }
    return item;
}

void change_version(struct change *change, struct core_version *version, json_t *object)
{
    char key[CATALOG_KEY_LEN];
    catalog_key_version(key, version->processor->name, version->number);
    canary_follow(change, version, object);
    change_object(change, key, version->object, object)->version = version;
}

void change_version_delete(struct change *change, const struct core_version *version)
{
    char key[CATALOG_KEY_LEN];
    catalog_key_version(key, version->processor->name, version->number);
    (void)change_object(change, key, version->object, NULL);
}

void change_processor(struct change *change, struct core_processor *processor, json_t *object)
{
    char key[CATALOG_KEY_LEN];
    catalog_key_processor(key, processor->name);
    change_object(change, key, processor->object, object)->processor = processor;
}

void change_put(struct change *change, const char *key, const json_t *known, json_t *object)
{
    (void)change_object(change, key, known, object);
}

void change_pointer(struct change *change, const char *table, const char *processor,
                    uint32_t version, uint64_t epoch, const struct catalog_canary *canary)
{
    struct catalog_pointer pointer = {.version = version, .epoch = epoch};
    if (canary != NULL) {
        pointer.canary = *canary;
    }
    (void)snprintf(pointer.processor, sizeof pointer.processor, "%s", processor);
    if (change->rc == 0) {
        change_note(change,
                    catalog_pointer_put(change->core->catalog, table, &pointer, &change->err));
    }
}

void change_pointer_delete(struct change *change, const char *table)
{
    if (change->rc == 0) {
        int rc = catalog_pointer_delete(change->core->catalog, table, &change->err);
        change_note(change, rc == -KE_NOT_FOUND ? 0 : rc);
    }
}

/* Memory takes the objects; or drops them when nothing was written. */
static void change_end(struct change *change, bool durable)
{
    for (uint32_t i = 0; i < change->count; i++) {
        struct change_item *item = &change->items[i];
        if (durable && item->version != NULL) {
            enum version_state from = (enum version_state)item->version->state;
            version_adopt(item->version, json_incref(item->object));
            if (item->version->state != from) {
                journal_state(change->core, item->version, from);
            }
        } else if (durable && item->processor != NULL) {
            json_decref(item->processor->object);
            item->processor->object = json_incref(item->object);
        }
        json_decref(item->object);
        free(item->key);
    }
    free(change->items);
}

/* After a failed commit: does the catalog hold what memory holds? */
static bool catalog_unchanged(const struct change *change)
{
    for (uint32_t i = 0; i < change->count; i++) {
        const struct change_item *item = &change->items[i];
        json_t *stored = NULL;
        int rc = catalog_get(change->core->catalog, item->key, &stored, NULL);
        bool same = rc == 0 ? item->known != NULL && json_equal(stored, item->known)
                            : rc == -KE_NOT_FOUND && item->known == NULL;
        json_decref(stored);
        if (!same) {
            return false;
        }
    }
    return true;
}

int change_commit(struct change *change, struct err *err)
{
    struct core *core = change->core;
    if (change->rc == 0) {
        change->rc = catalog_commit(core->catalog, &change->err);
        if (change->rc == 0 && core_dies(core, "committed")) {
            change->rc = err_set(&change->err, KE_CLOSED, "died behind a commit");
        } else if (change->rc != 0 && !catalog_unchanged(change)) {
            core->dead = true;
            core->ops.in_doubt(core->ops.ctx, &change->err);
        }
    }
    int rc = change->rc;
    change_end(change, rc == 0);
    if (rc != 0 && err != NULL) {
        *err = change->err;
        err_prefix(err, "the catalog");
    }
    return rc;
}
