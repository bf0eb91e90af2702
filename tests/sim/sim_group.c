/* Groups in the simulator: "features" and "pair" name one group, so they change over together or not at
 * all. Own header: sim.h.
 *
 *     features v1, pair v1    each as its first version, alone
 *     both v2                 deployed one after the other, swapped in together
 *     both v1, both v2        asked of either member
 *     features v1, then v2    --alone; between, the other one is refused a way back
 *
 * While one of them is asked to move, the controller dies at a fail point that is drawn, so that over the
 * seeds it dies at every step. Looked at all the time: the catalog never shows members of which one has
 * moved, nor tables of one processor that point to two versions. */
#include "tests/sim/sim.h"
#include "tests/sim/sim_operators.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEATHS_MAX     3   /* of one move */
#define STEPS_OF_SWAP  40  /* fail points, about */
#define STEPS_OF_BUILD 150 /* and of two deploys */

const char *sim_pair_definition(const struct sim *sim, bool right)
{
#define DEFINITION(types)                                                                          \
    "CREATE TABLE events (user_id text, event_type text, product_id text, amount double "          \
    "precision, event_time timestamptz) WITH (topic = 'events', event_time = 'event_time',"        \
    " watermark = '5 s');"                                                                         \
    "CREATE MATERIALIZED VIEW " SIM_PAIR_TABLE " AS SELECT user_id, count(*) AS n,"                \
    " max(amount) AS most FROM events WHERE " types " GROUP BY user_id;"                           \
    "CREATE TABLE profiles (id text PRIMARY KEY, level bigint) WITH (topic = '" SIM_PROFILES "');" \
    "CREATE MATERIALIZED VIEW levels AS SELECT id, level, 60 / level AS share FROM profiles"       \
    " WHERE level <> 3;"
    (void)sim;
    return right ? DEFINITION("event_type = 'click'")
                 : DEFINITION("event_type IN ('click', 'purchase')");
#undef DEFINITION
}

/* ---- The story ---- */

static bool both_serve(struct sim *sim, uint32_t version)
{
    return sim_serving(sim, &sim->features) == version && sim_serving(sim, &sim->pair) == version;
}

/* Asks either member until both serve the version. */
static void move(struct sim *sim, const struct sim_goal *goal)
{
    uint32_t deaths = 0;
    uint32_t steps = strcmp(goal->verb, "deploy") == 0 ? STEPS_OF_BUILD : STEPS_OF_SWAP;
    for (uint32_t i = 0; !both_serve(sim, goal->want) || sim->asked; i++) {
        if (i == SIM_STEPS_MAX) {
            sim_fail(sim, "the group does not serve v%u after %d steps of %s", goal->want, i,
                     goal->verb);
        }
        if (sim->asked && sim->answered) {
            sim_answer_taken(sim);
        } else if (!sim->asked && (i == 0 || sim_chance(sim, 300))) {
            sim->die_in = deaths++ < DEATHS_MAX ? 1 + (uint32_t)prng_below(&sim->prng, steps) : 0;
            sim_goal_ask(sim, goal, sim_chance(sim, 2) ? &sim->features : &sim->pair);
        }
        sim_step(sim, true);
    }
    sim->die_in = 0;
    sim->group_moves++;
    sim_note(sim, "both serve v%u", goal->want);
}

/* A way back of the other member, when this one has moved alone: refused, with the reason. */
static void refused(struct sim *sim)
{
    const struct sim_goal back = {.processor = &sim->pair, .verb = "rollback"};
    bool said = false;
    for (uint32_t i = 0; !said; i++) {
        if (i == SIM_STEPS_MAX) {
            sim_fail(sim, "a rollback of what changed over with another one is not refused");
        }
        if (sim->asked && sim->answered) {
            said = strstr(sim->answer.text, "has changed since") != NULL;
            sim_answer_taken(sim);
        } else if (!sim->asked) {
            sim_goal_ask(sim, &back, back.processor);
        }
        sim_step(sim, true);
    }
    if (sim_serving(sim, &sim->pair) != 2) {
        sim_fail(sim, "a refused rollback has moved it");
    }
}

void sim_group_tell(struct sim *sim)
{
    const struct sim_processor *features = &sim->features;
    sim_reach(sim, &(struct sim_goal){.processor = features, .want = 1, .verb = "deploy"});
    sim_reach(sim, &(struct sim_goal){.processor = &sim->pair, .want = 1, .verb = "deploy"});
    sim->together = true;
    sim_produce(sim, (uint32_t)prng_below(&sim->prng, 300));
    move(sim, &(struct sim_goal){.want = 2, .verb = "deploy", .right = true});
    move(sim, &(struct sim_goal){.want = 1, .verb = "rollback"});
    move(sim, &(struct sim_goal){.want = 2, .verb = "swap", .version = 2});
    sim->together = false;
    sim_reach(sim, &(struct sim_goal){
                       .processor = features, .want = 1, .verb = "rollback", .alone = true});
    refused(sim);
    sim_reach(sim,
              &(struct sim_goal){
                  .processor = features, .want = 2, .verb = "swap", .version = 2, .alone = true});
    sim->together = true;
}

/* ---- At any moment ---- */

/* All tables of a processor point to its version of now. */
static void look_at_pointers(struct sim *sim, const struct sim_processor *processor)
{
    struct catalog_pointer first = {.version = 0};
    json_t *object = NULL;
    char key[CATALOG_KEY_LEN];
    struct err err = {0};
    if (catalog_pointer_find(sim->catalog, processor->table, &first, &err) != 1) {
        return;
    }
    catalog_key_version(key, processor->name, first.version);
    if (catalog_get(sim->catalog, key, &object, &err) != 0) {
        sim_fail(sim, "%s: %s", key, err.text);
    }
    size_t i;
    json_t *table;
    json_array_foreach (json_object_get(object, "tables"), i, table) {
        struct catalog_pointer pointer = {.version = 0};
        if (catalog_pointer_find(sim->catalog, json_string_value(table), &pointer, &err) != 1 ||
            !catalog_pointer_same(&pointer, &first)) {
            sim_fail(sim, "%s is v%u of epoch %llu, %s v%u of epoch %llu", processor->table,
                     first.version, (unsigned long long)first.epoch, json_string_value(table),
                     pointer.version, (unsigned long long)pointer.epoch);
        }
    }
    json_decref(object);
}

void sim_group_look(struct sim *sim)
{
    uint32_t features = sim_serving(sim, &sim->features);
    uint32_t pair = sim_serving(sim, &sim->pair);
    if (sim->together && features != pair) {
        sim_fail(sim, "one member has moved, the other has not: features v%u, pair v%u", features,
                 pair);
    }
    look_at_pointers(sim, &sim->features);
    look_at_pointers(sim, &sim->pair);
    if (pair == 0) {
        return;
    }
    const char *keys[] = {"u0"};
    json_t *body = NULL;
    struct err err = {0};
    int rc = reader_get(sim->reader, SIM_PAIR_TABLE, 0, keys, 1, KAPPA_NO_TIME, &body, &err);
    if (rc == -KE_NOT_FOUND) {
        return;
    }
    if (rc != 0 || json_int(body, "version", 0) != pair) {
        sim_fail(sim, "a read of " SIM_PAIR_TABLE ", of which v%u serves: %s", pair, err.text);
    }
    int64_t cut[SIM_SOURCES_MAX];
    sim_cut(sim, json_object_get(body, "cut"), cut);
    sim_seen(sim, &sim->pair, (uint64_t)json_int(body, "epoch", 0), cut);
    json_decref(body);
}

/* ---- At the end ---- */

static void recount(struct sim *sim, const int64_t *cut, bool right, struct sim_texts *want)
{
    int64_t n[SIM_USERS_MAX] = {0};
    double most[SIM_USERS_MAX] = {0};
    int64_t offsets[SIM_PARTITIONS_MAX] = {0};
    for (uint32_t i = 0; i < sim->record_count; i++) {
        const struct sim_record *record = &sim->records[i];
        bool within = offsets[record->partition]++ < cut[record->partition];
        if (within && !record->bad && (record->type == 1 || (record->type == 2 && !right))) {
            n[record->user]++;
            most[record->user] =
                record->amount > most[record->user] ? record->amount : most[record->user];
        }
    }
    for (uint32_t user = 0; user < sim->users; user++) {
        char name[16];
        (void)snprintf(name, sizeof name, "u%u", user);
        if (n[user] > 0) {
            sim_texts_add(want, json_pack("{s:s, s:I, s:f}", "user_id", name, "n",
                                          (json_int_t)n[user], "most", most[user]));
        }
    }
}

static void check_rows(struct sim *sim)
{
    json_t *digest = NULL;
    struct err err = {0};
    uint32_t version = sim_serving(sim, &sim->pair);
    if (reader_version_digest(sim->reader, sim->pair.name, version, &digest, &err) != 0) {
        sim_fail(sim, "digest of pair v%u: %s", version, err.text);
    }
    int64_t cut[SIM_SOURCES_MAX];
    sim_cut(sim, json_object_get(digest, "cut"), cut);
    json_decref(digest);
    struct sim_texts *want = sim_texts_new();
    recount(sim, cut, sim_version_is_right(sim, &sim->pair, version), want);
    sim_texts_compare(sim, SIM_PAIR_TABLE, want);
    sim_people_check(sim, "levels", want, cut);
    free(want);
}

/* What a receipt says of another member is what that one's own receipt says. */
static void check_member(struct sim *sim, const json_t *group, const char *name,
                         const json_t *moved)
{
    char key[CATALOG_KEY_LEN];
    json_t *theirs = NULL;
    struct err err = {0};
    catalog_key_receipt(key, name, (uint64_t)json_int(moved, "epoch", 0));
    if (catalog_get(sim->catalog, key, &theirs, &err) != 0 ||
        json_int(theirs, "old", -1) != json_int(moved, "old", -2) ||
        json_int(theirs, "new", -1) != json_int(moved, "new", -2) ||
        json_equal(json_object_get(theirs, "group"), group) == 0) {
        sim_fail(sim, "receipt %s does not say what the other member's says", key);
    }
    json_decref(theirs);
}

/* Counts the receipts of group moves. */
static uint32_t check_receipts(struct sim *sim, const struct sim_processor *processor)
{
    char prefix[CATALOG_KEY_LEN];
    json_t *receipts = NULL;
    struct err err = {0};
    uint32_t moves = 0;
    (void)snprintf(prefix, sizeof prefix, "r/%s/", processor->name);
    if (catalog_list(sim->catalog, prefix, &receipts, &err) != 0) {
        sim_fail(sim, "receipts: %s", err.text);
    }
    size_t i;
    json_t *entry;
    json_array_foreach (receipts, i, entry) {
        const json_t *group = json_object_get(json_object_get(entry, "value"), "group");
        json_t *members = json_object_get(group, "members");
        const char *name;
        json_t *moved;
        moves += json_object_size(members) == 2 ? 1 : 0;
        json_object_foreach (members, name, moved) {
            check_member(sim, group, name, moved);
        }
    }
    json_decref(receipts);
    return moves;
}

void sim_group_check(struct sim *sim)
{
    check_rows(sim);
    uint32_t of_features = check_receipts(sim, &sim->features);
    uint32_t of_pair = check_receipts(sim, &sim->pair);
    if (of_features != sim->group_moves || of_pair != sim->group_moves) {
        sim_fail(sim, "%u moves of the group, with receipts of %u and %u", sim->group_moves,
                 of_features, of_pair);
    }
}
