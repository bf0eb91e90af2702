/* Paying for what was read. Own header: governor.h. */
#include "replayer/governor.h"

#include <inttypes.h>

#define NS_PER_S  1e9
#define NS_PER_US 1000

void governor_init(struct governor *governor, uint32_t sharers)
{
    ASSERT_CMP(sharers, >, 0);
    *governor = (struct governor){.sharers = sharers};
    pthread_mutex_init(&governor->lock, NULL);
}

void governor_close(struct governor *governor)
{
    pthread_mutex_destroy(&governor->lock);
}

bool governor_limited(const struct governor_limit *limit)
{
    return limit->records > 0 || limit->bytes > 0 || limit->broker > 0;
}

/* The debt at another speed; none when there was no limit or is none now. */
static int64_t due_again(int64_t due_ns, int64_t now_ns, int64_t before, int64_t after)
{
    if (before == 0 || after == 0 || due_ns <= now_ns) {
        return now_ns;
    }
    double debt = (double)(due_ns - now_ns) * (double)before / (double)after;
    return now_ns + (int64_t)(debt < 60 * NS_PER_S ? debt : 60 * NS_PER_S);
}

void governor_set(struct governor *governor, const struct governor_limit *limit, int64_t now_us)
{
    int64_t now = now_us * NS_PER_US;
    pthread_mutex_lock(&governor->lock);
    governor->records_due_ns =
        due_again(governor->records_due_ns, now, governor->limit.records, limit->records);
    governor->bytes_due_ns =
        due_again(governor->bytes_due_ns, now, governor->limit.bytes, limit->bytes);
    governor->broker_due_ns =
        due_again(governor->broker_due_ns, now, governor->limit.broker, limit->broker);
    governor->limit = *limit;
    pthread_mutex_unlock(&governor->lock);
}

static int64_t until_us(int64_t due_ns, int64_t now_us)
{
    int64_t now = now_us * NS_PER_US;
    return due_ns <= now ? 0 : (due_ns - now + NS_PER_US - 1) / NS_PER_US;
}

int64_t governor_wait_us(struct governor *governor, int64_t now_us)
{
    pthread_mutex_lock(&governor->lock);
    int64_t due = INT64_MIN;
    if (governor->limit.records > 0) {
        due = governor->records_due_ns;
    }
    if (governor->limit.bytes > 0) {
        due = i64_max(due, governor->bytes_due_ns);
    }
    pthread_mutex_unlock(&governor->lock);
    return until_us(due, now_us);
}

int64_t governor_broker_wait_us(struct governor *governor, int64_t now_us)
{
    pthread_mutex_lock(&governor->lock);
    int64_t due = governor->limit.broker > 0 ? governor->broker_due_ns : INT64_MIN;
    pthread_mutex_unlock(&governor->lock);
    return until_us(due, now_us);
}

/* A thread's part of what a limit gives in GOVERNOR_BATCH_US, >= 1. */
static int64_t part(const struct governor *governor, int64_t per_second)
{
    int64_t each = per_second / (1000000 / GOVERNOR_BATCH_US) / governor->sharers;
    return i64_max(each, 1);
}

/* The same in records, for a limit in bytes. */
static int64_t part_of_bytes(const struct governor *governor, int64_t per_second)
{
    /* Of the first batch nothing is known. */
    int64_t mean = governor->mean_bytes > 0 ? governor->mean_bytes : 1024;
    return i64_max(part(governor, per_second) / mean, 1);
}

uint32_t governor_batch(struct governor *governor)
{
    int64_t most = UINT32_MAX;
    pthread_mutex_lock(&governor->lock);
    if (governor->limit.records > 0) {
        most = i64_min(most, part(governor, governor->limit.records));
    }
    if (governor->limit.bytes > 0) {
        most = i64_min(most, part_of_bytes(governor, governor->limit.bytes));
    }
    pthread_mutex_unlock(&governor->lock);
    return (uint32_t)most;
}

uint32_t governor_broker_batch(struct governor *governor)
{
    int64_t most = UINT32_MAX;
    pthread_mutex_lock(&governor->lock);
    if (governor->limit.broker > 0) {
        most = i64_min(most, part_of_bytes(governor, governor->limit.broker));
    }
    pthread_mutex_unlock(&governor->lock);
    return (uint32_t)most;
}

static void pay(int64_t *due_ns, int64_t now_ns, int64_t per_second, uint64_t amount)
{
    if (per_second > 0) {
        int64_t from = i64_max(*due_ns, now_ns - (int64_t)GOVERNOR_CREDIT_US * NS_PER_US);
        *due_ns = from + (int64_t)((double)amount * NS_PER_S / (double)per_second);
    }
}

void governor_spent(struct governor *governor, int64_t now_us, uint32_t records, uint64_t bytes,
                    bool archived)
{
    int64_t now = now_us * NS_PER_US;
    pthread_mutex_lock(&governor->lock);
    pay(&governor->records_due_ns, now, governor->limit.records, records);
    pay(&governor->bytes_due_ns, now, governor->limit.bytes, bytes);
    if (!archived) {
        pay(&governor->broker_due_ns, now, governor->limit.broker, bytes);
    }
    if (records > 0) {
        int64_t mean = i64_max((int64_t)(bytes / records), 1);
        governor->mean_bytes =
            governor->mean_bytes == 0 ? mean : (7 * governor->mean_bytes + mean) / 8;
    }
    pthread_mutex_unlock(&governor->lock);
}

/* ---- As JSON */

static int take_rate(const json_t *object, const char *name, int64_t *out, struct err *err)
{
    const json_t *value = json_object_get(object, name);
    *out = 0;
    if (value == NULL || json_is_null(value)) {
        return 0;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        json_integer_value(value) > GOVERNOR_RATE_MAX) {
        return err_set(err, KE_INVALID,
                       "\"%s\" must be a whole number from 1 to %" PRId64 ", or null for no limit",
                       name, GOVERNOR_RATE_MAX);
    }
    *out = json_integer_value(value);
    return 0;
}

int governor_limit_parse(const json_t *value, struct governor_limit *out, struct err *err)
{
    struct governor_limit limit = {0};
    if (value != NULL && !json_is_null(value) && !json_is_object(value)) {
        return err_set(err, KE_INVALID,
                       "a limit is an object: {\"records_per_second\",\"bytes_per_second\","
                       "\"broker_bytes_per_second\"}");
    }
    int rc = take_rate(value, "records_per_second", &limit.records, err);
    if (rc == 0) {
        rc = take_rate(value, "bytes_per_second", &limit.bytes, err);
    }
    if (rc == 0) {
        rc = take_rate(value, "broker_bytes_per_second", &limit.broker, err);
    }
    if (rc == 0) {
        *out = limit;
    }
    return rc;
}
