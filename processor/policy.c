/* Settings of a policy: names and values. Own header: policy.h. */
#include "processor/policy.h"

#include "base/limits.h"
#include "base/timefmt.h"
#include "processor/expr_step.h"

#include <string.h>

#define PPM_OF_PERCENT        10000.0
#define SNAPSHOT_EVERY_MIN_US 1000000
#define SNAPSHOT_KEEP_MAX     1000

static const char *const names[POLICY_SETTINGS] = {
    [POLICY_MODE] = "swap.mode",
    [POLICY_MAX_LAG] = "swap.max_lag",
    [POLICY_MAX_DEAD] = "swap.max_dead",
    [POLICY_MAX_CHANGED] = "swap.max_changed",
    [POLICY_COLUMNS] = "swap.columns",
    [POLICY_CAUGHT_UP] = "swap.caught_up",
    [POLICY_STANDBY] = "swap.standby",
    [POLICY_VERIFY] = "swap.verify",
    [POLICY_ACCEPT_GAP] = "swap.accept_gap",
    [POLICY_GROUP] = "swap.in_group",
    [POLICY_WHO] = "swap.who",
    [POLICY_ROLLBACK] = "swap.rollback",
    [POLICY_SNAPSHOT_EVERY] = "snapshot.every",
    [POLICY_SNAPSHOT_KEEP] = "snapshot.keep",
    [POLICY_SNAPSHOT_MAX_BYTES] = "snapshot.max_bytes",
};

const char *policy_name(enum policy_setting setting)
{
    ASSERT_CMP(setting, <, POLICY_SETTINGS);
    return names[setting];
}

enum policy_setting policy_find(const char *name)
{
    for (int i = 0; i < POLICY_SETTINGS; i++) {
        if (strcmp(names[i], name) == 0) {
            return (enum policy_setting)i;
        }
    }
    return POLICY_SETTINGS;
}

void policy_init(struct policy *policy)
{
    *policy = (struct policy){.standby_us = -1, .snapshot_keep = POLICY_SNAPSHOT_KEEP_DEFAULT};
}

/* ---- Values ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* 10, or 0.1 % */
static bool read_amount(const char *text, struct policy_limit *out)
{
    size_t len = strlen(text);
    bool share = len > 0 && text[len - 1] == '%';
    len -= share;
    while (len > 0 && is_blank(text[len - 1])) {
        len--;
    }
    struct kappa_text number = {text, (uint32_t)len};
    double percent = 0;
    int64_t count = 0;
    if (share) {
        bool good =
            expr_parse_double(number, &percent) == EXPR_OK && percent >= 0 && percent <= 100;
        *out = (struct policy_limit){POLICY_SHARE,
                                     good ? (int64_t)(percent * PPM_OF_PERCENT + 0.5) : 0};
        return good;
    }
    bool good = expr_parse_bigint(number, &count) == EXPR_OK && count >= 0;
    *out = (struct policy_limit){POLICY_COUNT, count};
    return good;
}

static bool read_time(const char *text, int64_t *us)
{
    return duration_parse(text, strlen(text), us);
}

/* 100, or 2 s */
static bool read_lag(const char *text, struct policy_limit *out)
{
    struct kappa_text number = {text, (uint32_t)strlen(text)};
    if (expr_parse_bigint(number, &out->value) == EXPR_OK) {
        out->unit = POLICY_COUNT;
        return out->value >= 0;
    }
    out->unit = POLICY_TIME;
    return read_time(text, &out->value);
}

/* One of two words, and what PostgreSQL takes for a boolean. */
static bool read_word(const char *text, const char *yes, const char *no, bool *out)
{
    static const char *const booleans[][2] = {
        {"true", "false"}, {"yes", "no"}, {"1", "0"}, {"on", "off"}};
    *out = strcmp(text, yes) == 0;
    bool good = *out || strcmp(text, no) == 0;
    for (size_t i = 0; !good && strcmp(yes, "on") == 0 && i < array_len(booleans); i++) {
        *out = strcmp(text, booleans[i][0]) == 0;
        good = *out || strcmp(text, booleans[i][1]) == 0;
    }
    return good;
}

/* A name of letters, digits, '_' and '-'. */
static bool read_name(const char *text, const char **out)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t len = strlen(text);
    *out = text;
    return len > 0 && len <= LIMIT_NAME_LEN && strspn(text, letters) == len;
}

/* The next name of a list with commas, without the blanks around it; NULL: there is none. */
static const char *next_name(const char *at, size_t *len)
{
    at += strspn(at, " \t\n,");
    size_t used = strcspn(at, ",");
    while (used > 0 && is_blank(at[used - 1])) {
        used--;
    }
    *len = used;
    return used > 0 ? at : NULL;
}

/* Names without blanks in them. */
static bool is_list(const char *text)
{
    size_t len = 0;
    const char *first = next_name(text, &len);
    for (const char *at = first; at != NULL; at = next_name(at + len, &len)) {
        if (strcspn(at, " \t\n") < len) {
            return false;
        }
    }
    return first != NULL;
}

/* '10 min', or off */
static bool read_every(const char *text, int64_t *us)
{
    *us = 0;
    return strcmp(text, "off") == 0 || (read_time(text, us) && *us >= SNAPSHOT_EVERY_MIN_US);
}

static bool read_count(const char *text, int64_t *out)
{
    struct kappa_text number = {text, (uint32_t)strlen(text)};
    return expr_parse_bigint(number, out) == EXPR_OK && *out >= 1 && *out <= SNAPSHOT_KEEP_MAX;
}

/* 500000000, or 20 GB */
static bool read_bytes(const char *text, int64_t *out)
{
    static const struct {
        const char *unit;
        double bytes;
    } units[] = {{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"", 1}};

    size_t len = strspn(text, "0123456789.");
    struct kappa_text number = {text, (uint32_t)len};
    const char *unit = text + len;
    unit += strspn(unit, " ");
    double value = 0;
    for (size_t i = 0; len > 0 && i < array_len(units); i++) {
        if (strcmp(unit, units[i].unit) == 0 && expr_parse_double(number, &value) == EXPR_OK) {
            value *= units[i].bytes;
            *out = value >= 1 && value <= 9e18 ? (int64_t)value : 0;
            return *out > 0;
        }
    }
    return false;
}

/* What it takes; "" when the value is good. */
static const char *value_read(struct policy *policy, enum policy_setting setting, const char *value)
{
    static const char *const amount = "a number, 10, or a share, '0.5 %'";
    static const char *const time = "a time: '5 min', '1 h'";
    static const char *const boolean = "on or off";
    switch (setting) {
    case POLICY_MODE:
        return read_word(value, "manual", "auto", &policy->manual) ? "" : "auto or manual";
    case POLICY_MAX_LAG:
        return read_lag(value, &policy->max_lag) ? ""
                                                 : "a number of records, 100, or a time, '2 s'";
    case POLICY_MAX_DEAD:
        return read_amount(value, &policy->max_dead) ? "" : amount;
    case POLICY_MAX_CHANGED:
        return read_amount(value, &policy->max_changed) ? "" : amount;
    case POLICY_COLUMNS:
        policy->columns = value;
        return "";
    case POLICY_CAUGHT_UP:
        return read_time(value, &policy->caught_up_us) ? "" : time;
    case POLICY_STANDBY:
        return read_time(value, &policy->standby_us) ? "" : time;
    case POLICY_VERIFY:
        return read_word(value, "on", "off", &policy->verify) ? "" : boolean;
    case POLICY_ACCEPT_GAP:
        return read_word(value, "on", "off", &policy->accept_gap) ? "" : boolean;
    case POLICY_GROUP:
        return read_name(value, &policy->group) ? "" : "a name of letters, digits, _ and -";
    case POLICY_WHO:
        policy->who = value;
        return is_list(value) ? "" : "one or more names with commas: 'alice, ops'";
    case POLICY_ROLLBACK:
        return read_word(value, "anyone", "listed", &policy->rollback_anyone) ? ""
                                                                              : "listed or anyone";
    case POLICY_SNAPSHOT_EVERY:
        return read_every(value, &policy->snapshot_every_us)
                   ? ""
                   : "a time from 1 s on: '10 min', or off";
    case POLICY_SNAPSHOT_KEEP:
        return read_count(value, &policy->snapshot_keep) ? "" : "a number from 1 to 1000";
    case POLICY_SNAPSHOT_MAX_BYTES:
        return read_bytes(value, &policy->snapshot_max_bytes) ? "" : "a size: '500 MB', '20 GB'";
    case POLICY_SETTINGS:
        break;
    }
    return "nothing";
}

int policy_set(struct policy *policy, const char *name, const char *value, struct err *err)
{
    enum policy_setting setting = policy_find(name);
    if (setting == POLICY_SETTINGS) {
        int rc = err_set(err, KE_INVALID, "there is no setting \"%.60s\"", name);
        err_hint(err, "there are swap.mode, max_lag, max_dead, max_changed, columns, caught_up, "
                      "standby, verify, accept_gap, in_group, who and rollback, each with "
                      "\"swap.\" in front, "
                      "and snapshot.every, snapshot.keep and snapshot.max_bytes");
        return rc;
    }
    if (strlen(value) > POLICY_VALUE_LEN) {
        return err_set(err, KE_INVALID, "the value of %s has more than %d bytes", name,
                       POLICY_VALUE_LEN);
    }
    const char *takes = value_read(policy, setting, value);
    if (takes[0] != '\0') {
        return err_set(err, KE_INVALID, "%s is %s, not \"%.60s\"", name, takes, value);
    }
    return 0;
}

/* ---- Questions ---- */

bool policy_within(const struct policy_limit *limit, uint64_t count, uint64_t all)
{
    switch (limit->unit) {
    case POLICY_COUNT:
        return count <= (uint64_t)limit->value;
    case POLICY_SHARE:
        return (uint128)count * 1000000 <= (uint128)all * (uint64_t)limit->value;
    case POLICY_NO_LIMIT:
    case POLICY_TIME:
        break;
    }
    return true;
}

bool policy_allows_column(const struct policy *policy, const char *column)
{
    return policy->columns == NULL || policy_names(policy->columns, column);
}

bool policy_names(const char *list, const char *person)
{
    size_t len = strlen(person);
    size_t item = 0;
    for (const char *at = next_name(list, &item); at != NULL; at = next_name(at + item, &item)) {
        if (item == len && memcmp(at, person, len) == 0) {
            return true;
        }
    }
    return false;
}

bool policy_compares(const struct policy *policy)
{
    return policy->max_changed.unit != POLICY_NO_LIMIT || policy->columns != NULL;
}
