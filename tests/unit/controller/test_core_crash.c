/* Goal: the brain may die at any moment; afterwards the catalog shows old or new, never between,
 * and a new brain goes on without help.
 * Method: a user who wants v1 deployed, v2 swapped in, rolled back, swapped forward and v1 dropped,
 * and who looks at the status before asking again. The story is told once for each fail point that
 * it passes (before and after each catalog commit, before each message and start), dying there; then
 * with two random deaths, and random deaths of workers. Another user sets a canary, changes it, takes it
 * back, sets it again and aborts its version. */
#include "tests/unit/controller/world.h"

#include "base/prng.h"
#include "controller/versions.h"

/* The canary of the processor's object is that of the pointer, and a version on its way to serve. */
static void check_canary(const json_t *processor, const json_t *versions,
                         const struct catalog_pointer *pointer)
{
    const json_t *canary = json_object_get(processor, "canary");
    size_t i;
    json_t *entry;
    assert_int_equal(pointer->canary.version, json_int(canary, "version", 0));
    assert_int_equal(pointer->canary.share, (int64_t)(100 * json_number(canary, "share", 0)));
    json_array_foreach (versions, i, entry) {
        const json_t *version = json_object_get(entry, "value");
        const char *state = json_text(version, "state", "");
        if (json_int(version, "version", 0) == pointer->canary.version) {
            assert_true(version_is_candidate(state_find(&version_states, state)));
        }
    }
}

/* What must be true of the catalog at any time, as a new brain finds it. */
static void check_catalog(struct world *world)
{
    char key[CATALOG_KEY_LEN];
    catalog_key_processor(key, "p");
    json_t *processor = NULL;
    if (catalog_get(world->catalog, key, &processor, NULL) != 0) {
        return;
    }
    int64_t serving = json_int(processor, "serving", -1);
    int64_t epoch = json_int(processor, "epoch", -1);
    json_t *list = NULL;
    assert_int_equal(catalog_list(world->catalog, "v/p/", &list, NULL), 0);
    size_t i;
    json_t *entry;
    int64_t serving_found = 0;
    int standbys = 0;
    json_array_foreach (list, i, entry) {
        const json_t *version = json_object_get(entry, "value");
        const char *state = json_text(version, "state", "");
        if (strcmp(state, "serving") == 0) {
            assert_int_equal(serving_found, 0);
            serving_found = json_int(version, "version", 0);
        }
        standbys += strcmp(state, "standby") == 0;
    }
    assert_int_equal(serving_found, serving);
    assert_true(standbys <= 1);
    struct catalog_pointer pointer;
    int rc = catalog_pointer_get(world->catalog, "counts", &pointer, NULL);
    assert_int_equal(rc == 0, serving != 0);
    if (rc == 0) {
        assert_int_equal(pointer.version, serving);
        assert_int_equal(pointer.epoch, epoch);
        catalog_key_receipt(key, "p", (uint64_t)epoch);
        json_t *receipt = NULL;
        assert_int_equal(catalog_get(world->catalog, key, &receipt, NULL), 0);
        assert_int_equal(json_int(receipt, "new", 0), serving);
        json_decref(receipt);
        check_canary(processor, list, &pointer);
    }
    json_decref(list);
    json_decref(processor);
}

/* ---- A story that survives deaths ---- */

struct story {
    struct world world;
    struct prng prng;
    long second_death;    /* after the first one; 0: none */
    uint32_t kill_one_in; /* steps: a random worker dies; 0: never */
    int deaths;
};

static bool died(const struct world *world)
{
    return world->fail_at != 0 && world->fail_count >= world->fail_at;
}

static void story_step(struct story *story)
{
    struct world *world = &story->world;
    world_step(world);
    if (story->kill_one_in != 0 && prng_below(&story->prng, story->kill_one_in) == 0) {
        world_worker_exit(&world->workers[prng_below(&story->prng, 8)], 0, 9);
    }
    if (died(world)) {
        story->deaths++;
        world_restart(world);
        check_catalog(world);
        world_check(world);
        world->fail_count = 0;
        world->fail_at = story->second_death;
        story->second_death = 0;
    }
}

/* Asks, and waits for the answer or a death. Whether it came about is seen in the status. */
static void story_ask(struct story *story, const char *verb, uint32_t version, json_t *body)
{
    struct world_answer answer;
    int deaths = story->deaths;
    world_ask(&story->world, &answer, verb, "p", version, body);
    for (int i = 0; i < 2000 && !answer.done && story->deaths == deaths; i++) {
        story_step(story);
    }
    assert_true(answer.done || story->deaths > deaths);
    json_decref(answer.body);
}

static json_t *story_status(struct story *story)
{
    struct world_answer answer;
    for (;;) {
        world_ask(&story->world, &answer, "status", "p", 0, NULL);
        if (answer.done) {
            return answer.body != NULL ? answer.body : json_object();
        }
        story_step(story); /* the brain is dead */
    }
}

static size_t story_versions(struct story *story)
{
    json_t *status = story_status(story);
    size_t count = json_array_size(json_object_get(status, "versions"));
    json_decref(status);
    return count;
}

static int64_t story_serving(struct story *story)
{
    json_t *status = story_status(story);
    int64_t serving = json_int(status, "serving", 0);
    json_decref(status);
    return serving;
}

static void story_make(struct story *story, const char *sql, const char *swap, size_t versions)
{
    while (story_versions(story) < versions) {
        story_ask(story, "deploy", 0, world_definition(sql, swap));
    }
}

static void story_deploy(struct story *story, const char *sql, size_t versions)
{
    story_make(story, sql, "auto", versions);
    for (int i = 0; i < 4000 && story_serving(story) != (int64_t)versions; i++) {
        story_step(story);
    }
    assert_int_equal(story_serving(story), versions);
}

/* Asks again until it is so: workers may be restarting. */
static void story_serve(struct story *story, const char *verb, uint32_t version, int64_t serving)
{
    for (int i = 0; i < 200 && story_serving(story) != serving; i++) {
        story_ask(story, verb, version, json_object());
        for (int k = 0; k < 20; k++) {
            story_step(story);
        }
    }
    assert_int_equal(story_serving(story), serving);
}

static void story_tell(struct story *story)
{
    story_deploy(story, COUNTS_1, 1);
    story_deploy(story, COUNTS_2, 2);
    story_serve(story, "rollback", 0, 1);
    story_serve(story, "swap", 2, 2);
    while (story_versions(story) > 1) {
        story_ask(story, "drop", 1, json_object());
        story_step(story);
    }
    for (int i = 0; i < 10; i++) {
        story_step(story);
    }
    check_catalog(&story->world);
    assert_null(world_files(&story->world, "p/1", false));
    assert_false(story->world.in_doubt);
}

static double story_share(struct story *story)
{
    json_t *status = story_status(story);
    double share = json_number(json_object_get(status, "canary"), "share", 0);
    json_decref(status);
    return share;
}

/* Asks again until it is so. */
static void story_canary(struct story *story, double share)
{
    for (int i = 0; i < 400 && story_share(story) != share; i++) {
        story_ask(story, "canary", 0, json_pack("{s:f}", "share", share));
        for (int k = 0; k < 20; k++) {
            story_step(story);
        }
        check_catalog(&story->world);
    }
    assert_true(story_share(story) == share);
}

static void story_of_canary(struct story *story)
{
    story_deploy(story, COUNTS_1, 1);
    story_make(story, COUNTS_2, "manual", 2);
    story_canary(story, 30);
    story_canary(story, 75);
    story_canary(story, 0);
    story_canary(story, 100);
    while (story_share(story) != 0) {
        story_ask(story, "abort", 2, json_object());
        check_catalog(&story->world);
    }
    for (int i = 0; i < 10; i++) {
        story_step(story);
    }
    check_catalog(&story->world);
    assert_int_equal(story_serving(story), 1);
    assert_false(story->world.in_doubt);
}

static void death_at_every_point(void (*tell)(struct story *story))
{
    long points = 0;
    for (long at = 1;; at++) {
        struct story *story = xcalloc(1, sizeof *story);
        world_open(&story->world);
        story->world.fail_at = at;
        tell(story);
        points += story->deaths;
        bool over = story->deaths == 0;
        world_close(&story->world);
        free(story);
        if (over) {
            break;
        }
    }
    (void)printf("deaths at %ld points\n", points);
    assert_true(points > 40);
}

static void test_death_at_every_point(void **unused)
{
    (void)unused;
    death_at_every_point(story_tell);
}

static void test_death_at_every_point_of_a_canary(void **unused)
{
    (void)unused;
    death_at_every_point(story_of_canary);
}

static void test_random_deaths(void **unused)
{
    (void)unused;
    uint64_t seed = unit_seed("deaths");
    for (uint64_t round = 0; round < 40; round++) {
        struct story *story = xcalloc(1, sizeof *story);
        prng_init(&story->prng, seed + round);
        world_open(&story->world);
        story->world.fail_at = 1 + (long)prng_below(&story->prng, 60);
        story->second_death = 1 + (long)prng_below(&story->prng, 60);
        story->kill_one_in = 30;
        (round % 2 == 0 ? story_tell : story_of_canary)(story);
        world_close(&story->world);
        free(story);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_death_at_every_point),
        cmocka_unit_test(test_death_at_every_point_of_a_canary),
        cmocka_unit_test(test_random_deaths),
    };
    (void)setenv("KAPPA_LOG", "error", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
