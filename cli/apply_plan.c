/* What a folder of definitions asks for. Own header: apply_plan.h. */
#include "cli/apply_plan.h"

#include "cli/client.h"
#include "cli/definition.h"
#include "cli/definition_body.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILES_MAX 1000

const char *apply_action_word(enum apply_action action)
{
    static const char *const words[] = {
        [APPLY_UNCHANGED] = "unchanged",     [APPLY_CREATE] = "create",
        [APPLY_NEW_VERSION] = "new version", [APPLY_POLICY] = "policy",
        [APPLY_SWAP] = "swap back",          [APPLY_BARRED] = "rolled back",
        [APPLY_REFUSED] = "refused"};
    return words[action];
}

bool apply_acts(const struct apply_item *item)
{
    return item->action != APPLY_UNCHANGED && item->action != APPLY_BARRED &&
           item->action != APPLY_REFUSED;
}

void apply_free(struct apply_plan *plan)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        struct apply_item *item = &plan->items[i];
        free(item->path);
        free(item->name);
        buf_free(&item->sql);
        json_decref(item->body);
        json_decref(item->inputs);
        json_decref(item->outputs);
        json_decref(item->answer);
    }
    free(plan->items);
}

/* ---- Files ---- */

static struct apply_item *item_add(struct apply_plan *plan, char *path)
{
    plan->items = xrealloc(plan->items, (plan->count + 1) * sizeof *plan->items);
    struct apply_item *item = &plan->items[plan->count++];
    *item = (struct apply_item){.path = path,
                                .name = definition_name(path),
                                .inputs = json_object(),
                                .outputs = json_object()};
    return item;
}

static int is_definition(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' && len > 4 && strcmp(entry->d_name + len - 4, ".sql") == 0;
}

static int folder_read(struct apply_plan *plan, const char *path, struct err *err)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, is_definition, alphasort);
    if (count < 0) {
        return err_errno(err, errno, "cannot read %s", path);
    }
    size_t len = strlen(path);
    for (int i = 0; i < count; i++) {
        const char *slash = len > 0 && path[len - 1] == '/' ? "" : "/";
        (void)item_add(plan, xasprintf("%s%s%s", path, slash, entries[i]->d_name));
        free(entries[i]);
    }
    free(entries);
    if (count > 0) {
        return 0;
    }
    int rc = err_set(err, KE_NOT_FOUND, "there is no .sql file in %s", path);
    err_hint(err, "folders in it are not looked into: name them, as in DIR/*/");
    return rc;
}

static int files_read(const struct cli *cli, struct apply_plan *plan, struct err *err)
{
    for (int i = 0; i < cli->arg_count; i++) {
        struct stat stat_of;
        const char *path = cli->args[i];
        if (stat(path, &stat_of) != 0) {
            return err_errno(err, errno, "cannot read %s", path);
        }
        if (!S_ISDIR(stat_of.st_mode)) {
            (void)item_add(plan, xstrdup(path));
        } else if (folder_read(plan, path, err) != 0) {
            return err->code;
        }
    }
    return plan->count <= FILES_MAX
               ? 0
               : err_set(err, KE_LIMIT, "%u definitions, more than %d", plan->count, FILES_MAX);
}

static int check_names(const struct apply_plan *plan, struct err *err)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(plan->items[i].name, plan->items[k].name) == 0) {
                return err_set(err, KE_INVALID, "%s and %s both define the processor %s",
                               plan->items[k].path, plan->items[i].path, plan->items[i].name);
            }
        }
    }
    return 0;
}

/* Topics that it reads and makes; of one that does not compile nothing is known, the server says why. */
static void topics_read(struct apply_item *item)
{
    struct definition definition;
    struct err unsaid = {0};
    if (definition_compile(item->path, &item->sql, &definition, &unsaid) == 0) {
        const struct plan *plan = definition.plan;
        for (uint32_t i = 0; i < plan->input_count; i++) {
            (void)json_object_set_new(item->inputs, plan->inputs[i].topic, json_true());
        }
        for (uint32_t i = 0; i < plan->topic_count; i++) {
            (void)json_object_set_new(item->outputs, plan->topics[i].topic, json_true());
        }
    }
    definition_free(&definition);
}

/* A topic that one reads and the other makes, or NULL. */
static const char *topic_between(const struct apply_item *item, const struct apply_item *maker)
{
    const char *topic;
    json_t *value;
    json_object_foreach (item->inputs, topic, value) {
        if (json_object_get(maker->outputs, topic) != NULL) {
            return topic;
        }
    }
    return NULL;
}

/* Makers first, else as the files were given. */
static void put_in_order(struct apply_plan *plan)
{
    for (uint32_t done = 0; done < plan->count; done++) {
        uint32_t next = done;
        bool waits = true;
        for (uint32_t i = done; i < plan->count && waits; i++) {
            waits = false;
            for (uint32_t k = done; k < plan->count && !waits; k++) {
                waits = k != i && topic_between(&plan->items[i], &plan->items[k]) != NULL;
            }
            next = waits ? next : i; /* in a circle: the first one */
        }
        struct apply_item item = plan->items[next];
        memmove(&plan->items[done + 1], &plan->items[done], (next - done) * sizeof item);
        plan->items[done] = item;
    }
}

int apply_read(const struct cli *cli, struct apply_plan *plan, struct err *err)
{
    *plan = (struct apply_plan){0};
    int rc = files_read(cli, plan, err);
    if (rc == 0) {
        rc = check_names(plan, err);
    }
    for (uint32_t i = 0; i < plan->count && rc == 0; i++) {
        struct apply_item *item = &plan->items[i];
        rc = definition_read(item->path, &item->sql, err);
        if (rc == 0) {
            topics_read(item);
            rc = definition_body(cli, item->path, item->name, &item->sql, &item->body, err);
        }
    }
    if (rc == 0) {
        put_in_order(plan);
    }
    return rc;
}

/* ---- The server ---- */

/* Is the topic that it did not find made by one before? */
static bool is_to_come(const struct apply_plan *plan, uint32_t index)
{
    struct apply_item *item = &plan->items[index];
    for (uint32_t i = 0; i < index; i++) {
        item->needs = topic_between(item, &plan->items[i]);
        if (item->needs != NULL && plan->items[i].action == APPLY_CREATE) {
            item->maker = plan->items[i].name;
            return true;
        }
    }
    item->needs = NULL;
    return false;
}

static void refuse(struct apply_item *item, const struct err *err)
{
    item->action = APPLY_REFUSED;
    item->err = *err;
}

static void bar(struct apply_item *item)
{
    int64_t version = json_int(item->answer, "version", 0);
    item->action = APPLY_BARRED;
    (void)err_set(&item->err, KE_REFUSED,
                  "v%lld of %s has this definition, and was rolled back by a person",
                  (long long)version, item->name);
    err_hint(&item->err, "`kappa swap %s %lld` takes it again; or put the definition back",
             item->name, (long long)version);
}

static void judge(struct apply_item *item)
{
    const json_t *answer = item->answer;
    const json_t *refused = json_object_get(answer, "refused");
    bool stands_by = strcmp(json_text(answer, "state", ""), "standby") == 0;
    if (json_is_object(refused)) {
        json_t *outer = json_pack("{s:O}", "error", refused);
        struct err err = {0};
        (void)json_to_err(outer, &err);
        json_decref(outer);
        refuse(item, &err);
    } else if (!json_bool(answer, "unchanged", false)) {
        item->action = json_int(answer, "version", 0) == 1 ? APPLY_CREATE : APPLY_NEW_VERSION;
    } else if (stands_by && json_bool(answer, "barred", false)) {
        bar(item);
    } else if (stands_by) {
        item->action = APPLY_SWAP;
    } else {
        item->action = json_bool(answer, "policy_changed", false) ? APPLY_POLICY : APPLY_UNCHANGED;
    }
}

/* Another definition's version that is on its way would take over by itself: said, and left alone. */
static void warn_of_successor(struct apply_item *item, const json_t *processor)
{
    const json_t *version;
    size_t i;
    json_array_foreach (json_object_get(processor, "versions"), i, version) {
        const char *state = json_text(version, "state", "");
        int64_t number = json_int(version, "version", 0);
        bool comes = strcmp(state, "planned") == 0 || strcmp(state, "replaying") == 0 ||
                     strcmp(state, "catching_up") == 0 || strcmp(state, "ready") == 0;
        if (!comes || number <= json_int(item->answer, "version", 0) ||
            strcmp(json_text(version, "swap", "auto"), "auto") != 0) {
            continue;
        }
        json_t *text =
            json_sprintf("v%lld has another definition, is %s and will take over: `kappa "
                         "abort %s %lld` stops it",
                         (long long)number, state, item->name, (long long)number);
        json_t *warnings = json_object_get(item->answer, "warnings");
        if (warnings == NULL) {
            warnings = json_array();
            (void)json_object_set_new(item->answer, "warnings", warnings);
        }
        (void)json_array_append_new(warnings, text);
    }
}

static void look_at_successors(const struct apply_plan *plan, const json_t *status)
{
    const json_t *processor;
    size_t p;
    json_array_foreach (json_object_get(status, "processors"), p, processor) {
        for (uint32_t i = 0; i < plan->count; i++) {
            struct apply_item *item = &plan->items[i];
            if (strcmp(item->name, json_text(processor, "name", "")) == 0 &&
                json_bool(item->answer, "unchanged", false)) {
                warn_of_successor(item, processor);
            }
        }
    }
}

/* What concerns all of them. */
static bool is_general(int rc)
{
    return rc == -KE_UNREACHABLE || rc == -KE_UNAUTHORIZED || rc == -KE_CLOSED;
}

int apply_ask(struct client *client, struct apply_plan *plan, struct err *err)
{
    for (uint32_t i = 0; i < plan->count; i++) {
        struct apply_item *item = &plan->items[i];
        struct err said = {0};
        json_t *body = json_copy(item->body);
        (void)json_object_set_new(body, "dry_run", json_true());
        int rc =
            client_call(client, "/v1/processors", body, CLIENT_WAIT_FOR_EVER, &item->answer, &said);
        json_decref(body);
        if (rc == 0) {
            judge(item);
        } else if (is_general(rc)) {
            *err = said;
            return rc;
        } else if (rc == -KE_NOT_FOUND && is_to_come(plan, i)) {
            item->action = APPLY_CREATE;
        } else {
            refuse(item, &said);
        }
    }
    json_t *status = NULL;
    int rc = client_call(client, "/v1/status", NULL, CLIENT_WAIT_SECONDS, &status, err);
    if (rc == 0) {
        look_at_successors(plan, status);
        json_decref(status);
    }
    return rc;
}
