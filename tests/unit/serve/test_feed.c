/* Goal: who applies the changes of a table holds its rows, wherever he begins and however the version
 * that serves changes; who is slow is told so, and nobody waits for him.
 * Method: feeds over versions made by hand; a commit is the swap to a version that has read more. What
 * a follower holds is compared with a scan. */
#define EVENTS 30000 /* so many that a few swaps pass the ring */
#include "tests/unit/serve/reader_world.h"

#include "base/buf.h"
#include "base/json.h"
#include "serve/feed_inner.h"

#define FEW  100
#define MANY 400

static struct world world;
static struct reader *reader;
static struct feeds *feeds;
static uint64_t epoch;

/* ---- a follower */

struct client {
    struct feed_follower *follower;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool asleep;
    struct buf text; /* taken and not yet looked at */
    json_t *rows;    /* by the text of the key */
    bool whole;      /* and it was given all of them */
    char event[20];
    char id[40];
    json_t *data;
    int resets;
    int swaps;
};

static void client_sleep(void *ctx)
{
    struct client *client = ctx;
    pthread_mutex_lock(&client->lock);
    assert_false(client->asleep);
    client->asleep = true;
    pthread_mutex_unlock(&client->lock);
}

static void client_wake(void *ctx)
{
    struct client *client = ctx;
    pthread_mutex_lock(&client->lock);
    client->asleep = false;
    pthread_cond_signal(&client->moved);
    pthread_mutex_unlock(&client->lock);
}

static void client_ask(struct client *client, const struct feed_ask *ask)
{
    const struct feed_sleeper sleeper = {client_sleep, client_wake, client};
    *client = (struct client){.rows = json_object()};
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->moved, NULL);
    assert_ok(feed_follow(feeds, ask, &sleeper, &client->follower, &fault));
}

static void client_follow(struct client *client, const char *table, const char *after, bool rows)
{
    client_ask(client, &(struct feed_ask){.table = table, .after = after, .rows = rows});
}

static void client_leave(struct client *client)
{
    feed_leave(client->follower);
    pthread_mutex_destroy(&client->lock);
    pthread_cond_destroy(&client->moved);
    json_decref(client->rows);
    json_decref(client->data);
    buf_free(&client->text);
}

static void client_wait(struct client *client)
{
    pthread_mutex_lock(&client->lock);
    while (client->asleep) {
        pthread_cond_wait(&client->moved, &client->lock);
    }
    pthread_mutex_unlock(&client->lock);
}

/* Text up to the end of an event; false: the stream has ended. */
static bool client_fill(struct client *client)
{
    char block[3000];
    while (strstr(buf_text(&client->text), "\n\n") == NULL) {
        ssize_t len = feed_take(client->follower, block, sizeof block);
        if (len < 0) {
            return false;
        }
        buf_append(&client->text, block, (size_t)len);
        client_wait(client);
    }
    return true;
}

static void client_apply(struct client *client)
{
    char *key = json_dumps(json_object_get(client->data, "key"), JSON_COMPACT);
    if (strcmp(client->event, "upsert") == 0) {
        json_object_set(client->rows, key, json_object_get(client->data, "row"));
    } else if (strcmp(client->event, "delete") == 0) {
        bool held = json_object_del(client->rows, key) == 0;
        assert_true(held || !client->whole);
    } else if (strcmp(client->event, "reset") == 0) {
        json_object_clear(client->rows);
        client->whole = json_bool(client->data, "rows", false);
        client->resets++;
    }
    client->swaps += strcmp(client->event, "swap") == 0;
    free(key);
}

/* The next event; false: the stream has ended. */
static bool client_next(struct client *client)
{
    if (!client_fill(client)) {
        return false;
    }
    char *text = (char *)client->text.data;
    char *end = strstr(text, "\n\n");
    json_t *data = NULL;
    client->event[0] = '\0';
    client->id[0] = '\0';
    *end = '\0';
    for (char *line = strtok_r(text, "\n", &text); line != NULL;
         line = strtok_r(NULL, "\n", &text)) {
        (void)sscanf(line, "event: %19s", client->event);
        (void)sscanf(line, "id: %39s", client->id);
        if (strncmp(line, "data: ", 6) == 0) {
            data = json_loads(line + 6, 0, NULL);
            assert_non_null(data);
        }
    }
    size_t done = (size_t)(end + 2 - (char *)client->text.data);
    memmove(client->text.data, client->text.data + done, client->text.len - done + 1);
    client->text.len -= done;
    json_decref(client->data);
    client->data = data;
    client_apply(client);
    return true;
}

/* Goes on to the cut of an epoch. */
static void client_to_cut(struct client *client, uint64_t wanted)
{
    for (;;) {
        assert_true(client_next(client));
        if (strcmp(client->event, "end") == 0) {
            fail_msg("it ended: %s", json_dumps(client->data, 0));
        }
        if (strcmp(client->event, "cut") == 0 &&
            json_int(client->data, "epoch", 0) == (int64_t)wanted) {
            return;
        }
    }
}

struct held {
    json_t *left;
    bool (*chosen)(const json_t *row); /* or NULL */
};

static bool forget_row(void *ctx, const struct plan_view *view, const struct kappa_value *values)
{
    struct held *held = ctx;
    json_t *row = reader_row_json(view, values);
    const char *key;
    json_t *one;
    if (held->chosen != NULL && !held->chosen(row)) {
        json_decref(row);
        return true;
    }
    json_object_foreach (held->left, key, one) {
        if (json_equal(one, row)) {
            json_object_del(held->left, key);
            json_decref(row);
            return true;
        }
    }
    char *text = json_dumps(row, 0);
    fail_msg("the follower has no row %s", text);
    return false;
}

/* It holds what a scan gives, or what is chosen of it. Slow: for tables of some hundred rows. */
static void client_holds_chosen(const struct client *client, const char *table,
                                bool (*chosen)(const json_t *row))
{
    struct held held = {.left = json_copy(client->rows), .chosen = chosen};
    assert_ok(reader_scan(reader, table, 0, -1, forget_row, &held, NULL, &fault));
    assert_int_equal(json_object_size(held.left), 0);
    json_decref(held.left);
}

static void client_holds(const struct client *client, const char *table)
{
    client_holds_chosen(client, table, NULL);
}

/* ---- the world */

static void serve_version(uint32_t version)
{
    serve(&world, version, ++epoch);
}

static int setup(void **state)
{
    (void)state;
    epoch = 0;
    world_open(&world, unit_seed("feed"));
    make_version(&world, 1, FEW);
    make_version(&world, 2, MANY);
    assert_ok(reader_open(world.dir, &reader, &fault));
    feeds = feeds_new(reader);
    serve_version(1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    feeds_close(feeds);
    if (feeds->counters.followers == 0) { /* else the test has failed, and says why */
        feeds_free(feeds);
    }
    reader_close(reader);
    world_close(&world);
    return 0;
}

/* ---- the tests */

static void test_every_table_across_versions(void **state)
{
    (void)state;
    struct client clients[array_len(table_names)];
    static const uint32_t order[] = {1, 2, 1, 2};
    for (size_t i = 0; i < array_len(table_names); i++) {
        client_follow(&clients[i], table_names[i], NULL, true);
    }
    for (size_t step = 0; step < array_len(order); step++) {
        if (step > 0) {
            serve_version(order[step]);
        }
        for (size_t i = 0; i < array_len(table_names); i++) {
            client_to_cut(&clients[i], epoch);
            client_holds(&clients[i], table_names[i]);
            assert_int_equal(clients[i].resets, 1);
            assert_int_equal(clients[i].swaps, step);
        }
    }
    for (size_t i = 0; i < array_len(table_names); i++) {
        client_leave(&clients[i]);
    }
}

static bool is_u3(const json_t *row)
{
    return strcmp(json_text(row, "u", ""), "u3") == 0;
}

static bool begins_with_u1(const json_t *row)
{
    return strncmp(json_text(row, "u", ""), "u1", 2) == 0;
}

static bool is_even(const json_t *row)
{
    return json_int(row, "c", 1) % 2 == 0;
}

static bool is_even_in_the_middle(const json_t *row)
{
    const char *u = json_text(row, "u", "");
    return is_even(row) && strcmp(u, "u12") >= 0 && strcmp(u, "u5") < 0;
}

static bool is_large(const json_t *row)
{
    return json_int(row, "n", 0) > 60;
}

/* What is chosen of a table is a table: rows come to be in it, and cease to be, as versions change. */
static void test_choices_of_rows(void **state)
{
    (void)state;

    static const struct {
        const char *table;
        struct row_range range;
        const char *where;
        bool (*chosen)(const json_t *row);
    } choices[] = {
        {"totals", {.keys = {"u3"}, .key_count = 1}, NULL, is_u3},
        {"totals", {.prefix = "u1"}, NULL, begins_with_u1},
        {"totals", {.key_count = 0}, "c % 2 = 0", is_even},
        {"totals", {.from = "u12", .below = "u5"}, "c % 2 = 0", is_even_in_the_middle},
        {"per_minute", {.keys = {"u3"}, .key_count = 1}, NULL, is_u3},
        {"per_minute", {.prefix = "u1"}, NULL, begins_with_u1},
        {"per_minute", {.key_count = 0}, "c % 2 = 0", is_even},
        {"big", {.prefix = "u1"}, NULL, begins_with_u1},
        {"raw", {.key_count = 0}, "n > 60", is_large},
    };
    struct client clients[array_len(choices)];
    struct client again;
    static const uint32_t order[] = {1, 2, 1, 2};
    for (size_t i = 0; i < array_len(choices); i++) {
        client_ask(&clients[i], &(struct feed_ask){.table = choices[i].table,
                                                   .range = &choices[i].range,
                                                   .where = choices[i].where,
                                                   .rows = true});
    }
    for (size_t step = 0; step < array_len(order); step++) {
        if (step > 0) {
            serve_version(order[step]);
        }
        for (size_t i = 0; i < array_len(choices); i++) {
            client_to_cut(&clients[i], epoch);
            client_holds_chosen(&clients[i], choices[i].table, choices[i].chosen);
            assert_int_equal(clients[i].resets, 1);
        }
    }
    assert_true(json_object_size(clients[0].rows) == 1);
    assert_int_equal(feeds_counters(feeds)->tables, array_len(choices));
    /* An id goes on in the same choice, and begins anew in another one. */
    client_ask(&again, &(struct feed_ask){.table = "totals",
                                          .range = &choices[0].range,
                                          .after = clients[0].id,
                                          .rows = true});
    serve_version(1);
    client_to_cut(&again, epoch);
    assert_int_equal(again.resets, 0);
    client_leave(&again);
    client_ask(&again, &(struct feed_ask){.table = "totals", .after = clients[0].id, .rows = true});
    client_to_cut(&again, epoch);
    assert_int_equal(again.resets, 1);
    client_leave(&again);
    for (size_t i = 0; i < array_len(choices); i++) {
        client_leave(&clients[i]);
    }
}

static void refused(const char *table, struct row_range range, const char *where, const char *why)
{
    struct feed_follower *none = NULL;
    struct err err = {0};
    const struct feed_sleeper sleeper = {client_sleep, client_wake, NULL};
    const struct feed_ask ask = {.table = table, .range = &range, .where = where};
    assert_true(feed_follow(feeds, &ask, &sleeper, &none, &err) < 0);
    if (strstr(err.text, why) == NULL) {
        fail_msg("%s does not say: %s", err.text, why);
    }
}

static void test_choices_that_are_none(void **state)
{
    (void)state;
    struct client client;
    refused("totals", (struct row_range){.keys = {"a", "b"}, .key_count = 2}, NULL,
            "no key column 2");
    refused("raw", (struct row_range){.keys = {"a"}, .key_count = 1}, NULL, "no key column 1");
    refused("totals", (struct row_range){.since = "0"}, NULL, "no windows");
    refused("totals", (struct row_range){.prefix = "u", .from = "u"}, NULL,
            "a prefix stands alone");
    refused("totals", (struct row_range){.key_count = 0}, "nope = 1", "where:1:1");
    /* One that has no value for a row ends, and says so. */
    client_ask(&client, &(struct feed_ask){.table = "totals", .where = "10 / (c - c) > 1"});
    while (strcmp(client.event, "end") != 0) {
        assert_true(client_next(&client));
        if (strcmp(client.event, "cut") == 0 && epoch < 3) {
            serve_version(epoch % 2 == 1 ? 2 : 1);
        }
    }
    const char *text = json_text(json_object_get(client.data, "error"), "message", "");
    assert_non_null(strstr(text, "division by zero"));
    client_leave(&client);
}

/* Ids: of a state that is in the ring, of the one at hand, of none that is known. */
static void test_going_on(void **state)
{
    (void)state;
    struct client stays;
    struct client again;
    char ids[3][sizeof stays.id];
    client_follow(&stays, "totals", NULL, true);
    for (size_t i = 0; i < array_len(ids); i++) {
        client_to_cut(&stays, epoch);
        memcpy(ids[i], stays.id, sizeof ids[i]);
        if (i + 1 < array_len(ids)) {
            serve_version(i == 0 ? 2 : 1);
        }
    }
    assert_string_equal(ids[0], ids[2]); /* the same definition at the same cut */
    assert_string_not_equal(ids[0], ids[1]);
    client_follow(&again, "totals", ids[1], true);
    client_to_cut(&again, epoch);
    assert_int_equal(again.resets, 0);
    assert_int_equal(again.swaps, 1);
    assert_string_equal(again.id, ids[2]);
    client_leave(&again);
    client_follow(&again, "totals", ids[2], true);
    serve_version(2);
    client_to_cut(&again, epoch);
    assert_int_equal(again.resets, 0);
    assert_int_equal(again.swaps, 1);
    client_leave(&again);
    client_follow(&again, "totals", "0123456789abcdef0123456789abcdef", true);
    client_to_cut(&again, epoch);
    assert_int_equal(again.resets, 1);
    client_holds(&again, "totals");
    client_leave(&again);
    client_follow(&again, "totals", NULL, false); /* without the rows */
    client_to_cut(&again, epoch);
    assert_int_equal(again.resets, 1);
    assert_int_equal(json_object_size(again.rows), 0);
    client_leave(&again);
    client_leave(&stays);
    /* Another server over the same files knows a state by its id. */
    feeds_close(feeds);
    feeds_free(feeds);
    feeds = feeds_new(reader);
    client_follow(&stays, "totals", NULL, true);
    client_to_cut(&stays, epoch);
    client_follow(&again, "totals", ids[1], true);
    serve_version(1);
    client_to_cut(&again, epoch);
    assert_int_equal(again.resets, 0);
    assert_int_equal(again.swaps, 1);
    client_leave(&again);
    client_leave(&stays);
}

/* A version that took windows over holds rows that are no function of its definition and cut: its states
 * are no other version's, though it stands where that one did. */
static void test_state_of_taken_windows(void **state)
{
    (void)state;
    struct client client;
    char id[sizeof client.id];
    char key[CATALOG_KEY_LEN];
    json_t *object = NULL;
    client_follow(&client, "totals", NULL, true);
    client_to_cut(&client, epoch);
    memcpy(id, client.id, sizeof id);
    client_leave(&client);
    make_version(&world, 3, FEW);
    catalog_key_version(key, "p", 3);
    assert_ok(catalog_get(world.catalog, key, &object, &fault));
    assert_int_equal(json_object_set_new(object, "window", json_pack("{s:i}", "of", 2)), 0);
    assert_ok(catalog_begin(world.catalog, &fault));
    assert_ok(catalog_put(world.catalog, key, object, &fault));
    assert_ok(catalog_commit(world.catalog, &fault));
    json_decref(object);
    serve_version(3);
    client_follow(&client, "totals", NULL, true);
    client_to_cut(&client, epoch);
    assert_string_not_equal(client.id, id);
    client_leave(&client);
    client_follow(&client, "totals", id, true);
    client_to_cut(&client, epoch);
    assert_int_equal(client.resets + client.swaps, 1);
    client_leave(&client);
}

/* Two versions whose rows all differ, swapped until the ring has passed who does not read. */
static void test_slow_follower(void **state)
{
    (void)state;
    static const char other[] =
        "CREATE TABLE ev (u text, n bigint, x double precision, t timestamptz) WITH "
        "(topic='events', format='json', event_time='t', watermark='5 s', timestamp_unit='ms');\n"
        "CREATE MATERIALIZED VIEW raw AS SELECT u || '-%s' AS u, n, t FROM ev WHERE n > %d;\n";
    struct client quick;
    struct client slow;
    struct client gone;
    for (uint32_t version = 3; version <= 4; version++) {
        char *text = xasprintf(other, version == 3 ? "three" : "four", 3);
        make_version_of(&world, version, EVENTS, text);
        free(text);
    }
    serve_version(3);
    client_follow(&quick, "raw", NULL, true);
    client_follow(&slow, "raw", NULL, true);
    client_follow(&gone, "raw", NULL, true);
    client_to_cut(&quick, epoch);
    client_to_cut(&slow, epoch);
    assert_true(client_next(&gone)); /* and no more */
    size_t rows = json_object_size(quick.rows);
    assert_in_range(rows, EVENTS / 3, EVENTS);
    for (int i = 0; i < 16; i++) { /* at least 1.2 MB each */
        serve_version(i % 2 == 0 ? 4 : 3);
        client_to_cut(&quick, epoch);
        assert_int_equal(json_object_size(quick.rows), rows);
    }
    assert_int_equal(quick.resets, 1);
    assert_int_equal(quick.swaps, 16);
    while (client_next(&slow) && strcmp(slow.event, "end") != 0) {
    }
    const json_t *error = json_object_get(slow.data, "error");
    assert_string_equal(json_text(error, "code", ""), "limit");
    assert_non_null(strstr(json_text(error, "message", ""), "too slow"));
    assert_true(slow.swaps < 3); /* a piece that it had begun, no more */
    assert_false(client_next(&slow));
    const struct feed_counters *counters = feeds_counters(feeds);
    assert_int_equal(counters->too_slow, 1);
    assert_int_equal(counters->followers, 3);
    assert_int_equal(counters->tables, 1);
    assert_int_equal(counters->steps, 16);
    assert_int_equal(counters->resets, 0);
    client_leave(&slow);
    client_leave(&gone);
    client_leave(&quick);
}

/* The file has outgrown its map: whoever begins to read waits for this process's snapshots, so the feed
 * lets its own go, and cannot say any more what has changed. */
static void test_growing_file(void **state)
{
    (void)state;
    struct client client;
    client_follow(&client, "totals", NULL, true);
    client_to_cut(&client, epoch);
    char *path = xasprintf("%s/versions/p/1/0/data.mdb", world.dir);
    assert_int_equal(truncate(path, (off_t)2 << 30), 0);
    free(path);
    serve_version(2);
    client_to_cut(&client, epoch);
    client_holds(&client, "totals");
    assert_int_equal(client.resets, 2);
    assert_int_equal(client.swaps, 0);
    assert_int_equal(feeds_counters(feeds)->resets, 1);
    client_leave(&client);
}

static void point_at(const char *table)
{
    const struct catalog_pointer pointer = {.processor = "p", .version = 3, .epoch = ++epoch};
    assert_ok(catalog_begin(world.catalog, &fault));
    assert_ok(catalog_pointer_put(world.catalog, table, &pointer, &fault));
    assert_ok(catalog_commit(world.catalog, &fault));
}

/* Follows a view to its end, which says why. */
static void too_much(const char *view, const char *why)
{
    struct client client;
    client_follow(&client, view, NULL, true);
    while (client_next(&client)) {
        assert_string_not_equal(client.event, "cut");
    }
    assert_string_equal(client.event, "end");
    const json_t *error = json_object_get(client.data, "error");
    assert_string_equal(json_text(error, "code", ""), "refused");
    assert_non_null(strstr(json_text(error, "message", ""), why));
    assert_non_null(strstr(json_text(error, "hint", ""), "the tables that it reads"));
    client_leave(&client);
}

/* Views that are too much to be followed: of too many rows, and one that would run for years. */
static void test_views_that_are_too_much(void **state)
{
    (void)state;
    char *text = xasprintf(
        "%sCREATE VIEW few AS SELECT u, n FROM raw;\n"
        "CREATE VIEW wide AS SELECT a.u, a.n, a.t, b.t AS other FROM raw a, raw b, raw c;\n"
        "CREATE VIEW endless AS SELECT count(*) AS c FROM raw a, raw b, raw c, raw d, raw e, raw "
        "f;\n",
        definition);
    struct client client;
    make_version_of(&world, 3, MANY, text);
    free(text);
    point_at("few");
    point_at("wide");
    point_at("endless");
    client_follow(&client, "few", NULL, true);
    client_to_cut(&client, epoch - 2);
    client_leave(&client);
    too_much("wide", "more than 8 MiB");
    feeds->view_us = 1;
    too_much("endless", "takes more than 10 s");
}

static void test_ends(void **state)
{
    (void)state;
    struct client client;
    struct client other;
    struct feed_follower *none = NULL;
    const struct feed_sleeper sleeper = {client_sleep, client_wake, NULL};
    struct err err = {0};
    const struct feed_ask nothing = {.table = "nothing"};
    const struct feed_ask big = {.table = "big"};
    assert_int_equal(feed_follow(feeds, &nothing, &sleeper, &none, &err), -KE_NOT_FOUND);
    client_follow(&client, "totals", NULL, true);
    client_follow(&other, "big", NULL, true);
    client_to_cut(&client, epoch);
    client_to_cut(&other, epoch);
    assert_ok(catalog_begin(world.catalog, &fault));
    assert_ok(catalog_pointer_delete(world.catalog, "totals", &fault));
    assert_ok(catalog_commit(world.catalog, &fault));
    assert_true(client_next(&client));
    assert_string_equal(client.event, "end");
    assert_string_equal(json_text(json_object_get(client.data, "error"), "code", ""), "not_found");
    assert_false(client_next(&client));
    client_leave(&client);
    /* The server stops: those who sleep are woken. */
    char block[100];
    while (feed_take(other.follower, block, sizeof block) > 0) {
    }
    feeds_close(feeds);
    client_wait(&other);
    assert_int_equal(feed_take(other.follower, block, sizeof block), -1);
    assert_int_equal(feed_follow(feeds, &big, &sleeper, &none, &err), -KE_CLOSED);
    client_leave(&other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_every_table_across_versions),
        TEST(test_choices_of_rows),
        TEST(test_choices_that_are_none),
        TEST(test_going_on),
        TEST(test_state_of_taken_windows),
        TEST(test_slow_follower),
        TEST(test_growing_file),
        TEST(test_views_that_are_too_much),
        TEST(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
