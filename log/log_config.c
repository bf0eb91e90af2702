/* Which log a configuration names. Own header: log.h. */
#include "log/log.h"

#include <string.h>

static int open_embedded(const json_t *config, struct log **out, struct err *err)
{
    const char *dir = json_text(config, "dir", "");
    if (dir[0] == '\0') {
        return err_set(err, KE_INVALID, "an embedded log needs \"dir\", its folder");
    }
    return log_open_embedded(dir, out, err);
}

static int open_kafka(const json_t *config, struct log **out, struct err *err)
{
    const char *brokers = json_text(config, "brokers", "");
    if (brokers[0] == '\0') {
        return err_set(err, KE_INVALID, "a Kafka log needs \"brokers\", as host:port,...");
    }
    return log_open_kafka(brokers, json_object_get(config, "properties"), out, err);
}

int log_open_config(const json_t *config, struct log **out, struct err *err)
{
    const char *kind = json_text(config, "kind", "");
    if (strcmp(kind, "embedded") == 0) {
        return open_embedded(config, out, err);
    }
    if (strcmp(kind, "kafka") == 0) {
        return open_kafka(config, out, err);
    }
    return err_set(err, KE_INVALID, "a log is of kind \"embedded\" or \"kafka\", not \"%s\"", kind);
}
