/* Making a version: deploy (a new definition) and replay (the serving definition again). Own header:
 * core_inside.h.
 *
 *     request   definition compiled, names checked         SQL errors come back whole
 *     job       topics asked: partitions, identity, where to start, where the end is now
 *     done      names checked again, one catalog transaction, the worker starts
 *
 * A dry run ends at `done`: it answers what it would do (dry_run.h).
 *
 * Nothing is written before all of it is known to be right. The checks of names are made twice,
 * since another deploy may have come between. */
#include "controller/core_inside.h"

#include "base/trace.h"
#include "controller/base.h"
#include "controller/dry_run.h"
#include "controller/judge.h"
#include "log/log.h"
#include "log/position.h"
#include "processor/plan_object.h"
#include "serve/query.h"
#include "table/catalog.h"

#include <stdlib.h>
#include <string.h>

struct deploy {
    struct core_job job;
    struct deploy *next; /* chain of the core: those whose job is out */
    void *request;
    struct log *log; /* borrowed from the core */
    char *name;      /* all owned */
    char *file;
    char *sql;
    char *from;
    char *who;
    char *data_dir;
    char *outputs;   /* "all", "new", or "": as is usual */
    json_t *plugins; /* owned: {"file.so": hash of its bytes}, or NULL */
    json_t *files;   /* owned: {"order.avsc": text} beside the definition, or NULL */
    json_t *asked;   /* settings asked for beside the definition's; owned */
    json_t *given;   /* those of this request alone; owned */
    json_t *policy;  /* all that count; owned; from deploy_start on */
    json_t *limit;   /* of reading: as in the version's object; NULL: none was asked for; owned */
    bool again;      /* replay: the same definition is what is wanted */
    uint32_t shards;
    int64_t cache_bytes;
    struct plan *plan;
    struct position position;
    json_t *stood; /* topic_stood before the job; owned */
    /* What the job found. */
    struct position_topic *topics; /* per input of the plan; names borrowed from it */
    uint64_t *identities;
    struct position_range *ranges; /* per source */
    uint32_t source_count;
    bool complete;
    struct base base; /* from what it begins */
    bool in_window;   /* recompute only the windows from there on */
    int64_t disk_free;
    bool dry; /* only say what would be done: */
    struct dry_run dry_run;
    int rc;
    struct err err;
};

static void deploy_free(struct deploy *deploy)
{
    free(deploy->name);
    free(deploy->file);
    free(deploy->sql);
    free(deploy->from);
    json_decref(deploy->asked);
    json_decref(deploy->given);
    json_decref(deploy->policy);
    json_decref(deploy->limit);
    json_decref(deploy->stood);
    free(deploy->who);
    free(deploy->data_dir);
    free(deploy->outputs);
    json_decref(deploy->plugins);
    json_decref(deploy->files);
    if (deploy->plan != NULL) {
        plan_free(deploy->plan);
    }
    dry_run_free(&deploy->dry_run);
    position_free(&deploy->position);
    base_free(&deploy->base);
    free(deploy->topics);
    free(deploy->identities);
    free(deploy->ranges);
    free(deploy);
}

/* ---- Checks ---- */

/* A path component that no shell and no URL stumbles over. */
static bool name_is_valid(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t len = strlen(name);
    if (len == 0 || len > LIMIT_NAME_LEN || strchr(letters, name[0]) == NULL) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (strchr(letters, name[i]) == NULL && strchr("_-.", name[i]) == NULL) {
            return false;
        }
    }
    return true;
}

static int check_body(const struct core *core, const struct deploy *deploy, struct err *err)
{
    if (!name_is_valid(deploy->name)) {
        int rc = err_set(err, KE_INVALID, "\"%.*s\" is not a name for a processor", LIMIT_NAME_LEN,
                         deploy->name);
        err_hint(err, "at most %d letters, digits, '_', '-', '.'; the first a letter or digit",
                 LIMIT_NAME_LEN);
        return rc;
    }
    if (strlen(deploy->sql) > (size_t)LIMIT_SQL_LEN) {
        return err_set(err, KE_LIMIT, "the definition has %zu bytes, at most %d are allowed",
                       strlen(deploy->sql), LIMIT_SQL_LEN);
    }
    if (deploy->shards < 1 || deploy->shards > LIMIT_SHARDS) {
        return err_set(err, KE_INVALID, "\"shards\" must be from 1 to %d", LIMIT_SHARDS);
    }
    if (deploy->cache_bytes < 1) {
        return err_set(err, KE_INVALID, "\"cache_bytes\" must be positive");
    }
    return limit_check(deploy->limit, core_now_ms(core), err);
}

static bool version_has_table(const struct core_version *version, const char *name)
{
    for (uint32_t i = 0; i < version_table_count(version); i++) {
        if (strcmp(version_table(version, i), name) == 0) {
            return true;
        }
    }
    return false;
}

/* The names that readers may ask for: tables, then the views over them that are made when read. */
static uint32_t name_count(const struct plan *plan)
{
    return plan->view_count + plan->read_view_count;
}

static const char *name_at(const struct plan *plan, uint32_t i)
{
    return i < plan->view_count ? plan->views[i].shape.name
                                : plan->read_views[i - plan->view_count].name;
}

/* A table belongs to one processor. */
static int check_tables(const struct core *core, const struct deploy *deploy, struct err *err)
{
    for (uint32_t i = 0; i < core->processor_count; i++) {
        const struct core_processor *other = core->processors[i];
        bool own = strcmp(other->name, deploy->name) == 0;
        for (uint32_t k = 0; !own && k < other->version_count; k++) {
            const struct core_version *version = other->versions[k];
            bool live = version_is_live((enum version_state)version->state);
            for (uint32_t t = 0; live && t < name_count(deploy->plan); t++) {
                const char *name = name_at(deploy->plan, t);
                if (version_has_table(version, name)) {
                    int rc = err_set(err, KE_EXISTS, "the table \"%s\" belongs to %s (v%u)", name,
                                     other->name, version->number);
                    err_hint(
                        err,
                        "`--name %s` makes a version of that; else give the table another name",
                        other->name);
                    return rc;
                }
            }
        }
    }
    return 0;
}

/* A file for each plugin of the definition. */
static int check_plugins(const struct deploy *deploy, struct err *err)
{
    for (uint32_t i = 0; i < deploy->plan->plugin_count; i++) {
        const char *file = deploy->plan->plugins[i].file;
        const char *hash = json_text(deploy->plugins, file, "");
        if (strlen(hash) != DIGEST_TEXT_LEN ||
            strspn(hash, "0123456789abcdef") != DIGEST_TEXT_LEN) {
            int rc = err_set(err, KE_INVALID,
                             "the definition uses the plugin %s, which did not come "
                             "with it",
                             file);
            err_hint(err, "`kappa deploy`, on the machine of the server, brings the file that lies "
                          "beside the definition");
            return rc;
        }
    }
    return 0;
}

/* What makes two versions the same: the definition, and the bytes of its plugins. */
static void version_hash(const struct deploy *deploy, char *text)
{
    digest_format(deploy->plan->hash, text);
    if (deploy->plan->plugin_count == 0) {
        return;
    }
    struct buf all = {0};
    buf_append_text(&all, text);
    for (uint32_t i = 0; i < deploy->plan->plugin_count; i++) {
        const char *file = deploy->plan->plugins[i].file;
        buf_printf(&all, " %s=%s", file, json_text(deploy->plugins, file, ""));
    }
    digest_format(hash_content(all.data, all.len), text);
    buf_free(&all);
}

/* A live version with this definition and start, or NULL. */
static struct core_version *same_version(struct core *core, const struct deploy *deploy)
{
    struct core_processor *processor = core_processor_find(core, deploy->name);
    char hash[DIGEST_TEXT_LEN + 1];
    version_hash(deploy, hash);
    for (uint32_t i = processor != NULL ? processor->version_count : 0; i-- > 0;) {
        struct core_version *version = processor->versions[i];
        if (version_is_live((enum version_state)version->state) && !version->dropping &&
            strcmp(json_text(version->object, "hash", ""), hash) == 0 &&
            strcmp(json_text(version->object, "from", ""), deploy->from) == 0 &&
            json_bool(version->object, "empty_state", false) == deploy->base.empty_state &&
            (json_object_get(version->object, "window") != NULL) == deploy->in_window) {
            return version;
        }
    }
    return NULL;
}

/* Only who has never sent anything can send from the start. */
static int check_outputs(struct core *core, const struct deploy *deploy, struct err *err)
{
    const struct core_processor *known = core_processor_find(core, deploy->name);
    bool all = strcmp(deploy->outputs, "all") == 0;
    if (!all && deploy->outputs[0] != '\0' && strcmp(deploy->outputs, "new") != 0) {
        return err_set(err, KE_INVALID, "\"outputs\" is all or new, not \"%s\"", deploy->outputs);
    }
    if (all && known != NULL && json_int(known->object, "epoch", 0) > 0) {
        (void)err_set(err, KE_REFUSED,
                      "%s has served already: messages of records before the swap were sent by an "
                      "earlier version, and would come twice",
                      deploy->name);
        err_hint(err, "deploy it under another name to send all of them again");
        return -KE_REFUSED;
    }
    for (uint32_t t = 0; t < deploy->plan->topic_count; t++) {
        for (uint32_t i = 0; i < deploy->plan->input_count; i++) {
            if (strcmp(deploy->plan->topics[t].topic, deploy->plan->inputs[i].topic) == 0) {
                return err_set(
                    err, KE_REFUSED,
                    "%s reads topic '%s' and writes to it: it would never come to an end",
                    deploy->name, deploy->plan->inputs[i].topic);
            }
        }
    }
    return 0;
}

static const char *swap_of(const json_t *policy)
{
    return json_text(policy, policy_name(POLICY_MODE), "auto");
}

/* The definition is there already: its version takes the settings. What was asked for it before stays,
 * unless something else is asked now. 1: answered. */
static int answer_same(struct core *core, const struct deploy *deploy, struct core_version *same,
                       struct err *err)
{
    json_t *before = settings_asked(same->object);
    json_t *asked = NULL;
    int rc = settings_ask(before, deploy->given, &asked, err);
    json_decref(before);
    if (rc != 0) {
        return rc;
    }
    json_t *of_plan = settings_of_plan(deploy->plan);
    json_t *policy = settings_join(of_plan, asked);
    rc = who_may_deploy(core, deploy->name, policy, deploy->who, err);
    json_t *known = json_object_get(same->object, "policy");
    bool changed = !json_equal(policy, known) && (known != NULL || json_object_size(policy) > 0);
    json_t *extra = json_pack("{s:o, s:o, s:s, s:n}", "policy", policy, "asked", asked, "swap",
                              swap_of(policy), "refusal");
    json_decref(of_plan);
    ASSERT(extra != NULL);
    if (rc == 0 && changed && !deploy->dry) {
        rc = version_set(core, same, extra, err);
        gate_reset(same);
        if (rc == 0) {
            journal_note(core, "policy", deploy->name, same->number,
                         json_pack("{s:O, s:s}", "policy", json_object_get(same->object, "policy"),
                                   "who", deploy->who),
                         "%s v%u has another policy, by %s", deploy->name, same->number,
                         deploy->who);
        }
    } else {
        json_decref(extra);
    }
    if (rc == 0 && deploy->limit != NULL && !deploy->dry) {
        rc = limit_set(core, same, deploy->limit, deploy->who, err);
    }
    if (rc != 0) {
        return rc;
    }
    json_t *body = json_deep_copy(same->object);
    object_set(body, "unchanged", json_true());
    object_set(body, "policy_changed", json_boolean(changed));
    if (deploy->dry) {
        object_set(body, "dry_run", json_true());
    }
    core_reply(core, deploy->request, body, NULL);
    return 1;
}

/* 1: answered, nothing to do. */
static int check_model(struct core *core, const struct deploy *deploy, struct err *err)
{
    int rc = check_plugins(deploy, err);
    if (rc < 0) {
        return rc;
    }
    struct core_version *same = deploy->again ? NULL : same_version(core, deploy);
    if (same != NULL) {
        return answer_same(core, deploy, same, err);
    }
    rc = check_outputs(core, deploy, err);
    return rc == 0 ? check_tables(core, deploy, err) : rc;
}

/* ---- The job: questions to the log ---- */

/* Window functions, joins and final rows see the rows of a key in its partition: right if the message
 * key says so. */
static int check_one_partition(const struct plan_input *input, uint32_t partitions, struct err *err)
{
    if (!input->one_partition || partitions == 1) {
        return 0;
    }
    int rc =
        err_set(err, KE_REFUSED,
                "window functions, joins and INSERT INTO ... GROUP BY over %s see only one of the "
                "%u partitions of topic %s: rows of one key may lie in several",
                input->name, partitions, input->topic);
    err_hint(err,
             "say that the message key is the column of PARTITION BY, ON or GROUP BY, with "
             "CREATE TABLE %s ... WITH (key='column'), or bring the records of a key together: "
             "`kappa rekey %s --key COLUMN --into TOPIC`",
             input->name, input->topic);
    return rc;
}

static int ask_topics(struct deploy *deploy)
{
    const struct plan *plan = deploy->plan;
    struct log *log = deploy->log;
    for (uint32_t i = 0; i < plan->input_count; i++) {
        struct position_topic *topic = &deploy->topics[i];
        topic->topic = plan->inputs[i].topic;
        int rc = log->ops->topic_partitions(log, topic->topic, &topic->partitions, &deploy->err);
        if (rc == 0) {
            rc = log->ops->topic_identity(log, topic->topic, &deploy->identities[i], &deploy->err);
        }
        if (rc != 0) {
            return rc;
        }
        deploy->source_count += topic->partitions;
        if (topic->partitions == 0 || deploy->source_count > LIMIT_SOURCES) {
            return err_set(&deploy->err, KE_LIMIT,
                           "the inputs have %u partitions, a version reads 1 to %d",
                           deploy->source_count, LIMIT_SOURCES);
        }
        rc = check_one_partition(&plan->inputs[i], topic->partitions, &deploy->err);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* A topic to write that is not there is made, with as many partitions as the widest input. */
static int make_topics(struct deploy *deploy)
{
    struct log *log = deploy->log;
    struct log_topic_options options = {.retain_ms = -1, .retain_bytes = -1};
    int rc = 0;
    for (uint32_t i = 0; i < deploy->plan->input_count; i++) {
        uint32_t partitions = deploy->topics[i].partitions;
        options.partitions = partitions > options.partitions ? partitions : options.partitions;
    }
    for (uint32_t t = 0; rc == 0 && t < deploy->plan->topic_count; t++) {
        const char *topic = deploy->plan->topics[t].topic;
        uint32_t partitions = 0;
        rc = log->ops->topic_partitions(log, topic, &partitions, &deploy->err);
        if (rc == -KE_NOT_FOUND) {
            rc = log->ops->topic_create(log, topic, &options, &deploy->err);
            rc = rc == -KE_EXISTS ? 0 : rc;
            if (rc == 0) {
                trace(TRACE_INFO, "%s: made topic %s with %u partitions", deploy->name, topic,
                      options.partitions);
            }
        }
    }
    return rc;
}

static void look_ahead(struct deploy *deploy)
{
    deploy->dry_run.log = deploy->log;
    deploy->dry_run.topics = deploy->topics;
    deploy->dry_run.ranges = deploy->ranges;
    deploy->dry_run.source_count = deploy->source_count;
    deploy->dry_run.shards = deploy->shards;
    deploy->dry_run.cache_bytes = deploy->cache_bytes;
    dry_run_look(&deploy->dry_run);
}

static void deploy_run(struct core_job *job)
{
    struct deploy *deploy = container_of(job, struct deploy, job);
    deploy->rc = ask_topics(deploy);
    deploy->disk_free = dry_run_disk_free(deploy->data_dir);
    if (deploy->rc == 0) {
        deploy->ranges = xcalloc(deploy->source_count, sizeof *deploy->ranges);
        deploy->rc = position_resolve(&deploy->position, deploy->log, deploy->topics,
                                      deploy->plan->input_count, deploy->ranges, &deploy->complete,
                                      &deploy->err);
    }
    if (deploy->rc == 0) {
        deploy->rc =
            base_look(&deploy->base, &deploy->position, deploy->log, deploy->topics, deploy->ranges,
                      deploy->source_count, &deploy->complete, &deploy->err);
    }
    if (deploy->rc == 0 && deploy->dry) {
        look_ahead(deploy);
    } else if (deploy->rc == 0) {
        deploy->rc = make_topics(deploy);
    }
}

/* ---- The version object ---- */

static json_t *inputs_json(const struct deploy *deploy)
{
    json_t *inputs = json_array();
    for (uint32_t i = 0; i < deploy->plan->input_count; i++) {
        json_t *input = json_pack("{s:s, s:I, s:I}", "topic", deploy->topics[i].topic, "identity",
                                  (json_int_t)deploy->identities[i], "partitions",
                                  (json_int_t)deploy->topics[i].partitions);
        ASSERT(input != NULL);
        int rc = json_array_append_new(inputs, input);
        ASSERT(rc == 0);
    }
    return inputs;
}

static json_t *tables_json(const struct plan *plan)
{
    json_t *tables = json_array();
    for (uint32_t i = 0; i < name_count(plan); i++) {
        int rc = json_array_append_new(tables, json_string(name_at(plan, i)));
        ASSERT(rc == 0);
    }
    return tables;
}

static void outputs_set(const struct deploy *deploy, json_t *object)
{
    json_t *topics = json_array();
    for (uint32_t t = 0; t < deploy->plan->topic_count; t++) {
        int rc = json_array_append_new(topics, json_string(deploy->plan->topics[t].topic));
        ASSERT(rc == 0);
    }
    if (deploy->plan->topic_count > 0) {
        object_set(object, "outputs_from",
                   json_string(strcmp(deploy->outputs, "new") == 0 ? "new" : "all"));
    }
    object_set(object, "outputs", topics);
}

/* Those that the definition names. */
static json_t *files_json(const struct deploy *deploy)
{
    json_t *files = json_object();
    for (uint32_t i = 0; i < deploy->plan->file_count; i++) {
        const char *name = deploy->plan->files[i].name;
        object_set(files, name, json_incref(json_object_get(deploy->files, name)));
    }
    return files;
}

static json_t *version_object(const struct core *core, const struct deploy *deploy, int64_t number)
{
    char hash[DIGEST_TEXT_LEN + 1];
    version_hash(deploy, hash);
    json_t *start = json_array();
    json_t *target = json_array();
    for (uint32_t i = 0; i < deploy->source_count; i++) {
        int rc = json_array_append_new(start, json_integer(deploy->ranges[i].start)) +
                 json_array_append_new(target, json_integer(deploy->ranges[i].target));
        ASSERT(rc == 0);
    }
    uint32_t shards = deploy->shards < deploy->source_count ? deploy->shards : deploy->source_count;
    json_int_t now = core_now_ms(core);
    json_t *object = json_pack(
        "{s:s, s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:b, "
        "s:b, s:n, s:n, s:s}",
        "processor", deploy->name, "version", (json_int_t)number, "state",
        state_name(&version_states, VERSION_PLANNED), "definition", deploy->sql, "file",
        deploy->file, "hash", hash, "shards", (json_int_t)shards, "cache_bytes",
        (json_int_t)deploy->cache_bytes, "created_ms", now, "state_since_ms", now, "swap",
        swap_of(deploy->policy), "from", deploy->from, "inputs", inputs_json(deploy), "start",
        start, "target", target, "tables", tables_json(deploy->plan), "complete", deploy->complete,
        "barred", 0, "standby_until_ms", "error", "who", deploy->who);
    ASSERT(object != NULL);
    if (deploy->plan->plugin_count > 0) {
        object_set(object, "plugins", json_deep_copy(deploy->plugins));
    }
    if (deploy->plan->file_count > 0) {
        object_set(object, "files", files_json(deploy));
    }
    if (json_is_object(deploy->limit)) {
        object_set(object, "limit", limit_kept(deploy->limit));
    }
    base_set(&deploy->base, &deploy->position, core_now_ms(core), object);
    object_set(object, "policy", json_incref(deploy->policy));
    object_set(object, "asked", json_incref(deploy->asked));
    outputs_set(deploy, object);
    return object;
}

static json_t *processor_object(const struct core *core, const struct deploy *deploy,
                                const struct core_processor *known)
{
    if (known != NULL) {
        return json_copy(known->object);
    }
    json_t *object =
        json_pack("{s:s, s:i, s:i, s:i, s:I}", "processor", deploy->name, "serving", 0, "epoch", 0,
                  "next_version", 1, "standby_ms", (json_int_t)core->standby_ms);
    ASSERT(object != NULL);
    outputs_mark(core, deploy->name, object);
    return object;
}

/* Everything is known: writes the version, then takes it into the model. */
static int deploy_write(struct core *core, struct deploy *deploy, struct core_version **out)
{
    struct core_processor *known = core_processor_find(core, deploy->name);
    json_t *parent = processor_object(core, deploy, known);
    int64_t number = json_int(parent, "next_version", 1);
    object_set(parent, "next_version", json_integer(number + 1));
    json_t *object = version_object(core, deploy, number);

    int rc = admit_version(core, deploy->name, object, deploy->disk_free, &deploy->err);
    if (rc != 0) {
        json_decref(object);
        json_decref(parent);
        return rc;
    }
    char key[CATALOG_KEY_LEN];
    struct change change;
    change_begin(&change, core);
    catalog_key_processor(key, deploy->name);
    change_put(&change, key, known != NULL ? known->object : NULL, json_incref(parent));
    catalog_key_version(key, deploy->name, (uint32_t)number);
    change_put(&change, key, NULL, json_incref(object));
    rc = change_commit(&change, &deploy->err);
    if (rc != 0) {
        json_decref(object);
        json_decref(parent);
        return rc;
    }
    if (known == NULL) {
        known = model_processor_add(core, deploy->name, parent);
    } else {
        json_decref(known->object);
        known->object = parent;
    }
    *out = model_version_add(known, object);
    return 0;
}

/* Everything but the writing. What would refuse the version is told, and is no reason to say no more. */
static void deploy_answer_dry(struct core *core, struct deploy *deploy)
{
    static const char *const kept[] = {
        "processor", "version", "file",   "hash",   "from",
        "complete",  "swap",    "tables", "policy", "outputs",
        "shards",    "begins",  "base",   "window", "complete_since_ms"};
    struct core_processor *known = core_processor_find(core, deploy->name);
    int64_t number = known != NULL ? json_int(known->object, "next_version", 1) : 1;
    json_t *object = version_object(core, deploy, number);
    struct err refused = {0};
    int rc = admit_version(core, deploy->name, object, deploy->disk_free, &refused);
    json_t *body = dry_run_json(&deploy->dry_run);
    object_set(body, "dry_run", json_true());
    object_set(body, "refused", rc != 0 ? error_to_json(&refused) : json_null());
    for (size_t i = 0; i < array_len(kept); i++) {
        json_t *member = json_object_get(object, kept[i]);
        if (member != NULL) {
            object_set(body, kept[i], json_incref(member));
        }
    }
    core_reply(core, deploy->request, body, NULL);
    json_decref(object);
}

/* What the log could not say. */
static void tell_generations(struct core *core, struct deploy *deploy)
{
    const struct core_processor *known = core_processor_find(core, deploy->name);
    const struct position_range *ranges = deploy->ranges;
    for (uint32_t i = 0; i < deploy->plan->input_count; i++) {
        if (deploy->identities[i] == 0) {
            deploy->identities[i] =
                topic_generation(known, deploy->stood, &deploy->topics[i], ranges);
        }
        ranges += deploy->topics[i].partitions;
    }
}

/* Of the version that serves, or NULL. */
static const json_t *serving_object(struct core *core, const char *processor)
{
    struct core_processor *known = core_processor_find(core, processor);
    const struct core_version *serving = known != NULL ? core_serving(known) : NULL;
    return serving != NULL ? serving->object : NULL;
}

static void deploy_unlink(struct core *core, struct deploy *deploy)
{
    struct deploy **at = &core->deploys;
    while (*at != deploy) {
        at = &(*at)->next;
        ASSERT(*at != NULL);
    }
    *at = deploy->next;
}

static void deploy_done(struct core *core, struct core_job *job)
{
    struct deploy *deploy = container_of(job, struct deploy, job);
    struct core_version *version = NULL;
    if (core != NULL) {
        deploy_unlink(core, deploy);
    }
    if (core == NULL || core->dead || !waiters_take(&core->jobs, deploy->request)) {
        deploy_free(deploy);
        return;
    }
    int rc = deploy->rc;
    if (rc == 0 && core->stopping) {
        rc = err_set(&deploy->err, KE_CLOSED, "the server is shutting down");
    }
    if (rc == 0) {
        rc = check_model(core, deploy, &deploy->err);
        tell_generations(core, deploy);
        rc = rc == 0 ? base_settle(&deploy->base, deploy->identities, deploy->ranges,
                                   serving_object(core, deploy->name), deploy->source_count,
                                   &deploy->complete, &deploy->err)
                     : rc;
    }
    if (rc == 0 && deploy->dry) {
        deploy_answer_dry(core, deploy);
    } else if (rc == 0) {
        rc = deploy_write(core, deploy, &version);
    }
    if (rc == 0 && version != NULL) {
        trace(TRACE_INFO, "%s v%u: planned, %u partitions from %s", deploy->name, version->number,
              deploy->source_count, deploy->from);
        journal_note(core, "planned", deploy->name, version->number,
                     json_pack("{s:s, s:s, s:s}", "who", deploy->who, "file", deploy->file, "from",
                               deploy->from),
                     "%s v%u is deployed by %s", deploy->name, version->number, deploy->who);
        core_reply(core, deploy->request, json_deep_copy(version->object), NULL);
        version_advance(core, version);
    } else if (rc < 0) {
        core_reply(core, deploy->request, NULL, &deploy->err);
    }
    deploy_free(deploy);
}

/* ---- Requests ---- */

static int deploy_compile(struct deploy *deploy)
{
    struct plan_files files = plan_files_of(deploy->files);
    int rc = plan_compile_files(deploy->file, deploy->sql, strlen(deploy->sql), &files,
                                &deploy->plan, &deploy->err);
    return rc == 0 ? query_check_views(deploy->plan, deploy->file, &deploy->err) : rc;
}

/* What the definition sets and what was asked for, together. */
static int settle(struct deploy *deploy, struct err *err)
{
    json_t *asked = NULL;
    int rc = settings_ask(deploy->asked, deploy->given, &asked, err);
    if (rc != 0) {
        return rc;
    }
    json_t *of_plan = settings_of_plan(deploy->plan);
    json_decref(deploy->asked);
    deploy->asked = asked;
    deploy->policy = settings_join(of_plan, asked);
    json_decref(of_plan);
    return 0;
}

static bool is_same(const struct deploy *deploy, const struct deploy *other)
{
    char hash[DIGEST_TEXT_LEN + 1];
    char other_hash[DIGEST_TEXT_LEN + 1];
    version_hash(deploy, hash);
    version_hash(other, other_hash);
    return !deploy->again && !other->again && strcmp(hash, other_hash) == 0 &&
           strcmp(deploy->from, other->from) == 0;
}

/* One thing at a time with a processor: the other one must know what it is about. The same deploy twice
 * makes one version. */
static int check_alone(struct core *core, const struct deploy *deploy, struct err *err)
{
    struct core_processor *known = core_processor_find(core, deploy->name);
    for (const struct deploy *at = core->deploys; !deploy->dry && at != NULL; at = at->next) {
        if (!at->dry && strcmp(at->name, deploy->name) == 0 && !is_same(deploy, at)) {
            int rc = err_set(err, KE_REFUSED, "%s is being deployed by %s", deploy->name, at->who);
            err_hint(err, "kappa status %s shows what comes of it", deploy->name);
            return rc;
        }
    }
    if (known == NULL || deploy->dry || !known->swap.active) {
        return 0;
    }
    int rc = err_set(err, KE_REFUSED, "a swap of %s to v%u is under way", deploy->name,
                     known->swap.new->number);
    err_hint(err, "it ends within %lld s, then deploy again", (long long)(HOLD_US_MAX / 1000000));
    return rc;
}

/* From what it begins, as far as that can be told now. */
static int base_begin(struct core *core, struct deploy *deploy)
{
    deploy->base.data_dir = deploy->data_dir;
    deploy->base.processor = deploy->name;
    deploy->base.plan = deploy->plan;
    deploy->base.plugins = deploy->plugins;
    return deploy->in_window ? base_window(&deploy->base, &deploy->position,
                                           serving_object(core, deploy->name), &deploy->err)
                             : 0;
}

/* Takes the deploy. */
static void deploy_start(struct core *core, struct deploy *deploy)
{
    deploy->job = (struct core_job){.run = deploy_run, .done = deploy_done};
    deploy->log = core->log;
    deploy->data_dir = xstrdup(core->data_dir);
    int rc = check_body(core, deploy, &deploy->err);
    if (rc == 0) {
        rc = position_parse(deploy->from, core_now_ms(core), &deploy->position, &deploy->err);
    }
    if (rc == 0) {
        rc = deploy_compile(deploy);
    }
    if (rc == 0) {
        rc = settle(deploy, &deploy->err);
    }
    if (rc == 0) {
        rc = base_begin(core, deploy);
    }
    if (rc == 0) {
        rc = check_model(core, deploy, &deploy->err);
    }
    if (rc == 0) {
        rc = check_alone(core, deploy, &deploy->err);
    }
    if (rc != 0) {
        if (rc < 0) {
            core_reply(core, deploy->request, NULL, &deploy->err);
        }
        deploy_free(deploy);
        return;
    }
    if (deploy->dry) {
        char hash[DIGEST_TEXT_LEN + 1];
        version_hash(deploy, hash);
        deploy->dry_run.plan = deploy->plan;
        dry_run_know(&deploy->dry_run, core, deploy->name, hash);
    }
    deploy->topics = xcalloc(deploy->plan->input_count, sizeof *deploy->topics);
    deploy->identities = xcalloc(deploy->plan->input_count, sizeof *deploy->identities);
    deploy->stood = topic_stood(core_processor_find(core, deploy->name));
    waiters_add(&core->jobs, deploy->request);
    deploy->next = core->deploys;
    core->deploys = deploy;
    core_run_job(core, &deploy->job);
}

/* The settings of a request; the older member "swap" is one of them. Not checked. */
static json_t *given_settings(const json_t *body)
{
    json_t *given = json_deep_copy(json_object_get(body, "settings"));
    const char *swap = json_text(body, "swap", NULL);
    if (swap != NULL) {
        given = given != NULL ? given : json_object();
        if (json_is_object(given)) {
            object_set(given, policy_name(POLICY_MODE), json_string(swap));
        }
    }
    return given;
}

static struct deploy *deploy_new(const struct core *core, void *request, const char *name,
                                 const char *file, const char *sql, const char *from,
                                 const json_t *body)
{
    struct deploy *deploy = xcalloc(1, sizeof *deploy);
    deploy->request = request;
    deploy->name = xstrdup(name);
    deploy->file = xstrdup(file);
    deploy->sql = xstrdup(sql);
    deploy->from = xstrdup(json_text(body, "from", from));
    deploy->who = xstrdup(json_text(body, "who", "api"));
    deploy->outputs = xstrdup(json_text(body, "outputs", ""));
    deploy->plugins = json_deep_copy(json_object_get(body, "plugins"));
    deploy->files = json_deep_copy(json_object_get(body, "files"));
    deploy->given = given_settings(body);
    deploy->limit = json_deep_copy(json_object_get(body, "limit"));
    deploy->dry = json_bool(body, "dry_run", false);
    deploy->base.empty_state = json_bool(body, "empty_state", false);
    deploy->in_window = json_bool(body, "in_window", false);
    int64_t shards = json_int(body, "shards", core->shards);
    deploy->shards = shards > 0 && shards <= LIMIT_SHARDS ? (uint32_t)shards : 0;
    deploy->cache_bytes = json_int(body, "cache_bytes", core->cache_bytes);
    return deploy;
}

void deploy_request(struct core *core, void *request, const char *processor, const json_t *body)
{
    const char *sql = json_text(body, "sql", NULL);
    if (sql == NULL) {
        struct err err = {0};
        (void)err_set(&err, KE_INVALID, "a deploy needs \"sql\", the text of the definition");
        core_reply(core, request, NULL, &err);
        return;
    }
    char *file = xasprintf("%s.sql", processor);
    struct deploy *deploy =
        deploy_new(core, request, processor, json_text(body, "file", file), sql, "beginning", body);
    free(file);
    deploy_start(core, deploy);
}

/* The definition that serves; before the first swap, the newest one. */
void replay_request(struct core *core, void *request, struct core_processor *processor,
                    const json_t *body)
{
    struct core_version *model = core_serving(processor);
    if (model == NULL && processor->version_count > 0) {
        model = processor->versions[processor->version_count - 1];
    }
    if (model == NULL) {
        struct err err = {0};
        (void)err_set(&err, KE_NOT_FOUND, "%s has no version to take the definition from",
                      processor->name);
        err_hint(&err, "kappa deploy FILE.sql --name %s", processor->name);
        core_reply(core, request, NULL, &err);
        return;
    }
    const json_t *object = model->object;
    struct deploy *deploy = deploy_new(
        core, request, processor->name, json_text(object, "file", "definition.sql"),
        json_text(object, "definition", ""), json_text(object, "from", "beginning"), body);
    deploy->again = true;
    if (json_object_get(body, "from") == NULL && json_object_get(body, "empty_state") == NULL) {
        deploy->base.empty_state = json_bool(object, "empty_state", false);
    }
    json_decref(deploy->plugins);
    json_decref(deploy->files);
    deploy->plugins = json_incref(json_object_get(object, "plugins"));
    deploy->files = json_incref(json_object_get(object, "files"));
    deploy->asked = settings_asked(object); /* limits stay, who swaps is said anew */
    (void)json_object_del(deploy->asked, policy_name(POLICY_MODE));
    (void)json_object_del(deploy->asked, policy_name(POLICY_ACCEPT_GAP));
    deploy_start(core, deploy);
}
