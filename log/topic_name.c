/* Names of topics. Own header: topic_name.h. */
#include "log/topic_name.h"

#include "base/limits.h"
#include "base/suggest.h"

#include <string.h>

#define NEAR_COUNT_MAX 3 /* names offered */
#define FEW_TOPICS     8 /* up to so many are all named when none is near */

bool topic_name_valid(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > LIMIT_NAME_LEN || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return false;
    }
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

int topic_name_check(const char *name, struct err *err)
{
    if (topic_name_valid(name)) {
        return 0;
    }
    int rc = err_set(err, KE_INVALID, "'%.*s' cannot be the name of a topic", LIMIT_NAME_LEN, name);
    err_hint(err, "use 1 to %d letters, digits, '.', '_' or '-'", LIMIT_NAME_LEN);
    return rc;
}

/* Appends the names within this distance; returns how many. */
static size_t names_within(const json_t *topics, const char *name, size_t distance_max, size_t max,
                           struct buf *out)
{
    size_t found = 0;
    size_t i;
    json_t *topic;
    json_array_foreach (topics, i, topic) {
        const char *candidate = json_text(topic, "name", "");
        if (found < max && suggest_distance(name, candidate) <= distance_max) {
            buf_printf(out, "%s'%s'", found == 0 ? "" : ", ", candidate);
            found++;
        }
    }
    return found;
}

int topic_name_not_found(const char *name, const json_t *topics, struct err *err)
{
    int rc = err_set(err, KE_NOT_FOUND, "there is no topic '%s'", name);
    struct buf names = {0};
    size_t near_max = 1 + strlen(name) / 4;
    if (names_within(topics, name, near_max, NEAR_COUNT_MAX, &names) > 0) {
        err_hint(err, "did you mean %s?", buf_text(&names));
    } else if (json_array_size(topics) > 0 && json_array_size(topics) <= FEW_TOPICS) {
        (void)names_within(topics, name, SIZE_MAX, FEW_TOPICS, &names);
        err_hint(err, "there are %s; make it with 'kappa topic create %s'", buf_text(&names), name);
    } else {
        err_hint(err, "make it with 'kappa topic create %s', or see 'kappa topic list'", name);
    }
    buf_free(&names);
    return rc;
}
