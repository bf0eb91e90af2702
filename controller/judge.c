/* Judging a version. Own header: judge.h. */
#include "controller/judge.h"

#include "base/timefmt.h"
#include "processor/plan.h"

#include <stdio.h>
#include <string.h>

#define MIB (INT64_C(1) << 20)

/* ---- Settings ---- */

static void text_set(json_t *object, const char *name, const char *value)
{
    int rc = json_object_set_new(object, name, json_string(value));
    ASSERT(rc == 0);
}

json_t *settings_of_plan(const struct plan *plan)
{
    json_t *settings = json_object();
    for (uint32_t i = 0; i < plan->setting_count; i++) {
        text_set(settings, plan->settings[i].name, plan->settings[i].value);
    }
    return settings;
}

static int setting_ask(json_t *asked, const char *name, const json_t *given, struct err *err)
{
    struct policy policy;
    const char *value = json_string_value(given);
    policy_init(&policy);
    if (value == NULL) {
        return err_set(err, KE_INVALID, "the value of the setting \"%.60s\" must be text", name);
    }
    if (policy_find(name) != POLICY_SETTINGS && strcmp(value, "default") == 0) {
        (void)json_object_del(asked, name);
        return 0;
    }
    int rc = policy_set(&policy, name, value, err);
    if (rc == 0) {
        text_set(asked, name, value);
    }
    return rc;
}

int settings_ask(const json_t *before, const json_t *given, json_t **out, struct err *err)
{
    json_t *asked = before != NULL ? json_deep_copy(before) : json_object();
    const char *name;
    json_t *value;
    int rc = given == NULL || json_is_object(given)
                 ? 0
                 : err_set(err, KE_INVALID, "\"settings\" must be an object of texts");
    if (rc == 0) {
        json_object_foreach ((json_t *)(uintptr_t)given, name, value) {
            rc = rc == 0 ? setting_ask(asked, name, value, err) : rc;
        }
    }
    if (rc != 0) {
        json_decref(asked);
        return rc;
    }
    *out = asked;
    return 0;
}

json_t *settings_join(const json_t *of_plan, const json_t *asked)
{
    json_t *all = json_copy((json_t *)(uintptr_t)of_plan);
    ASSERT(all != NULL);
    int rc = json_object_update(all, (json_t *)(uintptr_t)asked);
    ASSERT(rc == 0);
    return all;
}

void settings_read(const json_t *version, struct policy *out)
{
    const char *name;
    json_t *value;
    policy_init(out);
    json_object_foreach (json_object_get(version, "policy"), name, value) {
        /* One that a later Kappa knows asks for nothing here. */
        int rc = policy_set(out, name, json_string_value(value), NULL);
        (void)rc;
    }
    out->manual = strcmp(json_text(version, "swap", "auto"), "manual") == 0;
}

json_t *settings_asked(const json_t *version)
{
    json_t *asked = json_deep_copy(json_object_get(version, "asked"));
    if (asked == NULL) { /* made before there were settings */
        asked = json_object();
        if (strcmp(json_text(version, "swap", "auto"), "manual") == 0) {
            text_set(asked, policy_name(POLICY_MODE), "manual");
        }
    }
    return asked;
}

/* ---- Words ---- */

static const char *limit_text(const struct judge *judge, enum policy_setting setting)
{
    return json_text(json_object_get(judge->version, "policy"), policy_name(setting), "");
}

static void found(const struct judge *judge, enum policy_setting setting, const char *text)
{
    if (judge->checks != NULL) {
        json_t *check = json_pack("{s:s, s:s, s:s}", "setting", policy_name(setting), "limit",
                                  limit_text(judge, setting), "found", text);
        ASSERT(check != NULL);
        int rc = json_array_append_new(judge->checks, check);
        ASSERT(rc == 0);
    }
}

static int number(const json_t *version)
{
    return (int)json_int(version, "version", 0);
}

static double percent(uint64_t count, uint64_t all)
{
    return all == 0 ? 0 : 100 * (double)count / (double)all;
}

/* ---- Gaps ---- */

static const json_t *input_named(const json_t *version, const char *topic, int64_t *base)
{
    const json_t *inputs = json_object_get(version, "inputs");
    size_t i;
    const json_t *input;
    *base = 0;
    json_array_foreach (inputs, i, input) {
        if (strcmp(json_text(input, "topic", ""), topic) == 0) {
            return input;
        }
        *base += json_int(input, "partitions", 0);
    }
    return NULL;
}

static int64_t start_of(const json_t *version, int64_t source)
{
    return json_integer_value(json_array_get(json_object_get(version, "start"), (size_t)source));
}

struct gap {
    int64_t offsets; /* that the serving version has read and this one has not */
    char where[LIMIT_NAME_LEN + 100];
};

static int gap_of_topic(const json_t *version, const json_t *serving, const json_t *input,
                        int64_t base, struct gap *gap, struct err *err)
{
    int64_t old_base = 0;
    const char *topic = json_text(input, "topic", "");
    const json_t *old = input_named(serving, topic, &old_base);
    if (old == NULL) {
        return 0;
    }
    if (json_int(old, "identity", 0) != json_int(input, "identity", 0)) {
        return err_set(err, KE_REFUSED,
                       "the topic %s was made anew: what v%d has of the old one, v%d lacks", topic,
                       number(serving), number(version));
    }
    int64_t partitions = json_int(old, "partitions", 0);
    if (json_int(input, "partitions", 0) < partitions) {
        return err_set(err, KE_REFUSED, "v%d reads %lld partitions of topic %s, v%d reads %lld",
                       number(version), (long long)json_int(input, "partitions", 0), topic,
                       number(serving), (long long)partitions);
    }
    for (int64_t p = 0; p < partitions; p++) {
        int64_t from = start_of(version, base + p);
        int64_t before = start_of(serving, old_base + p);
        if (from > before && gap->offsets == 0) {
            (void)snprintf(gap->where, sizeof gap->where, "%s/%lld begins at offset %lld, not %lld",
                           topic, (long long)p, (long long)from, (long long)before);
        }
        gap->offsets += from > before ? from - before : 0;
    }
    return 0;
}

int judge_gap(const json_t *version, const json_t *serving, struct err *err)
{
    struct gap gap = {0};
    int64_t base = 0;
    int rc = 0;
    size_t i;
    const json_t *input;
    json_array_foreach (json_object_get(version, "inputs"), i, input) {
        rc = rc == 0 ? gap_of_topic(version, serving, input, base, &gap, err) : rc;
        base += json_int(input, "partitions", 0);
    }
    if (rc == 0 && gap.offsets > 0) {
        rc = err_set(err, KE_REFUSED,
                     "v%d started later than v%d, which serves, and lacks %lld offsets: %s",
                     number(version), number(serving), (long long)gap.offsets, gap.where);
    }
    return rc;
}

/* ---- Numbers of the version ---- */

int judge_dead(const struct judge *judge, uint64_t dead, uint64_t records, struct err *err)
{
    const struct policy_limit *limit = &judge->policy.max_dead;
    char text[100];
    if (limit->unit == POLICY_NO_LIMIT) {
        return 0;
    }
    (void)snprintf(text, sizeof text, "%llu of %llu records", (unsigned long long)dead,
                   (unsigned long long)records);
    found(judge, POLICY_MAX_DEAD, text);
    if (policy_within(limit, dead, records)) {
        return 0;
    }
    int rc = err_set(err, KE_REFUSED, "v%d has %s dead (%.3g %%), swap.max_dead is %s",
                     number(judge->version), text, percent(dead, records),
                     limit_text(judge, POLICY_MAX_DEAD));
    err_hint(err, "kappa dead %s %d shows them", judge->processor, number(judge->version));
    return rc;
}

int judge_caught_up(const struct judge *judge, int64_t caught_us, struct err *err)
{
    char text[TIME_TEXT_LEN];
    if (judge->policy.caught_up_us == 0) {
        return 0;
    }
    duration_format(caught_us, text);
    found(judge, POLICY_CAUGHT_UP, text);
    return caught_us >= judge->policy.caught_up_us
               ? 0
               : err_set(err, KE_REFUSED, "v%d has been caught up for %s, swap.caught_up is %s",
                         number(judge->version), text, limit_text(judge, POLICY_CAUGHT_UP));
}

int judge_lag(const struct judge *judge, int64_t records, double seconds, struct err *err)
{
    const struct policy_limit *limit = &judge->policy.max_lag;
    char text[100];
    if (limit->unit == POLICY_NO_LIMIT) {
        return 0;
    }
    bool by_time = limit->unit == POLICY_TIME;
    if (by_time ? seconds < 0 && records != 0 : records < 0) {
        return err_set(err, KE_REFUSED, "the lag of v%d is not known", number(judge->version));
    }
    if (by_time) {
        (void)snprintf(text, sizeof text, "%.3g s", seconds < 0 ? 0 : seconds);
    } else {
        (void)snprintf(text, sizeof text, "%lld records", (long long)records);
    }
    found(judge, POLICY_MAX_LAG, text);
    bool within = by_time ? seconds * 1e6 <= (double)limit->value : records <= limit->value;
    return within ? 0
                  : err_set(err, KE_REFUSED, "v%d is %s behind, swap.max_lag is %s",
                            number(judge->version), text, limit_text(judge, POLICY_MAX_LAG));
}

/* ---- Comparisons ---- */

static int refuse_column(const struct judge *judge, const char *table, const json_t *column,
                         struct err *err)
{
    const char *name = json_text(column, "name", "");
    int64_t differ = json_int(column, "differ", 0);
    const char *in = json_text(column, "in", "both");
    const char *allowed = limit_text(judge, POLICY_COLUMNS);
    if (strcmp(in, "b") == 0 || policy_allows_column(&judge->policy, name)) {
        return 0;
    }
    if (strcmp(in, "a") == 0) {
        return err_set(err, KE_REFUSED, "the column %s of %s is missing in v%d, swap.columns is %s",
                       name, table, number(judge->version), allowed);
    }
    return differ == 0
               ? 0
               : err_set(err, KE_REFUSED,
                         "the column %s differs in %lld rows of %s from v%d, swap.columns is %s",
                         name, (long long)differ, table, number(judge->serving), allowed);
}

static int judge_columns(const struct judge *judge, const char *table, const json_t *answer,
                         struct err *err)
{
    int64_t only = json_int(answer, "only_in_a", 0) + json_int(answer, "only_in_b", 0);
    size_t i;
    const json_t *column;
    if (judge->policy.columns == NULL) {
        return 0;
    }
    if (only > 0) {
        return err_set(err, KE_REFUSED,
                       "%lld rows of %s are only in one of v%d and v%d, swap.columns is %s",
                       (long long)only, table, number(judge->serving), number(judge->version),
                       limit_text(judge, POLICY_COLUMNS));
    }
    json_array_foreach (json_object_get(answer, "columns"), i, column) {
        if (refuse_column(judge, table, column, err) != 0) {
            return -KE_REFUSED;
        }
    }
    return 0;
}

struct most {
    uint64_t differ; /* of the table with the largest share */
    uint64_t all;
    const char *table;
};

static int judge_table(const struct judge *judge, const json_t *answer, struct most *most,
                       struct err *err)
{
    const char *table = json_text(answer, "table", "");
    const char *in = json_text(answer, "in", "both");
    const char *why_not = json_text(answer, "why_not", NULL);
    if (strcmp(in, "b") == 0 || json_bool(answer, "identical", false)) {
        return 0;
    }
    if (strcmp(in, "a") == 0) {
        return err_set(err, KE_REFUSED, "the table %s of v%d is missing in v%d", table,
                       number(judge->serving), number(judge->version));
    }
    if (why_not != NULL) {
        return err_set(err, KE_REFUSED, "the rows of %s cannot be compared with those of v%d: %s",
                       table, number(judge->serving), why_not);
    }
    uint64_t differ = (uint64_t)(json_int(answer, "changed", 0) + json_int(answer, "only_in_a", 0) +
                                 json_int(answer, "only_in_b", 0));
    uint64_t all = differ + (uint64_t)json_int(answer, "equal", 0);
    if (percent(differ, all) > percent(most->differ, most->all)) {
        *most = (struct most){differ, all, table};
    }
    if (policy_within(&judge->policy.max_changed, differ, all)) {
        return judge_columns(judge, table, answer, err);
    }
    return err_set(err, KE_REFUSED,
                   "%llu of %llu rows of %s differ from v%d (%.3g %%), swap.max_changed is %s",
                   (unsigned long long)differ, (unsigned long long)all, table,
                   number(judge->serving), percent(differ, all),
                   limit_text(judge, POLICY_MAX_CHANGED));
}

int judge_diff(const struct judge *judge, const json_t *answer, struct err *err)
{
    struct most most = {0, 0, NULL};
    char text[LIMIT_NAME_LEN + 100] = "no row differs";
    size_t i;
    const json_t *table;
    int rc = 0;
    json_array_foreach (json_object_get(answer, "tables"), i, table) {
        rc = rc == 0 ? judge_table(judge, table, &most, err) : rc;
    }
    if (rc != 0) {
        err_hint(err, "kappa diff %s %d %d shows what differs", judge->processor,
                 number(judge->serving), number(judge->version));
        return rc;
    }
    if (most.table != NULL) {
        (void)snprintf(text, sizeof text, "%llu of %llu rows of %s differ",
                       (unsigned long long)most.differ, (unsigned long long)most.all, most.table);
    }
    if (judge->policy.max_changed.unit != POLICY_NO_LIMIT) {
        found(judge, POLICY_MAX_CHANGED, text);
    }
    if (judge->policy.columns != NULL) {
        found(judge, POLICY_COLUMNS, text);
    }
    return 0;
}

int judge_verify(const struct judge *judge, const json_t *answer, struct err *err)
{
    if (json_bool(answer, "verified", false)) {
        found(judge, POLICY_VERIFY, json_text(answer, "digest", ""));
        return 0;
    }
    int rc = err_set(err, KE_REFUSED,
                     "v%d was replayed once more and has another digest then: %s, not %s",
                     number(judge->version), json_text(answer, "replayed_digest", "?"),
                     json_text(answer, "digest", "?"));
    err_hint(err, "that must not be: keep the data directory, and tell those who make Kappa");
    return rc;
}

int judge_disk(int64_t needed, int64_t free_bytes, struct err *err)
{
    if (needed < 0 || free_bytes < 0 || needed <= free_bytes) {
        return 0;
    }
    int rc = err_set(err, KE_REFUSED,
                     "the version would not fit: the one that serves has %lld MiB, and %lld MiB "
                     "of the disk are free",
                     (long long)((needed + MIB - 1) / MIB), (long long)(free_bytes / MIB));
    err_hint(err, "kappa gc removes versions that are not needed any more");
    return rc;
}
