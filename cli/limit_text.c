/* Limits in words. Own header: limit_text.h. */
#include "cli/limit_text.h"

#include "cli/output.h"
#include "replayer/governor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    double times;
    bool bytes;
} units[] = {
    {"/s", 1, false},
    {"k/s", 1e3, false},
    {"M/s", 1e6, false},
    {"G/s", 1e9, false},
    {"B/s", 1, true},
    {"kB/s", 1e3, true},
    {"KB/s", 1e3, true},
    {"MB/s", 1e6, true},
    {"GB/s", 1e9, true},
    {"KiB/s", 1024, true},
    {"MiB/s", 1024 * 1024, true},
    {"GiB/s", 1024 * 1024 * 1024, true},
};

static int wrong(const char *part, const char *why, struct err *err)
{
    int rc = err_set(err, KE_INVALID, "the limit '%s' %s", part, why);
    err_hint(err, "write 50000/s (records), 20MB/s (bytes), both as 50k/s,20MB/s, or none");
    return rc;
}

static int part_parse(const char *part, json_t *limit, struct err *err)
{
    char *end = NULL;
    size_t digits = strspn(part, "0123456789.");
    double number = digits > 0 ? strtod(part, &end) : 0;
    if (digits == 0 || end != part + digits) {
        return wrong(part, "begins with no number", err);
    }
    const char *unit = end + strspn(end, " ");
    for (size_t i = 0; i < array_len(units); i++) {
        if (strcmp(units[i].name, unit) != 0) {
            continue;
        }
        double value = floor(number * units[i].times);
        const char *member = units[i].bytes ? "bytes_per_second" : "records_per_second";
        if (!(value >= 1 && value <= (double)GOVERNOR_RATE_MAX)) {
            return wrong(part, "is not between 1 and 10^12", err);
        }
        if (json_object_get(limit, member) != NULL) {
            return wrong(part, "says again what another part says", err);
        }
        (void)json_object_set_new(limit, member, json_integer((json_int_t)value));
        return 0;
    }
    return wrong(part, "has no unit that is known", err);
}

int limit_text_parse(const char *text, json_t **out, struct err *err)
{
    if (strcmp(text, "none") == 0) {
        *out = json_null();
        return 0;
    }
    json_t *limit = json_object();
    char *copy = xstrdup(text);
    char *rest = copy;
    int rc = 0;
    for (char *part = strsep(&rest, ","); rc == 0 && part != NULL; part = strsep(&rest, ",")) {
        rc = part_parse(part + strspn(part, " "), limit, err);
    }
    free(copy);
    if (rc != 0) {
        json_decref(limit);
        return rc;
    }
    *out = limit;
    return 0;
}

void limit_text(struct buf *out, const json_t *limit)
{
    char number[OUT_NUMBER_LEN];
    int64_t records = json_int(limit, "records_per_second", 0);
    double bytes = (double)json_int(limit, "bytes_per_second", 0);
    if (records > 0) {
        buf_printf(out, "%s records/s", out_count(records, number));
    }
    if (bytes > 0) {
        /* Of 1000, as it was written: out_bytes counts in 1024. */
        buf_printf(out, "%s%.3g %s/s", records > 0 ? ", " : "",
                   bytes >= 1e9   ? bytes / 1e9
                   : bytes >= 1e6 ? bytes / 1e6
                   : bytes >= 1e3 ? bytes / 1e3
                                  : bytes,
                   bytes >= 1e9   ? "GB"
                   : bytes >= 1e6 ? "MB"
                   : bytes >= 1e3 ? "kB"
                                  : "B");
    }
}
