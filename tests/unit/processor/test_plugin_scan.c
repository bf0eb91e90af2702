/* Goal: a plugin's scan gives the keys of its state in order, as put and del have left them up to then,
 * whatever has been committed or evicted and wherever the process began again.
 * Method: a plugin that does what its events say (put, del, scans whose callback stops, deletes, puts
 * and scans again) and emits what it was given; the model does the same on a sorted array. A second run
 * commits often, keeps nothing in memory and begins anew: same stored bytes. */
#include "tests/unit/processor/sql_world.h"

#include "base/prng.h"

#include <string.h>

#define ROWS    1500
#define KEY_MAX 8

enum op { PUT, DEL, RANGE, REST, PREFIX, SWEEP, GROW, NESTED, OP_COUNT };

struct operation {
    int64_t seq;
    enum op op;
    char a[KEY_MAX + 1];
    char b[KEY_MAX + 1];
    uint32_t n;
};

/* 'z' stands for the byte 255, in keys: prefixes that end with it have no neighbour. */
static uint32_t key_bytes(const char *text, size_t len, uint8_t *key)
{
    for (size_t i = 0; i < len; i++) {
        key[i] = text[i] == 'z' ? 0xFF : (uint8_t)text[i];
    }
    return (uint32_t)len;
}

/* ---- The plugin. */

struct visit {
    const struct kappa_host *host;
    struct operation operation;
    uint32_t number; /* rows emitted */
    uint32_t seen;
    uint32_t inner;
};

static int scan_open(const struct kappa_plugin_schema *schema, void **instance, char *error,
                     size_t error_size)
{
    (void)schema;
    (void)error;
    (void)error_size;
    *instance = NULL;
    return 0;
}

static void scan_close(void *instance)
{
    (void)instance;
}

static int emit(struct visit *visit, const uint8_t *key, uint32_t key_len, const void *value,
                uint32_t value_len)
{
    char text[2 * KEY_MAX];
    assert_true(key_len <= sizeof text);
    for (uint32_t i = 0; i < key_len; i++) {
        text[i] = key[i] == 0xFF ? 'z' : (char)key[i];
    }
    struct kappa_value row[4] = {{.type = KAPPA_TYPE_BIGINT, .i = visit->operation.seq},
                                 {.type = KAPPA_TYPE_BIGINT, .i = visit->number++},
                                 {.type = KAPPA_TYPE_TEXT, .s = {text, key_len}},
                                 {.type = KAPPA_TYPE_TEXT, .s = {value, value_len}}};
    return visit->host->emit(visit->host->ctx, row, 4);
}

static int count_inner(void *arg, const void *key, uint32_t key_len, const void *value,
                       uint32_t value_len)
{
    struct visit *visit = arg;
    (void)key;
    (void)key_len;
    (void)value;
    (void)value_len;
    visit->inner++;
    return 0;
}

static int each(void *arg, const void *key, uint32_t key_len, const void *value, uint32_t value_len)
{
    struct visit *visit = arg;
    const struct kappa_host *host = visit->host;
    uint8_t own[2 * KEY_MAX];
    memcpy(own, key, key_len);
    int rc = emit(visit, own, key_len, value, value_len);
    visit->seen++;
    if (rc == 0 && visit->operation.op == SWEEP) {
        rc = host->del(host->ctx, key, key_len);
        return rc == 0 && visit->seen == visit->operation.n ? 5 : rc;
    }
    if (rc == 0 && visit->operation.op == GROW && key_len < KEY_MAX) {
        own[key_len] = 'm';
        rc = host->put(host->ctx, own, key_len + 1, "grown", 5);
    }
    if (rc == 0 && visit->operation.op == NESTED) {
        rc = host->prefix(host->ctx, own, key_len, 0, count_inner, visit);
    }
    return rc;
}

static int run_scan(struct visit *visit)
{
    const struct kappa_host *host = visit->host;
    const struct operation *o = &visit->operation;
    uint8_t a[KEY_MAX];
    uint8_t b[KEY_MAX];
    uint32_t a_len = key_bytes(o->a, strlen(o->a), a);
    uint32_t b_len = key_bytes(o->b, strlen(o->b), b);
    char value[32];
    switch (o->op) {
    case PUT:
        (void)snprintf(value, sizeof value, "%lld", (long long)o->seq);
        return host->put(host->ctx, a, a_len, value, o->n == 0 ? 0 : (uint32_t)strlen(value));
    case DEL:
        return host->del(host->ctx, a, a_len);
    case RANGE:
    case GROW:
        return host->range(host->ctx, a, a_len, b, b_len, o->n, each, visit);
    case REST:
        return host->range(host->ctx, a, a_len, NULL, 0, o->n, each, visit);
    case PREFIX:
    case SWEEP:
    case NESTED:
        return host->prefix(host->ctx, a, a_len, o->op == SWEEP ? 0 : o->n, each, visit);
    case OP_COUNT:
        break;
    }
    return -1;
}

static int scan_event(void *instance, const struct kappa_event *event,
                      const struct kappa_host *host)
{
    (void)instance;
    struct visit visit = {.host = host};
    struct operation *o = &visit.operation;
    o->seq = event->values[0].i;
    o->op = (enum op)event->values[1].i;
    memcpy(o->a, event->values[2].s.bytes, event->values[2].s.len);
    memcpy(o->b, event->values[3].s.bytes, event->values[3].s.len);
    o->n = (uint32_t)event->values[4].i;
    int rc = run_scan(&visit);
    if (rc != 0 && rc != 5) {
        return rc;
    }
    char text[32];
    int len = snprintf(text, sizeof text, "%d %u", rc, visit.inner);
    return emit(&visit, (const uint8_t *)"end", 3, text, (uint32_t)len);
}

static const struct kappa_plugin scanner = {KAPPA_PLUGIN_ABI, scan_open, scan_event, scan_close};

static const char definition[] =
    "CREATE TABLE e (seq bigint, op bigint, a text, b text, n bigint) WITH (topic='e');\n"
    "CREATE MATERIALIZED VIEW made AS SELECT * FROM plugin('scan.so', e)"
    "   AS s(seq bigint, number bigint, key text, value text);\n";

/* ---- The model: per source a sorted array. */

struct pair {
    uint8_t key[2 * KEY_MAX];
    uint32_t len;
    char value[32];
};

struct model {
    struct pair pairs[4096];
    size_t count;
};

static int order(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
    int first = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return first != 0 ? first : (a_len > b_len) - (a_len < b_len);
}

/* The first pair that is not below. */
static size_t model_find(const struct model *m, const uint8_t *key, uint32_t len)
{
    size_t i = 0;
    while (i < m->count && order(m->pairs[i].key, m->pairs[i].len, key, len) < 0) {
        i++;
    }
    return i;
}

static void model_del(struct model *m, const uint8_t *key, uint32_t len)
{
    size_t at = model_find(m, key, len);
    if (at < m->count && order(m->pairs[at].key, m->pairs[at].len, key, len) == 0) {
        memmove(&m->pairs[at], &m->pairs[at + 1], (m->count - at - 1) * sizeof *m->pairs);
        m->count--;
    }
}

static void model_put(struct model *m, const uint8_t *key, uint32_t len, const char *value)
{
    model_del(m, key, len);
    size_t at = model_find(m, key, len);
    assert_true(m->count + 1 < array_len(m->pairs));
    memmove(&m->pairs[at + 1], &m->pairs[at], (m->count - at) * sizeof *m->pairs);
    m->count++;
    memcpy(m->pairs[at].key, key, len);
    m->pairs[at].len = len;
    (void)snprintf(m->pairs[at].value, sizeof m->pairs[at].value, "%s", value);
}

static bool begins(const struct pair *pair, const uint8_t *key, uint32_t len)
{
    return pair->len >= len && memcmp(pair->key, key, len) == 0;
}

static void put_line(struct buf *out, const struct operation *o, uint32_t number,
                     const struct pair *pair)
{
    buf_printf(out, "%lld|%u|", (long long)o->seq, number);
    for (uint32_t i = 0; i < pair->len; i++) {
        buf_append_u8(out, pair->key[i] == 0xFF ? 'z' : pair->key[i]);
    }
    buf_printf(out, "|%s\n", pair->value);
}

static uint32_t model_scan(struct model *m, const struct operation *o, const uint8_t *a,
                           uint32_t a_len, const uint8_t *b, uint32_t b_len, struct buf *out,
                           int *rc, uint32_t *inner)
{
    bool prefix = o->op == PREFIX || o->op == SWEEP || o->op == NESTED;
    uint32_t number = 0;
    struct pair at = {.len = a_len};
    memcpy(at.key, a, a_len);
    for (size_t i = model_find(m, at.key, at.len); i < m->count;) {
        struct pair pair = m->pairs[i];
        bool wanted = prefix          ? begins(&pair, a, a_len)
                      : o->op == REST ? true
                                      : order(pair.key, pair.len, b, b_len) < 0;
        if (!wanted || (o->op != SWEEP && o->n > 0 && number == o->n)) {
            break;
        }
        put_line(out, o, number++, &pair);
        if (o->op == SWEEP) {
            model_del(m, pair.key, pair.len);
            if (number == o->n) {
                *rc = 5;
                break;
            }
        }
        for (size_t k = 0; k < m->count && o->op == NESTED; k++) {
            *inner += begins(&m->pairs[k], pair.key, pair.len) ? 1 : 0;
        }
        struct pair next = pair;
        if (o->op == GROW && pair.len < KEY_MAX) {
            next.key[next.len++] = 'm';
            model_put(m, next.key, next.len, "grown");
        }
        i = model_find(m, pair.key, pair.len);
        i += i < m->count && order(m->pairs[i].key, m->pairs[i].len, pair.key, pair.len) == 0;
    }
    return number;
}

static void model_run(struct model *m, const struct operation *o, struct buf *out)
{
    uint8_t a[KEY_MAX];
    uint8_t b[KEY_MAX];
    uint32_t a_len = key_bytes(o->a, strlen(o->a), a);
    uint32_t b_len = key_bytes(o->b, strlen(o->b), b);
    uint32_t number = 0;
    uint32_t inner = 0;
    int rc = 0;
    if (o->op == PUT) {
        char value[32] = "";
        (void)snprintf(value, sizeof value, "%lld", (long long)o->seq);
        model_put(m, a, a_len, o->n == 0 ? "" : value);
    } else if (o->op == DEL) {
        model_del(m, a, a_len);
    } else {
        number = model_scan(m, o, a, a_len, b, b_len, out, &rc, &inner);
    }
    buf_printf(out, "%lld|%u|end|%d %u\n", (long long)o->seq, number, rc, inner);
}

/* ---- The test. */

static void make_key(struct prng *prng, char *key, uint64_t longest)
{
    size_t len = (size_t)prng_below(prng, longest + 1);
    for (size_t i = 0; i < len; i++) {
        key[i] = "abz"[prng_below(prng, 3)];
    }
    key[len] = '\0';
}

static struct event make_event(struct prng *prng, int seq, struct operation *o)
{
    *o = (struct operation){.seq = seq};
    uint64_t chance = prng_below(prng, 20);
    o->op = chance < 9 ? PUT : chance < 12 ? DEL : (enum op)(RANGE + prng_below(prng, 6));
    make_key(prng, o->a, o->op == PUT || o->op == DEL ? 5 : 3);
    make_key(prng, o->b, 4);
    o->n = (uint32_t)prng_below(prng, 5);
    char json[200];
    (void)snprintf(json, sizeof json, "{\"seq\":%d,\"op\":%d,\"a\":\"%s\",\"b\":\"%s\",\"n\":%u}",
                   seq, (int)o->op, o->a, o->b, o->n);
    return world_event((uint32_t)prng_below(prng, WORLD_SOURCES), json);
}

static char *sorted_lines(const char *text)
{
    size_t count = 0;
    char **lines = xcalloc(strlen(text) + 1, sizeof *lines);
    for (const char *end = NULL; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        lines[count++] = xasprintf("%.*s", (int)(end - text), text);
    }
    return oracle_sorted(lines, count);
}

static void test_against_model(void **state)
{
    (void)state;
    static struct model models[WORLD_SOURCES];
    const struct kappa_plugin *const plugins[] = {&scanner};
    struct prng prng;
    prng_init(&prng, unit_seed("plugin-scan"));
    memset(models, 0, sizeof models);
    struct event *events = xcalloc(ROWS, sizeof *events);
    struct buf expected = {0};
    for (int i = 0; i < ROWS; i++) {
        struct operation operation;
        events[i] = make_event(&prng, i, &operation);
        model_run(&models[events[i].source], &operation, &expected);
    }
    struct world once;
    struct world often;
    world_open(&once, definition, 1 << 20, plugins);
    world_open(&often, definition, 1, plugins);
    world_run_both(&once, &often, events, ROWS, &prng);
    char *want = sorted_lines(buf_text(&expected));
    char *got = world_all_rows(&often, 0);
    assert_true(strlen(want) > 10000);
    world_assert_same(got, want);
    free(want);
    free(got);
    buf_free(&expected);
    free(events);
    world_close(&once);
    world_close(&often);
}

/* Without a store (a sample of a definition's speed) all that was ever put stands in memory. */
static void test_without_store(void **state)
{
    (void)state;
    const struct kappa_plugin *const plugins[] = {&scanner};
    static const char *const events[] = {
        "{\"seq\":0,\"op\":0,\"a\":\"a\",\"b\":\"\",\"n\":1}",
        "{\"seq\":1,\"op\":0,\"a\":\"b\",\"b\":\"\",\"n\":1}",
        "{\"seq\":2,\"op\":1,\"a\":\"a\",\"b\":\"\",\"n\":1}",
        "{\"seq\":3,\"op\":3,\"a\":\"\",\"b\":\"\",\"n\":0}",
    };
    struct world w;
    world_open(&w, definition, 1, plugins);
    processor_close(w.processor);
    struct processor_options options = {.plan = w.plan, .plugins = plugins, .cache_bytes = 1};
    assert_int_equal(processor_open(&options, &w.processor, NULL), 0);
    for (uint32_t s = 0; s < WORLD_SOURCES; s++) {
        processor_source_restore(w.processor, s, 0, &w.store.states[s]);
    }
    for (size_t i = 0; i < array_len(events); i++) {
        struct event event = world_event(0, events[i]);
        world_apply(&w, &event);
        world_commit(&w);
        free(event.json);
    }
    char *got = world_all_rows(&w, 0);
    assert_string_equal(got, "0|0|end|0 0\n1|0|end|0 0\n2|0|end|0 0\n3|0|b|1\n3|1|end|0 0\n");
    free(got);
    world_close(&w);
}

/* ---- What goes wrong. */

static int wrong_event(void *instance, const struct kappa_event *event,
                       const struct kappa_host *host)
{
    (void)instance;
    static char long_key[KAPPA_PLUGIN_KEY_MAX + 1];
    struct visit visit = {.host = host};
    if (event->values[0].i == 1) {
        (void)host->prefix(host->ctx, long_key, sizeof long_key, 0, each, &visit);
        return 0;
    }
    return host->range(host->ctx, "", 0, long_key, sizeof long_key, 0, each, &visit);
}

static const struct kappa_plugin wrong = {KAPPA_PLUGIN_ABI, scan_open, wrong_event, scan_close};

static void test_wrong(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct kappa_plugin *const plugins[] = {&wrong};
        struct world w;
        struct err err = {0};
        char json[128] = {0};
        int len =
            snprintf(json, sizeof json, "{\"seq\":%d,\"op\":1,\"a\":\"a\",\"b\":\"b\",\"n\":1}", i);
        world_open(&w, definition, 1 << 20, plugins);
        struct kappa_record record = {
            .value = (const uint8_t *)json, .value_len = (uint32_t)len, .key_len = KAPPA_NULL_LEN};
        assert_true(processor_apply(w.processor, 0, &record, 1, 1, &err) < 0);
        assert_string_equal(err.text,
                            "plugin scan.so: a key of its state has 481 bytes, at most 480");
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_without_store),
        cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
