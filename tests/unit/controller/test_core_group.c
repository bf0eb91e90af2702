/* Goal: processors of a group change over in one transaction or not at all: forward, back and forward
 * again; with members that are not ready, are held back, die, hang; and wherever the brain dies.
 * Method: the world of world.h with two processors, p and q, whose versions of one number belong
 * together. After every step the catalog is read as a reader would: once both serve, the pointers of
 * their tables name the same number, unless the test has moved one alone. */
#include "tests/unit/controller/world.h"

#include "base/prng.h"

#define INPUT                                                                                      \
    "CREATE TABLE events (user_id text, kind text) WITH (topic='events', format='json');\n"
#define SHOP "SET swap.in_group = 'shop';\n"

static const char *const wholes[] = {"count(*)", "count(kind)", "max(kind)", "min(kind)"};

struct shop {
    struct world world;
    struct prng prng;
    bool apart; /* the test has moved one alone */
    long second_death;
    uint32_t kill_one_in;
    int deaths;
};

static uint32_t pointer_of(struct world *world, const char *table)
{
    struct catalog_pointer pointer;
    return catalog_pointer_get(world->catalog, table, &pointer, NULL) == 0 ? pointer.version : 0;
}

/* In one moment: nothing writes between the two looks. */
static void check_together(struct shop *shop)
{
    uint32_t p = pointer_of(&shop->world, "counts");
    uint32_t q = pointer_of(&shop->world, "totals");
    if (!shop->apart && p != 0 && q != 0) {
        assert_int_equal(p, q);
    }
}

static void check_receipts(struct world *world, const char *processor)
{
    char key[CATALOG_KEY_LEN];
    (void)snprintf(key, sizeof key, "r/%s/", processor);
    json_t *list = NULL;
    assert_int_equal(catalog_list(world->catalog, key, &list, NULL), 0);
    size_t i;
    json_t *entry;
    json_array_foreach (list, i, entry) {
        const json_t *receipt = json_object_get(entry, "value");
        const json_t *group = json_object_get(receipt, "group");
        const char *name;
        json_t *member;
        json_object_foreach (json_object_get(group, "members"), name, member) {
            json_t *theirs = NULL;
            catalog_key_receipt(key, name, (uint64_t)json_int(member, "epoch", 0));
            assert_int_equal(catalog_get(world->catalog, key, &theirs, NULL), 0);
            assert_int_equal(json_int(theirs, "new", -1), json_int(member, "new", -2));
            assert_int_equal(json_int(theirs, "old", -1), json_int(member, "old", -2));
            assert_true(json_equal(json_object_get(theirs, "group"), group));
            json_decref(theirs);
        }
    }
    json_decref(list);
}

static bool died(const struct world *world)
{
    return world->fail_at != 0 && world->fail_count >= world->fail_at;
}

static void shop_step(struct shop *shop)
{
    struct world *world = &shop->world;
    world_step(world);
    check_together(shop);
    if (shop->kill_one_in != 0 && prng_below(&shop->prng, shop->kill_one_in) == 0) {
        world_worker_exit(&world->workers[prng_below(&shop->prng, 8)], 0, 9);
    }
    if (died(world)) {
        shop->deaths++;
        world_restart(world);
        check_together(shop);
        check_receipts(world, "p");
        check_receipts(world, "q");
        world->fail_count = 0;
        world->fail_at = shop->second_death;
        shop->second_death = 0;
    }
}

static void steps(struct shop *shop, int count)
{
    for (int i = 0; i < count; i++) {
        shop_step(shop);
    }
}

/* The answer, or nothing when the brain died meanwhile. */
static json_t *ask(struct shop *shop, const char *verb, const char *processor, uint32_t version,
                   json_t *body, struct err *err)
{
    struct world_answer answer;
    int deaths = shop->deaths;
    world_ask(&shop->world, &answer, verb, processor, version, body);
    for (int i = 0; i < 2000 && !answer.done && shop->deaths == deaths; i++) {
        shop_step(shop);
    }
    assert_true(answer.done || shop->deaths > deaths);
    *err = answer.err;
    return answer.body;
}

static void refused(struct shop *shop, const char *verb, const char *processor, json_t *body,
                    const char *says)
{
    struct err err;
    json_t *answer = ask(shop, verb, processor, 0, body, &err);
    assert_null(answer);
    if (strstr(err.text, says) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, says);
    }
}

static json_t *status_of(struct shop *shop, const char *processor)
{
    struct world_answer answer;
    for (;;) {
        world_ask(&shop->world, &answer, "status", processor, 0, NULL);
        if (answer.done) {
            return answer.body != NULL ? answer.body : json_object();
        }
        shop_step(shop); /* the brain is dead */
    }
}

static int64_t serving(struct shop *shop, const char *processor)
{
    json_t *status = status_of(shop, processor);
    int64_t version = json_int(status, "serving", 0);
    json_decref(status);
    return version;
}

static size_t versions(struct shop *shop, const char *processor)
{
    json_t *status = status_of(shop, processor);
    size_t count = json_array_size(json_object_get(status, "versions"));
    json_decref(status);
    return count;
}

static const char *version_text(struct shop *shop, const char *processor, uint32_t version,
                                const char *outer, const char *member)
{
    static char text[400];
    json_t *status = status_of(shop, processor);
    const json_t *entry = json_array_get(json_object_get(status, "versions"), version - 1);
    entry = outer != NULL ? json_object_get(entry, outer) : entry;
    (void)snprintf(text, sizeof text, "%s", json_text(entry, member, ""));
    json_decref(status);
    return text;
}

static char *definition(const char *processor, uint32_t number, const char *settings)
{
    const char *table = strcmp(processor, "p") == 0   ? "counts"
                        : strcmp(processor, "q") == 0 ? "totals"
                                                      : "others";
    return xasprintf("%s" INPUT "CREATE MATERIALIZED VIEW %s AS SELECT user_id, %s AS n FROM "
                     "events GROUP BY user_id;\n",
                     settings, table, wholes[number - 1]);
}

static void deploy(struct shop *shop, const char *processor, uint32_t number, const char *settings)
{
    char *sql = definition(processor, number, settings);
    while (versions(shop, processor) < number) {
        struct err err;
        int deaths = shop->deaths;
        json_t *made = ask(shop, "deploy", processor, 0,
                           json_pack("{s:s, s:s}", "sql", sql, "who", "test"), &err);
        if (made == NULL && shop->deaths == deaths) {
            fail_msg("%s", err.text);
        }
        json_decref(made);
    }
    free(sql);
}

static void wait_state(struct shop *shop, const char *processor, uint32_t version,
                       const char *state)
{
    for (int i = 0;
         i < 3000 && strcmp(version_text(shop, processor, version, NULL, "state"), state) != 0;
         i++) {
        shop_step(shop);
    }
    assert_string_equal(version_text(shop, processor, version, NULL, "state"), state);
}

static void wait_both(struct shop *shop, uint32_t version)
{
    for (int i = 0; i < 4000 && (serving(shop, "p") != version || serving(shop, "q") != version);
         i++) {
        shop_step(shop);
    }
    assert_int_equal(serving(shop, "p"), version);
    assert_int_equal(serving(shop, "q"), version);
}

/* v1 of both serve. */
static void open_shop(struct shop *shop)
{
    deploy(shop, "p", 1, SHOP);
    deploy(shop, "q", 1, SHOP);
    wait_both(shop, 1);
}

static int setup(void **state)
{
    struct shop *shop = xcalloc(1, sizeof *shop);
    world_open(&shop->world);
    *state = shop;
    open_shop(shop);
    return 0;
}

static int teardown(void **state)
{
    struct shop *shop = *state;
    check_receipts(&shop->world, "p");
    check_receipts(&shop->world, "q");
    assert_false(shop->world.in_doubt);
    world_close(&shop->world);
    free(shop);
    return 0;
}

/* The receipts of all are those of each, newest first. */
static void check_history(struct world *world)
{
    size_t seen[2] = {0};
    json_t *own[] = {world_call(world, "history", "p", 0, NULL),
                     world_call(world, "history", "q", 0, NULL)};
    json_t *all = world_call(world, "history", NULL, 0, NULL);
    const char *before = "9";
    size_t i;
    json_t *receipt;
    json_array_foreach (json_object_get(all, "receipts"), i, receipt) {
        size_t which = strcmp(json_text(receipt, "processor", ""), "q") == 0 ? 1 : 0;
        const json_t *list = json_object_get(own[which], "receipts");
        assert_true(json_equal(receipt, json_array_get(list, seen[which]++)));
        assert_true(strcmp(json_text(receipt, "time", ""), before) <= 0);
        before = json_text(receipt, "time", "");
    }
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(seen[k], 4);
        assert_int_equal(json_array_size(json_object_get(own[k], "receipts")), 4);
        json_decref(own[k]);
    }
    json_decref(all);
}

static json_t *person(const char *processor, const char *member, int value)
{
    return json_pack("{s:s, s:b}", "who", processor, member, value);
}

/* ---- The main road ---- */

static void test_members_wait_for_each_other(void **state)
{
    struct shop *shop = *state;
    deploy(shop, "p", 2, SHOP);
    wait_state(shop, "p", 2, "ready");
    steps(shop, 100);
    assert_string_equal(version_text(shop, "p", 2, NULL, "state"), "ready");
    assert_string_equal(
        version_text(shop, "p", 2, "held_back", "message"),
        "it changes over with the group \"shop\", and q has no version newer than v1");
    shop->world.pace = 10;
    deploy(shop, "q", 2, SHOP);
    steps(shop, 100);
    assert_string_equal(version_text(shop, "p", 2, "held_back", "message"),
                        "it changes over with the group \"shop\", and v2 of q is replaying");
    refused(shop, "swap", "p", json_object(), "and v2 of q is replaying");
    refused(shop, "swap", "q", json_object(), "v2 is not caught up");
    json_t *status = status_of(shop, "p");
    const json_t *group = json_object_get(status, "group");
    assert_string_equal(json_text(group, "name", ""), "shop");
    assert_int_equal(json_array_size(json_object_get(group, "with")), 1);
    json_decref(status);
    shop->world.pace = 1000;
    wait_both(shop, 2);
    assert_string_equal(version_text(shop, "p", 1, NULL, "state"), "standby");
    assert_string_equal(version_text(shop, "q", 1, NULL, "state"), "standby");
}

static void serve_second(struct shop *shop)
{
    deploy(shop, "p", 2, SHOP);
    deploy(shop, "q", 2, SHOP);
    wait_both(shop, 2);
}

static void test_back_and_forward(void **state)
{
    struct shop *shop = *state;
    struct err err;
    serve_second(shop);
    json_t *receipt = ask(shop, "rollback", "q", 0, person("ann", "alone", 0), &err);
    assert_string_equal(json_text(receipt, "processor", ""), "q");
    assert_string_equal(json_text(receipt, "who", ""), "ann");
    const json_t *members = json_object_get(json_object_get(receipt, "group"), "members");
    assert_int_equal(json_int(json_object_get(members, "p"), "new", 0), 1);
    json_decref(receipt);
    assert_int_equal(serving(shop, "p"), 1);
    steps(shop, 200); /* both are barred */
    assert_int_equal(serving(shop, "p"), 1);
    refused(shop, "rollback", "p", json_object(), "was itself rolled back");
    json_decref(ask(shop, "swap", "p", 0, json_object(), &err));
    assert_int_equal(serving(shop, "q"), 2);
    deploy(shop, "p", 3, SHOP);
    deploy(shop, "q", 3, SHOP);
    wait_both(shop, 3);
}

/* The standby of all is as long as the longest. */
static void test_standby_is_that_of_all(void **state)
{
    struct shop *shop = *state;
    deploy(shop, "p", 2, SHOP "SET swap.standby = '2 s';\n");
    deploy(shop, "q", 2, SHOP "SET swap.standby = '20 s';\n");
    wait_both(shop, 2);
    steps(shop, 500); /* 10 s */
    assert_string_equal(version_text(shop, "p", 1, NULL, "state"), "standby");
    wait_state(shop, "p", 1, "retired");
    wait_state(shop, "q", 1, "retired");
}

/* ---- Who is in it ---- */

static void test_first_version_does_not_wait(void **state)
{
    struct shop *shop = *state;
    deploy(shop, "r", 1, SHOP);
    wait_state(shop, "r", 1, "serving");
    assert_int_equal(serving(shop, "p"), 1);
    /* From now on it is one of them. */
    deploy(shop, "p", 2, SHOP);
    deploy(shop, "q", 2, SHOP);
    wait_state(shop, "q", 2, "ready");
    steps(shop, 100);
    assert_int_equal(serving(shop, "q"), 1);
    deploy(shop, "r", 2, SHOP);
    wait_both(shop, 2);
    assert_int_equal(serving(shop, "r"), 2);
}

static void test_who_names_no_group_moves_alone(void **state)
{
    struct shop *shop = *state;
    shop->apart = true;
    deploy(shop, "p", 2, "");
    wait_state(shop, "p", 2, "serving");
    assert_int_equal(serving(shop, "q"), 1);
    deploy(shop, "q", 2, SHOP); /* p has left */
    wait_state(shop, "q", 2, "serving");
}

static void test_alone(void **state)
{
    struct shop *shop = *state;
    struct err err;
    deploy(shop, "p", 2, SHOP);
    wait_state(shop, "p", 2, "ready");
    refused(shop, "swap", "p", json_object(), "q has no version newer than v1");
    shop->apart = true;
    json_t *receipt = ask(shop, "swap", "p", 0, person("bob", "alone", 1), &err);
    assert_true(json_bool(receipt, "alone", false));
    assert_null(json_object_get(receipt, "group"));
    json_decref(receipt);
    assert_int_equal(serving(shop, "q"), 1);
    json_decref(ask(shop, "rollback", "p", 0, json_object(), &err));
    assert_int_equal(serving(shop, "p"), 1);
}

static void test_moved_since(void **state)
{
    struct shop *shop = *state;
    struct err err;
    serve_second(shop);
    shop->apart = true;
    deploy(shop, "p", 3, "");
    wait_state(shop, "p", 3, "serving");
    refused(shop, "rollback", "q", json_object(), "p changed over with it, and has changed since");
    json_decref(ask(shop, "rollback", "q", 0, person("bob", "alone", 1), &err));
    assert_int_equal(serving(shop, "q"), 1);
    assert_int_equal(serving(shop, "p"), 3);
}

static void test_manual_member(void **state)
{
    struct shop *shop = *state;
    struct err err;
    deploy(shop, "p", 2, SHOP);
    deploy(shop, "q", 2, SHOP "SET swap.mode = manual;\n");
    wait_state(shop, "p", 2, "ready");
    wait_state(shop, "q", 2, "ready");
    steps(shop, 100);
    assert_int_equal(serving(shop, "p"), 1);
    assert_non_null(
        strstr(version_text(shop, "p", 2, "held_back", "message"), "q: v2 waits for a person"));
    json_decref(ask(shop, "swap", "p", 0, json_object(), &err));
    assert_int_equal(serving(shop, "q"), 2);
    assert_int_equal(serving(shop, "p"), 2);
}

static void test_policy_of_one_holds_all(void **state)
{
    struct shop *shop = *state;
    struct err err;
    shop->world.dead = 5;
    deploy(shop, "p", 2, SHOP);
    deploy(shop, "q", 2, SHOP "SET swap.max_dead = 1;\n");
    wait_state(shop, "p", 2, "ready");
    wait_state(shop, "q", 2, "ready");
    steps(shop, 100);
    assert_int_equal(serving(shop, "p"), 1);
    assert_non_null(strstr(version_text(shop, "p", 2, "held_back", "message"), "swap.max_dead"));
    refused(shop, "swap", "p", json_object(), "it changes over with q: v2 has 5 of");
    json_t *body = json_pack("{s:b, s:s}", "force", 1, "reason", "known");
    json_decref(ask(shop, "swap", "p", 0, body, &err));
    assert_int_equal(serving(shop, "q"), 2);
}

/* ---- What goes wrong ---- */

static void fault(struct shop *shop, const char *processor, uint32_t version, const char *die_at,
                  const char *silent_at)
{
    shop->world.fault_processor = processor;
    shop->world.fault_version = version;
    shop->world.die_at = die_at;
    shop->world.silent_at = silent_at;
    shop->world.fault_once = true;
}

static void test_worker_dies_or_hangs(void **unused)
{
    static const char *const words[] = {"hold", "run_to", "release"};
    (void)unused;
    for (uint32_t i = 0; i < 2 * 2 * 2 * array_len(words); i++) {
        void *state = NULL;
        (void)setup(&state);
        struct shop *shop = state;
        const char *word = words[i / 8];
        fault(shop, i % 2 == 0 ? "p" : "q", 1 + i / 2 % 2, i / 4 % 2 == 0 ? word : NULL,
              i / 4 % 2 == 0 ? NULL : word);
        serve_second(shop);
        (void)teardown(&state);
    }
}

static void test_silence_gives_up_all(void **state)
{
    struct shop *shop = *state;
    fault(shop, "q", 2, NULL, "run_to");
    deploy(shop, "p", 2, SHOP "SET swap.mode = manual;\n");
    deploy(shop, "q", 2, SHOP);
    wait_state(shop, "p", 2, "ready");
    wait_state(shop, "q", 2, "ready");
    refused(shop, "swap", "p", json_object(),
            "the swap to v2 was given up: q: the hold of 2000 ms ran out waiting for v2 to reach");
    json_t *status = status_of(shop, "q");
    assert_non_null(strstr(json_text(json_object_get(status, "last_swap_error"), "message", ""),
                           "the hold of 2000 ms"));
    assert_true(json_is_null(json_object_get(status, "swap")));
    json_decref(status);
}

static void test_pause_of_a_member(void **state)
{
    struct shop *shop = *state;
    struct err err;
    deploy(shop, "p", 2, SHOP);
    steps(shop, 3);
    shop->world.pace = 10;
    deploy(shop, "q", 2, SHOP);
    wait_state(shop, "q", 2, "replaying");
    json_decref(ask(shop, "pause", "q", 2, json_object(), &err));
    shop->world.pace = 1000;
    wait_state(shop, "p", 2, "ready");
    refused(shop, "swap", "p", json_object(), "v2 of q is paused");
    json_decref(ask(shop, "abort", "q", 2, json_object(), &err));
    refused(shop, "swap", "p", json_object(), "q has no version newer than v1");
}

/* q's serving version dies whenever it opens: a person's way back takes both all the same. */
static void test_back_from_a_dying_member(void **state)
{
    struct shop *shop = *state;
    struct err err;
    serve_second(shop);
    fault(shop, "q", 2, "open", NULL);
    shop->world.fault_once = false;
    for (int i = 0; i < WORLD_WORKERS; i++) {
        struct world_worker *worker = &shop->world.workers[i];
        if (worker->alive && worker->version == 2 && strcmp(worker->processor, "q") == 0) {
            world_worker_exit(worker, 0, 11);
        }
    }
    steps(shop, 100);
    json_decref(ask(shop, "rollback", "p", 0, json_object(), &err));
    assert_int_equal(serving(shop, "p"), 1);
    assert_int_equal(serving(shop, "q"), 1);
}

/* ---- Deaths of the brain ---- */

static void move_both(struct shop *shop, const char *verb, uint32_t version)
{
    struct err err;
    for (int i = 0; i < 200 && serving(shop, "p") != version; i++) {
        json_decref(ask(shop, verb, i % 2 == 0 ? "p" : "q", strcmp(verb, "swap") == 0 ? version : 0,
                        json_object(), &err));
        steps(shop, 20);
    }
    wait_both(shop, version);
}

static void story(struct shop *shop)
{
    open_shop(shop);
    serve_second(shop);
    move_both(shop, "rollback", 1);
    move_both(shop, "swap", 2);
    steps(shop, 10);
    check_receipts(&shop->world, "p");
    check_receipts(&shop->world, "q");
    assert_false(shop->world.in_doubt);
}

static void test_death_at_every_point(void **unused)
{
    (void)unused;
    long points = 0;
    for (long at = 1;; at++) {
        struct shop *shop = xcalloc(1, sizeof *shop);
        world_open(&shop->world);
        shop->world.fail_at = at;
        story(shop);
        bool over = shop->deaths == 0;
        points += shop->deaths;
        if (over) {
            check_history(&shop->world);
        }
        world_close(&shop->world);
        free(shop);
        if (over) {
            break;
        }
    }
    (void)printf("deaths at %ld points\n", points);
    assert_true(points > 80);
}

static void test_random_deaths(void **unused)
{
    (void)unused;
    uint64_t seed = unit_seed("group deaths");
    for (uint64_t round = 0; round < 40; round++) {
        struct shop *shop = xcalloc(1, sizeof *shop);
        prng_init(&shop->prng, seed + round);
        world_open(&shop->world);
        shop->world.fail_at = 1 + (long)prng_below(&shop->prng, 120);
        shop->second_death = 1 + (long)prng_below(&shop->prng, 120);
        shop->kill_one_in = 40;
        story(shop);
        world_close(&shop->world);
        free(shop);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_members_wait_for_each_other),
        TEST(test_back_and_forward),
        TEST(test_standby_is_that_of_all),
        TEST(test_first_version_does_not_wait),
        TEST(test_who_names_no_group_moves_alone),
        TEST(test_alone),
        TEST(test_moved_since),
        TEST(test_manual_member),
        TEST(test_policy_of_one_holds_all),
        cmocka_unit_test(test_worker_dies_or_hangs),
        TEST(test_silence_gives_up_all),
        TEST(test_pause_of_a_member),
        TEST(test_back_from_a_dying_member),
        cmocka_unit_test(test_death_at_every_point),
        cmocka_unit_test(test_random_deaths),
    };
    (void)setenv("KAPPA_LOG", "error", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
