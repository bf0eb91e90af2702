/* The plugin of the simulator's definition. Own header: sim_operators.h. */
#include "tests/sim/sim_operators.h"

#include <stdio.h>
#include <string.h>

static int plugin_open(const struct kappa_plugin_schema *schema, void **instance, char *error,
                       size_t error_size)
{
    bool known = schema->input_count == 5 && schema->output_count == 2;
    *instance = NULL;
    (void)snprintf(error, error_size, "%s", known ? "" : "other columns than it knows");
    return known ? 0 : 1;
}

static bool is(const struct kappa_value *value, const char *text)
{
    return value->s.len == strlen(text) && memcmp(value->s.bytes, text, value->s.len) == 0;
}

static int plugin_event(void *instance, const struct kappa_event *event,
                        const struct kappa_host *host)
{
    (void)instance;
    const struct kappa_value *user = &event->values[0];
    const struct kappa_value *type = &event->values[1];
    const struct kappa_value *product = &event->values[2];
    const void *kept = NULL;
    uint32_t len = 0;
    int64_t count = 0;
    if (is(type, "view") && is(product, "p2")) {
        return host->refuse(host->ctx, "nobody looks at p2");
    }
    int rc = host->get(host->ctx, user->s.bytes, user->s.len, &kept, &len);
    if (rc < 0) {
        return rc;
    }
    if (rc == 1) {
        ASSERT(len == sizeof count);
        memcpy(&count, kept, len);
    }
    count++;
    struct kappa_value row[2] = {*user, {.type = KAPPA_TYPE_BIGINT, .i = count}};
    rc = host->emit(host->ctx, row, 2);
    if (rc == 0 && is(type, "click") && is(product, "p1")) {
        row[1].i = 0;
        rc = host->emit(host->ctx, row, 2);
    }
    if (rc != 0) {
        return rc;
    }
    return is(type, "purchase") && is(product, "p0")
               ? host->del(host->ctx, user->s.bytes, user->s.len)
               : host->put(host->ctx, user->s.bytes, user->s.len, &count, sizeof count);
}

static void plugin_close(void *instance)
{
    (void)instance;
}

const struct kappa_plugin sim_plugin = {KAPPA_PLUGIN_ABI, plugin_open, plugin_event, plugin_close};
const struct kappa_plugin *const sim_plugins[] = {&sim_plugin};
