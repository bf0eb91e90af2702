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

static int open_alone(const json_t *config, struct log **out, struct err *err)
{
    const char *dir = json_text(config, "archive", "");
    if (dir[0] == '\0') {
        return err_set(err, KE_INVALID, "a log of archives needs \"archive\", their folder");
    }
    *out = log_open_archived(dir, NULL);
    return 0;
}

int log_open_config(const json_t *config, struct log **out, struct err *err)
{
    const char *kind = json_text(config, "kind", "");
    const char *archive = json_text(config, "archive", NULL);
    struct log *log = NULL;
    int rc = 0;
    if (strcmp(kind, "archive") == 0) {
        return open_alone(config, out, err);
    }
    if (strcmp(kind, "embedded") == 0) {
        rc = open_embedded(config, &log, err);
    } else if (strcmp(kind, "kafka") == 0) {
        rc = open_kafka(config, &log, err);
    } else {
        rc = err_set(err, KE_INVALID,
                     "a log is of kind \"embedded\", \"kafka\" or \"archive\", not \"%s\"", kind);
    }
    if (rc == 0) {
        *out = archive == NULL ? log : log_open_archived(archive, log);
    }
    return rc;
}
