/* The rules of examples/fraud in C, as a plugin: what each payment looks like beside those before it.
 *
 *     cc -shared -fPIC -O2 $(pkg-config --cflags kappa) -o fraud.so fraud.c -lm
 *
 * Of each user the payments of the last hour (and 5 seconds, for those that come out of order) are kept in
 * the order of (event time, offset), and what all of them came to, under the user's name. */
#include <kappa/plugin.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { USER, AMOUNT, LAT, LON, TS, INPUTS };

enum { O_USER, O_TS, O_AMOUNT, O_RAPID, O_JUMP, O_UNUSUAL, O_VOLUME, OUTPUTS };

#define MINUTE   INT64_C(60000000)
#define HOUR     (60 * MINUTE)
#define DISORDER INT64_C(5000000) /* the watermark of the definition */

struct payment {
    int64_t ts, offset;
    double amount, lat, lon;
};

/* What is kept of a user: this, and `count` payments behind it. */
struct history {
    int64_t gone; /* payments that are no longer kept */
    double gone_total;
    int64_t count;
    struct payment payments[];
};

static int fraud_open(const struct kappa_plugin_schema *schema, void **instance, char *error,
                      size_t size)
{
    static const enum kappa_type inputs[INPUTS] = {KAPPA_TYPE_TEXT, KAPPA_TYPE_DOUBLE,
                                                   KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE,
                                                   KAPPA_TYPE_TIMESTAMPTZ};

    *instance = NULL;
    if (schema->input_count != INPUTS || schema->output_count != OUTPUTS ||
        memcmp(schema->input_types, inputs, sizeof inputs) != 0) {
        strncpy(error, "the columns are user_id, amount, lat, lon, ts; see fraud.sql", size - 1);
        return 1;
    }
    return 0;
}

static double kilometres(const struct payment *a, const struct payment *b)
{
    double rad = acos(-1.0) / 180;
    double h = pow(sin((b->lat - a->lat) * rad / 2), 2) +
               cos(a->lat * rad) * cos(b->lat * rad) * pow(sin((b->lon - a->lon) * rad / 2), 2);
    return 2 * 6371.0088 * asin(sqrt(h));
}

/* Puts the payment in its place and returns it. */
static int64_t insert(struct history *history, const struct payment *payment)
{
    int64_t at = history->count++;
    while (at > 0 && history->payments[at - 1].ts > payment->ts) {
        history->payments[at] = history->payments[at - 1];
        at--;
    }
    history->payments[at] = *payment;
    return at;
}

/* Lets go of payments that no later one can see; the last one before the watermark stays. */
static void forget(struct history *history, int64_t watermark)
{
    int64_t gone = 0;
    while (gone + 1 < history->count && history->payments[gone].ts < watermark - HOUR &&
           history->payments[gone + 1].ts < watermark) {
        history->gone_total += history->payments[gone++].amount;
    }
    history->gone += gone;
    history->count -= gone;
    memmove(history->payments, history->payments + gone,
            (size_t)history->count * sizeof *history->payments);
}

static int judge(const struct history *history, int64_t at, const struct kappa_event *event,
                 const struct kappa_host *host)
{
    const struct payment *now = &history->payments[at];
    int64_t before = history->gone + at, minute = 0, hour = 0;
    double before_total = history->gone_total, hour_total = 0;
    for (int64_t i = 0; i < history->count && history->payments[i].ts <= now->ts; i++) {
        const struct payment *p = &history->payments[i];
        before_total += i < at ? p->amount : 0;
        minute += p->ts >= now->ts - MINUTE;
        hour += p->ts >= now->ts - HOUR;
        hour_total += p->ts >= now->ts - HOUR ? p->amount : 0;
    }
    bool rapid = minute >= 6;
    bool jump = at > 0 && now->ts < now[-1].ts + HOUR && kilometres(&now[-1], now) > 5000;
    bool unusual = before > 0 && now->amount > 10 * before_total / (double)before;
    bool volume = hour > 10 && hour_total > 50000;
    if (!rapid && !jump && !unusual && !volume) {
        return 0;
    }
    struct kappa_value row[OUTPUTS] = {event->values[USER],
                                       event->values[TS],
                                       event->values[AMOUNT],
                                       {.type = KAPPA_TYPE_BOOLEAN, .i = rapid},
                                       {.type = KAPPA_TYPE_BOOLEAN, .i = jump},
                                       {.type = KAPPA_TYPE_BOOLEAN, .i = unusual},
                                       {.type = KAPPA_TYPE_BOOLEAN, .i = volume}};
    return host->emit(host->ctx, row, OUTPUTS);
}

static int fraud_event(void *instance, const struct kappa_event *event,
                       const struct kappa_host *host)
{
    (void)instance;
    const struct kappa_value *v = event->values;
    for (int i = 0; i < INPUTS; i++) {
        if (v[i].is_null) {
            return host->refuse(host->ctx, "a payment needs all of its fields");
        }
    }
    if (event->time_us < event->watermark_us) {
        return 0; /* late, as for window functions */
    }
    const void *kept = NULL;
    uint32_t kept_len = 0;
    int rc = host->get(host->ctx, v[USER].s.bytes, v[USER].s.len, &kept, &kept_len);
    if (rc < 0) {
        return rc;
    }
    size_t len = rc == 1 ? kept_len : sizeof(struct history);
    struct history *history = calloc(1, len + sizeof(struct payment));
    if (history == NULL) {
        return -1;
    }
    if (rc == 1) {
        memcpy(history, kept, kept_len);
    }
    const struct payment payment = {event->time_us, event->offset, v[AMOUNT].d, v[LAT].d, v[LON].d};
    int64_t at = insert(history, &payment);
    rc = judge(history, at, event, host);
    if (rc == 0) {
        forget(history, event->watermark_us);
        rc = host->put(host->ctx, v[USER].s.bytes, v[USER].s.len, history,
                       (uint32_t)(sizeof *history + (size_t)history->count * sizeof payment));
    }
    free(history);
    return rc;
}

static void fraud_close(void *instance)
{
    (void)instance;
}

const struct kappa_plugin *kappa_plugin(void)
{
    static const struct kappa_plugin plugin = {KAPPA_PLUGIN_ABI, fraud_open, fraud_event,
                                               fraud_close};
    return &plugin;
}
