/* May this version be made? What can be said of it before it is written, from its object and from the
 * version that serves. Own header: core_inside.h. */
#include "controller/core_inside.h"
#include "controller/judge.h"

#include <stdlib.h>

/* Its first message to the worker must fit in a line. */
static int check_message(const struct core *core, const char *processor, json_t *object,
                         struct err *err)
{
    /* A stand-in. */
    char *name = xstrdup(processor);
    struct core_processor shell = {.name = name};
    const struct core_version trial = {
        .processor = &shell, .number = (uint32_t)json_int(object, "version", 0), .object = object};
    json_t *message = child_open_message(core, &trial);
    free(name);
    struct buf line = {0};
    json_write(&line, message);
    size_t len = line.len;
    buf_free(&line);
    json_decref(message);
    return len < LIMIT_MESSAGE_BYTES
               ? 0
               : err_set(err, KE_LIMIT,
                         "definition, its files and sources need %zu bytes, more than the %d "
                         "of a message to a worker",
                         len, LIMIT_MESSAGE_BYTES);
}

/* Would the new version lack what the serving one has, and is to be swapped in by itself? */
static int check_gap(const char *processor, const json_t *object, const json_t *serving,
                     struct err *err)
{
    struct policy policy;
    settings_read(object, &policy);
    if (serving == NULL || policy.manual || policy.accept_gap) {
        return 0;
    }
    int rc = judge_gap(object, serving, err);
    if (rc != 0) {
        err_prefix(err, "refused now rather than after the replay");
        err_hint(err,
                 "--accept-gap takes that; --swap manual makes %s v%lld and leaves the swap to you",
                 processor, (long long)json_int(object, "version", 0));
    }
    return rc;
}

/* The same tables over the same records need about what the serving version needs. */
static int check_disk(const json_t *object, const struct core_version *serving, int64_t disk_free,
                      struct err *err)
{
    if (serving == NULL || !child_is_open(&serving->child) ||
        !json_equal(json_object_get(object, "tables"),
                    json_object_get(serving->object, "tables")) ||
        judge_gap(object, serving->object, NULL) != 0) {
        return 0;
    }
    return judge_disk(json_int(serving->child.stats, "used_bytes", -1), disk_free, err);
}

int admit_version(struct core *core, const char *processor, json_t *object, int64_t disk_free,
                  struct err *err)
{
    struct core_processor *known = core_processor_find(core, processor);
    struct core_version *serving = known != NULL ? core_serving(known) : NULL;
    int rc = who_may_deploy(core, processor, json_object_get(object, "policy"),
                            json_text(object, "who", ""), err);
    if (rc == 0) {
        rc = check_message(core, processor, object, err);
    }
    if (rc == 0) {
        rc = check_gap(processor, object, serving != NULL ? serving->object : NULL, err);
    }
    return rc == 0 ? check_disk(object, serving, disk_free, err) : rc;
}
