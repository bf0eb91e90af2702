/* Goal: the messages of a record are real in one version: spans meet where the receipt says, also when the
 * old version's worker was dead and the old version stood below the cut of the swap. Method: the world of
 * world.h, with definitions that write to a topic. */
#include "tests/unit/controller/world.h"

#define ALERTS_OF(topic, word)                                                                     \
    "CREATE TABLE events (user_id text, kind text) WITH (topic='" topic "', format='json');\n"     \
    "CREATE TABLE alerts (user_id text, word text) WITH (topic='alerts', format='json');\n"        \
    "INSERT INTO alerts SELECT user_id, '" word "' FROM events;\n"

#define ALERTS(word) ALERTS_OF("events", word)

static json_t *newest_receipt(struct world *world)
{
    json_t *body = world_call(world, "history", "p", 0, NULL);
    json_t *receipt = json_incref(json_array_get(json_object_get(body, "receipts"), 0));
    assert_non_null(receipt);
    json_decref(body);
    return receipt;
}

static int64_t offset_of(const json_t *receipt, const char *field, const char *topic, int partition)
{
    const json_t *offsets = json_object_get(json_object_get(receipt, field), topic);
    const json_t *offset = json_array_get(offsets, (size_t)partition);
    assert_true(json_is_integer(offset));
    return json_integer_value(offset);
}

static int64_t offset_in(const json_t *receipt, const char *field, int partition)
{
    return offset_of(receipt, field, "events", partition);
}

/* The first version's messages are real from its start, though it serves only from the cut on; those of
 * the next ones from the cut of their swap. */
static void test_spans_meet_at_the_cut(void **state)
{
    struct world *world = *state;
    assert_int_equal(world_deploy(world, ALERTS("one"), "auto"), 1);
    world_wait(world, 1, "serving");
    json_t *receipt = newest_receipt(world);
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        assert_int_equal(offset_in(receipt, "outputs_from", p), world->start[p]);
        assert_true(offset_in(receipt, "cut", p) > world->start[p]);
    }
    json_decref(receipt);
    assert_int_equal(world_deploy(world, ALERTS("two"), "auto"), 2);
    world_wait(world, 2, "serving");
    receipt = newest_receipt(world);
    assert_true(
        json_equal(json_object_get(receipt, "outputs_from"), json_object_get(receipt, "cut")));
    json_decref(receipt);
    world_do(world, "rollback", "p", 0);
    receipt = newest_receipt(world);
    assert_true(
        json_equal(json_object_get(receipt, "outputs_from"), json_object_get(receipt, "cut")));
    json_decref(receipt);
}

/* What a dead version has not made comes from the next one: its messages are real from where the old one
 * stands, below the cut. */
static void test_dead_version_stands_below_the_cut(void **state)
{
    struct world *world = *state;
    world_deploy(world, ALERTS("one"), "auto");
    world_wait(world, 1, "serving");
    world->die_at = "open";
    world->fault_version = 1;
    world->fault_once = false;
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].alive) {
            world_worker_exit(&world->workers[i], 0, 11);
        }
    }
    struct world_files stood = *world_files_of(world, "p/1");
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        world->end[p] += 400 + 10 * p;
    }
    world_deploy(world, ALERTS("two"), "auto");
    world_wait(world, 2, "serving");
    assert_memory_equal(world_files_of(world, "p/1")->next, stood.next, sizeof stood.next);
    json_t *receipt = newest_receipt(world);
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        assert_int_equal(offset_in(receipt, "outputs_from", p), stood.next[p]);
        assert_true(offset_in(receipt, "cut", p) >= stood.next[p] + 400);
    }
    json_decref(receipt);
}

/* Its files cannot be read either: then it made what it had said to have committed, not what it had only
 * applied. */
static void test_dead_version_whose_files_are_gone(void **state)
{
    struct world *world = *state;
    world_deploy(world, ALERTS("one"), "auto");
    world_wait(world, 1, "serving");
    world_deploy(world, ALERTS("two"), "manual");
    world_wait(world, 2, "ready");
    world->inflow = 0;
    world_steps(world, 5);
    struct world_files stood = *world_files_of(world, "p/1");
    world->ahead = 200;
    world_step(world);
    world->unreadable = true;
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].alive && world->workers[i].version == 1) {
            world_worker_exit(&world->workers[i], 0, 9);
        }
    }
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        world->end[p] += 400;
    }
    world_step(world);
    world_do(world, "swap", "p", 2);
    json_t *receipt = newest_receipt(world);
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        assert_int_equal(offset_in(receipt, "outputs_from", p), stood.next[p]);
    }
    json_decref(receipt);
}

/* v2 reads another topic, v3 the first one again. Of a topic that nobody read before, messages are real
 * from the start; of one that was left, from where it was left. */
static void test_topics_that_change(void **state)
{
    struct world *world = *state;
    world_deploy(world, ALERTS("one"), "auto");
    world_wait(world, 1, "serving");
    world_deploy(world, ALERTS_OF("others", "two"), "auto");
    world_wait(world, 2, "serving");
    json_t *left = newest_receipt(world);
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        assert_int_equal(offset_of(left, "outputs_from", "others", p), world->start[p]);
        assert_true(offset_of(left, "cut", "others", p) > world->start[p]);
    }
    world_steps(world, 100);
    world_deploy(world, ALERTS("three"), "auto");
    world_wait(world, 3, "serving");
    json_t *again = newest_receipt(world);
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        assert_int_equal(offset_in(again, "outputs_from", p), offset_in(left, "cut", p));
        assert_true(offset_in(again, "cut", p) > offset_in(left, "cut", p));
    }
    json_decref(left);
    json_decref(again);
}

static int64_t span_offset(const struct world *world, size_t span, const char *name, int partition)
{
    const json_t *entry = json_array_get(json_object_get(world->outbox, "spans"), span);
    const json_t *offset = json_array_get(json_object_get(entry, name), (size_t)partition);
    assert_true(json_is_integer(offset));
    return json_integer_value(offset);
}

/* v1 serves; then its topic is deleted and made again, with ends from `end` on. */
static void make_topic_again(struct world *world, int64_t end)
{
    world_deploy(world, ALERTS("one"), "auto");
    world_wait(world, 1, "serving");
    world_steps(world, 20);
    world->inflow = 0;
    world_steps(world, 20);
    world->die_at = "open";
    world->fault_version = 1;
    for (int i = 0; i < WORLD_WORKERS; i++) {
        if (world->workers[i].alive) {
            world_event(world, &world->workers[i],
                        json_pack("{s:s, s:{s:s, s:s, s:s}}", "is", "failed", "error", "code",
                                  "topic_changed", "message", "made again", "hint", ""));
        }
    }
    world->identity++;
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        world->end[p] = end + p;
    }
}

/* v2 reads the new one. What v1 made of the old one and has not sent is real up to where v1 stands, wherever
 * the new one's offsets begin and end. */
static void topic_made_again(struct world *world, int64_t end)
{
    make_topic_again(world, end);
    struct world_files stood = *world_files_of(world, "p/1");
    json_decref(world_call(
        world, "deploy", "p", 0,
        json_pack("{s:s, s:{s:s}}", "sql", ALERTS("two"), "settings", "swap.accept_gap", "on")));
    world_wait(world, 2, "serving");
    world_steps(world, 2);
    assert_int_equal(json_array_size(json_object_get(world->outbox, "spans")), 2);
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        assert_int_equal(span_offset(world, 0, "to", p), stood.next[p]);
        assert_int_equal(span_offset(world, 1, "from", p), world->start[p]);
    }
}

/* What v1 has sent is of the old one: of the new one, all messages of v2 will be real. */
static void test_sent_of_the_old_topic(void **state)
{
    struct world *world = *state;
    bool told = false;
    world->sends = true;
    make_topic_again(world, 90000);
    world_deploy(world, ALERTS("two"), "manual");
    world_wait(world, 2, "ready");
    world_steps(world, 120);
    for (int i = 0; i < WORLD_WORKERS; i++) {
        for (int p = 0; world->workers[i].alive && p < WORLD_PARTITIONS; p++) {
            assert_int_equal(world->workers[i].sent[p], 0);
            told = true;
        }
    }
    assert_true(told);
}

/* Of the same topic, what is sent is not kept by others. */
static void test_sent_is_told(void **state)
{
    struct world *world = *state;
    world->sends = true;
    world_deploy(world, ALERTS("one"), "auto");
    world_wait(world, 1, "serving");
    world_deploy(world, ALERTS("two"), "manual");
    world_wait(world, 2, "ready");
    world_steps(world, 120);
    for (int i = 0; i < WORLD_WORKERS; i++) {
        for (int p = 0; world->workers[i].version == 2 && p < WORLD_PARTITIONS; p++) {
            assert_true(world->workers[i].sent[p] > 0);
        }
    }
}

static void test_topic_made_again(void **state)
{
    topic_made_again(*state, 700);
}

static void test_topic_made_again_and_longer(void **state)
{
    struct world *world = *state;
    for (int p = 0; p < WORLD_PARTITIONS; p++) {
        world->start[p] = 0;
    }
    topic_made_again(world, 90000);
}

/* A version whose messages are not all sent keeps its files. */
static void test_unsent_messages_are_kept(void **state)
{
    struct world *world = *state;
    world_deploy(world, ALERTS("one"), "auto");
    world_wait(world, 1, "serving");
    world_deploy(world, ALERTS("two"), "auto");
    world_wait(world, 2, "serving");
    world_refused(world, "drop", 1, json_object(), -KE_REFUSED,
                  "the messages of v1 are not all sent yet");
}

#define WORLD_TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_spans_meet_at_the_cut),
        WORLD_TEST(test_dead_version_stands_below_the_cut),
        WORLD_TEST(test_dead_version_whose_files_are_gone),
        WORLD_TEST(test_topics_that_change),
        WORLD_TEST(test_topic_made_again),
        WORLD_TEST(test_topic_made_again_and_longer),
        WORLD_TEST(test_sent_of_the_old_topic),
        WORLD_TEST(test_sent_is_told),
        WORLD_TEST(test_unsent_messages_are_kept),
    };
    (void)setenv("KAPPA_LOG", "error", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
