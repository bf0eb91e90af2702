/* Goal: whatever is asked in whatever order, while workers die, hang or are silent, answers of jobs come
 * late, topics are made again, the clock is set and the brain dies: no read goes back, each request is
 * answered once, files that somebody needs are there; and when the noise is over, a version can be made and
 * swapped in as ever. Method: the world of world.h and a seed. */
#include "tests/unit/controller/world.h"

#define SEEDS 15
#define STEPS 1200
#define ASKS  64 /* under way */

#define ALERTS                                                                                     \
    "CREATE TABLE events (user_id text, kind text) WITH (topic='events', format='json');\n"        \
    "CREATE MATERIALIZED VIEW counts AS SELECT user_id, count(*) AS n FROM events GROUP BY "       \
    "user_id;\n"                                                                                   \
    "CREATE TABLE alerts (user_id text, word text) WITH (topic='alerts', format='json');\n"        \
    "INSERT INTO alerts SELECT user_id, kind FROM events;\n"

struct chaos {
    struct world world;
    struct prng prng;
    struct world_answer answers[ASKS];
    const char *asked[ASKS]; /* the verb, or NULL */
    uint64_t read_identity;  /* of the topic that what was seen was read from */
    uint64_t read_epoch;
};

static bool chance(struct chaos *chaos, uint64_t in)
{
    return prng_below(&chaos->prng, in) == 0;
}

/* ---- What is asked ---- */

static json_t *deploy_body(struct chaos *chaos)
{
    static const char *const definitions[] = {COUNTS_1, COUNTS_2, ALERTS};
    json_t *body = world_definition(definitions[prng_below(&chaos->prng, 3)],
                                    chance(chaos, 3) ? "manual" : "auto");
    json_object_set_new(body, "settings", json_pack("{s:s}", "swap.accept_gap", "on"));
    if (chance(chaos, 4)) {
        json_object_set_new(body, "dry_run", json_true());
    }
    if (chance(chaos, 4)) {
        json_object_set_new(json_object_get(body, "settings"), "swap.verify", json_string("on"));
    }
    return body;
}

static json_t *body_of(struct chaos *chaos, const char *verb)
{
    if (strcmp(verb, "deploy") == 0) {
        return deploy_body(chaos);
    }
    if (strcmp(verb, "replay") == 0) {
        return json_pack("{s:s}", "swap", chance(chaos, 2) ? "manual" : "auto");
    }
    if (strcmp(verb, "swap") == 0) {
        return json_pack("{s:b, s:b, s:s}", "accept_gap", 1, "force", (int)chance(chaos, 3),
                         "reason", "chaos");
    }
    if (strcmp(verb, "canary") == 0) {
        return json_pack("{s:i, s:b}", "share", chance(chaos, 2) ? 25 : 0, "force",
                         (int)chance(chaos, 3));
    }
    if (strcmp(verb, "gc") == 0) {
        return json_pack("{s:i, s:i}", "older_than_ms", 0, "keep", 0);
    }
    if (strcmp(verb, "limit") == 0) {
        return json_pack("{s:{s:i}}", "limit", "records_per_second", 100000);
    }
    return json_object();
}

/* Versions in the catalog, and the greatest number. */
static uint32_t newest_of(struct chaos *chaos, size_t *count)
{
    json_t *list = NULL;
    assert_int_equal(catalog_list(chaos->world.catalog, "v/p/", &list, NULL), 0);
    *count = json_array_size(list);
    const json_t *last = json_array_get(list, *count - 1);
    uint32_t newest = (uint32_t)json_int(json_object_get(last, "value"), "version", 0);
    json_decref(list);
    return newest;
}

static void ask(struct chaos *chaos, size_t slot)
{
    static const char *const verbs[] = {"deploy", "deploy", "replay", "swap",  "swap", "rollback",
                                        "pause",  "resume", "abort",  "drop",  "drop", "verify",
                                        "gc",     "canary", "limit",  "status"};
    size_t count = 0;
    uint32_t newest = newest_of(chaos, &count);
    const char *verb = verbs[prng_below(&chaos->prng, array_len(verbs))];
    if (count > 8 && (strcmp(verb, "deploy") == 0 || strcmp(verb, "replay") == 0)) {
        verb = "gc";
    }
    bool one = strcmp(verb, "swap") == 0 && chance(chaos, 3);
    uint32_t version = one ? 0 : newest - (uint32_t)prng_below(&chaos->prng, (uint64_t)newest + 1);
    const char *processor = strcmp(verb, "gc") == 0 ? NULL : "p";
    world_ask(&chaos->world, &chaos->answers[slot], verb, processor, version, body_of(chaos, verb));
    chaos->asked[slot] = verb;
}

/* Takes what was answered; all: it must be. */
static void take_answers(struct chaos *chaos, bool all)
{
    for (size_t i = 0; i < ASKS; i++) {
        struct world_answer *answer = &chaos->answers[i];
        if (all && chaos->asked[i] != NULL && !answer->done) {
            fail_msg("'%s' was never answered", chaos->asked[i]);
        }
        if (chaos->asked[i] != NULL && answer->done) {
            json_decref(answer->body);
            *answer = (struct world_answer){.done = false};
            chaos->asked[i] = NULL;
        }
    }
}

static void ask_somewhere(struct chaos *chaos)
{
    for (size_t i = 0; i < ASKS; i++) {
        if (chaos->asked[i] == NULL) {
            ask(chaos, i);
            return;
        }
    }
}

/* ---- What happens ---- */

static void make_topic_again(struct chaos *chaos)
{
    struct world *world = &chaos->world;
    world->identity++;
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        world->end[p] = (int64_t)prng_below(&chaos->prng, 9000);
    }
}

/* Workers of the topic that was there before find it out sooner or later. */
static void find_topic(struct chaos *chaos, struct world_worker *worker)
{
    if (worker->alive && worker->opened && worker->identity != chaos->world.identity &&
        chance(chaos, 5)) {
        world_event(&chaos->world, worker,
                    json_pack("{s:s, s:{s:s, s:s, s:s}}", "is", "failed", "error", "code",
                              "topic_changed", "message", "made again", "hint", ""));
        world_worker_exit(worker, 1, 0);
    }
}

static void disturb(struct chaos *chaos)
{
    static const char *const words[] = {"near", "hold", "run_to", "seal", "open"};
    struct world *world = &chaos->world;
    struct world_worker *worker = &world->workers[prng_below(&chaos->prng, 12)];
    if (chance(chaos, 60)) {
        world_worker_exit(worker, 0, chance(chaos, 2) ? 9 : 11);
    }
    if (chance(chaos, 80)) {
        size_t count = 0;
        world->fault_version = newest_of(chaos, &count);
        world->fault_once = true;
        bool dies = chance(chaos, 2);
        *(dies ? &world->die_at : &world->silent_at) =
            words[prng_below(&chaos->prng, array_len(words))];
    }
    if (chance(chaos, 100)) {
        world->pace = chance(chaos, 2) ? 40 : 1000;
        world->end[prng_below(&chaos->prng, WORLD_PARTITIONS)] += 3000;
    }
    if (chance(chaos, 300)) {
        world->refuse_start = 3;
    }
    if (chance(chaos, 200)) {
        size_t count = 0;
        world->stopped_version =
            chance(chaos, 2) ? 0 : (uint32_t)prng_below(&chaos->prng, newest_of(chaos, &count) + 1);
    }
    if (chance(chaos, 100)) {
        world->sends = !world->sends;
    }
    if (chance(chaos, 300)) {
        world->set_ms += (int64_t)prng_below(&chaos->prng, 20000) - 10000;
    }
    if (chance(chaos, 500)) {
        make_topic_again(chaos);
    }
    for (int i = 0; i < WORLD_WORKERS; i++) {
        find_topic(chaos, &world->workers[i]);
    }
}

/* What reads another topic than before begins elsewhere. */
static void forget_seen(struct chaos *chaos)
{
    struct catalog_pointer pointer;
    struct world *world = &chaos->world;
    char key[CATALOG_KEY_LEN];
    json_t *version = NULL;
    if (catalog_pointer_get(world->catalog, "counts", &pointer, NULL) != 0 ||
        pointer.epoch == chaos->read_epoch) {
        return;
    }
    chaos->read_epoch = pointer.epoch;
    catalog_key_version(key, "p", pointer.version);
    assert_int_equal(catalog_get(world->catalog, key, &version, NULL), 0);
    const json_t *input = json_array_get(json_object_get(version, "inputs"), 0);
    uint64_t identity = (uint64_t)json_int(input, "identity", 0);
    if (identity != chaos->read_identity) {
        memset(world->seen, 0, sizeof world->seen);
    }
    chaos->read_identity = identity;
    json_decref(version);
}

static void restart(struct chaos *chaos)
{
    bool dead = chaos->world.fail_step[0] != '\0';
    world_restart(&chaos->world);
    chaos->world.fail_step[0] = '\0';
    chaos->world.fail_count = 0;
    take_answers(chaos, !dead);
    for (size_t i = 0; i < ASKS; i++) { /* who asked a brain that died has no answer */
        chaos->asked[i] = NULL;
    }
}

/* As world_step, with the reader's eyes open for a topic that was made again. */
static void chaos_step(struct chaos *chaos)
{
    struct world *world = &chaos->world;
    world->now_us += WORLD_STEP_US;
    world_jobs_run(world);
    for (int i = 0; i < WORLD_PARTITIONS; i++) {
        world->end[i] += world->inflow;
    }
    core_tick(world->core);
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].id != 0) {
            world_worker_step(world, &world->workers[i]);
            forget_seen(chaos);
            world_check(world);
        }
    }
    world_jobs_finish(world);
    forget_seen(chaos);
    world_check(world);
    take_answers(chaos, false);
    if (world->fail_step[0] != '\0') {
        restart(chaos);
    }
}

/* ---- The end: all is as ever ---- */

/* The answer's body, owned. */
static json_t *chaos_call(struct chaos *chaos, const char *verb, uint32_t version, json_t *body)
{
    struct world_answer answer;
    world_ask(&chaos->world, &answer, verb, "p", version, body);
    for (int i = 0; i < 1000 && !answer.done; i++) {
        chaos_step(chaos);
    }
    assert_true(answer.done);
    if (answer.body == NULL) {
        fail_msg("%s: %s", verb, answer.err.text);
    }
    return answer.body;
}

static uint32_t deploy_at_last(struct chaos *chaos, const char *sql)
{
    json_t *body = world_definition(sql, "auto");
    json_object_set_new(body, "settings", json_pack("{s:s}", "swap.accept_gap", "on"));
    body = chaos_call(chaos, "deploy", 0, body);
    uint32_t version = (uint32_t)json_int(body, "version", 0);
    json_decref(body);
    return version;
}

/* A version from what there is; of nothing, when none has ever served and all were dropped. */
static json_t *make_again(struct chaos *chaos)
{
    size_t count = 0;
    (void)newest_of(chaos, &count);
    return count > 0 ? chaos_call(chaos, "replay", 0, json_pack("{s:s}", "swap", "manual"))
                     : chaos_call(chaos, "deploy", 0, world_definition(COUNTS_1, "manual"));
}

static void calm_down(struct chaos *chaos)
{
    struct world *world = &chaos->world;
    world->die_at = NULL;
    world->silent_at = NULL;
    world->stopped_version = 0;
    world->sends = true;
    world->refuse_start = 0;
    world->fail_at = 0;
    world->pace = 1000;
    world->slow_jobs = NULL;
    for (int i = 0; i < 1000; i++) {
        for (int k = 0; k < WORLD_WORKERS; k++) {
            find_topic(chaos, &world->workers[k]);
        }
        chaos_step(chaos);
    }
    take_answers(chaos, true);
    json_t *made = make_again(chaos);
    uint32_t version = (uint32_t)json_int(made, "version", 0);
    json_decref(made);
    for (int i = 0; i < 400; i++) {
        chaos_step(chaos);
    }
    assert_string_equal(world_state(world, version), "ready");
    json_decref(chaos_call(chaos, "swap", version, json_pack("{s:b}", "accept_gap", 1)));
    assert_string_equal(world_state(world, version), "serving");
}

static void tell(uint64_t seed)
{
    struct chaos *chaos = xcalloc(1, sizeof *chaos);
    struct world *world = &chaos->world;
    world_open(world);
    prng_init(&chaos->prng, seed);
    world->standby_ms = 8000;
    world->slow_jobs = &chaos->prng;
    (void)deploy_at_last(chaos, COUNTS_1);
    for (int i = 0; i < STEPS; i++) {
        if (chance(chaos, 8)) {
            ask_somewhere(chaos);
        }
        if (chance(chaos, 200) && world->fail_at <= world->fail_count) {
            world->fail_at = world->fail_count + 1 + (long)prng_below(&chaos->prng, 40);
        }
        disturb(chaos);
        chaos_step(chaos);
        if (chance(chaos, 400)) {
            restart(chaos);
        }
    }
    calm_down(chaos);
    assert_false(world->in_doubt);
    world_close(world);
    free(chaos);
}

static void test_chaos(void **state)
{
    (void)state;
    /* The same runs each time, unless others are wished for: KAPPA_SEED=1000 KAPPA_SEEDS=3000. */
    const char *wish = getenv("KAPPA_SEED");
    uint64_t seed = wish != NULL ? strtoull(wish, NULL, 10) : 1;
    const char *more = getenv("KAPPA_SEEDS");
    int64_t seeds = more != NULL ? strtoll(more, NULL, 10) : SEEDS;
    for (int64_t i = 0; i < seeds; i++) {
        (void)printf("chaos %llu\n", (unsigned long long)(seed + (uint64_t)i));
        (void)fflush(stdout);
        tell(seed + (uint64_t)i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chaos)};
    (void)setenv("KAPPA_LOG", "error", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
