/* Goal: no member of a plan is forgotten by plan_state_hash. Method: a list of the members of each struct
 * in plan.h, with what each one is. The compiler says when a list lacks a member (below: `complete`), and
 * members that are said to be stored, and not to be, are changed in plans, to see whether the hash does.
 *
 * So: whoever adds a member to plan.h is stopped here, says what it is, and where it decides stored bytes
 * puts it into plan_state.c. */
#include "processor/expr_step.h"
#include "processor/plan.h"
#include "tests/unit/processor/plan_of.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* A positional initializer that ends early is an error in this file, whatever the build says. */
#pragma GCC diagnostic error "-Wmissing-field-initializers"

enum what {
    STORED, /* a number: another one gives another hash, in some plan */
    TEXT,   /* a text: likewise */
    LOOKED, /* a part, a list or its length: what is inside has a list of its own, or is compared by
             * test_plan_state.c */
    READ,   /* a number that decides no stored byte: another one never gives another hash */
    LABEL   /* a text: likewise */
};

struct member {
    const char *of;
    const char *name;
    size_t offset;
    size_t size;
    enum what what;
    bool seen; /* changing it changed the hash of some plan */
    bool any;  /* there was one to change */
};

/* X(struct, member, what) in the order of plan.h; A: the same of an array. */
#define COLUMN(X, A)                                                                               \
    X(plan_column, name, TEXT)                                                                     \
    X(plan_column, type, STORED)                                                                   \
    X(plan_column, used, STORED)                                                                   \
    X(plan_column, hidden, STORED)                                                                 \
    X(plan_column, modifier, STORED)
#define META(X, A)                                                                                 \
    X(plan_meta, kind, STORED)                                                                     \
    X(plan_meta, column, STORED)                                                                   \
    X(plan_meta, header, TEXT)
#define CSV(X, A)                                                                                  \
    X(plan_csv, delimiter, STORED)                                                                 \
    X(plan_csv, quote, STORED)                                                                     \
    X(plan_csv, any_fields, STORED)                                                                \
    X(plan_csv, null, LOOKED)
#define RENAME(X, A)                                                                               \
    X(plan_rename, column, STORED)                                                                 \
    X(plan_rename, depth, LOOKED)                                                                  \
    A(plan_rename, path, LOOKED)
#define INPUT(X, A)                                                                                \
    X(plan_input, name, LABEL)                                                                     \
    X(plan_input, topic, TEXT)                                                                     \
    X(plan_input, format, STORED)                                                                  \
    X(plan_input, columns, LOOKED)                                                                 \
    X(plan_input, column_count, LOOKED)                                                            \
    X(plan_input, metas, LOOKED)                                                                   \
    X(plan_input, meta_count, LOOKED)                                                              \
    X(plan_input, csv, LOOKED)                                                                     \
    X(plan_input, avro_schema, TEXT)                                                               \
    X(plan_input, avro_file, LABEL)                                                                \
    X(plan_input, schema_registry, TEXT)                                                           \
    X(plan_input, keyed, STORED)                                                                   \
    X(plan_input, key_column, STORED)                                                              \
    X(plan_input, partitioner, STORED)                                                             \
    X(plan_input, tombstones, STORED)                                                              \
    X(plan_input, primary, LOOKED)                                                                 \
    X(plan_input, primary_count, LOOKED)                                                           \
    X(plan_input, renames, LOOKED)                                                                 \
    X(plan_input, rename_count, LOOKED)                                                            \
    X(plan_input, dead_limited, STORED)                                                            \
    X(plan_input, dead_share, STORED)                                                              \
    X(plan_input, dead_max, STORED)                                                                \
    X(plan_input, dead_ppm, STORED)                                                                \
    X(plan_input, event_time, STORED)                                                              \
    X(plan_input, watermark_us, STORED)                                                            \
    X(plan_input, marked, STORED)                                                                  \
    X(plan_input, lateness_us, STORED)                                                             \
    X(plan_input, history_us, STORED)                                                              \
    X(plan_input, late_kept, STORED)                                                               \
    X(plan_input, timestamp_unit_us_num, STORED)                                                   \
    X(plan_input, timestamp_unit_us_den, STORED)                                                   \
    X(plan_input, one_partition, READ)
#define ORDER(X, A)                                                                                \
    X(plan_order, reg, STORED)                                                                     \
    X(plan_order, descending, STORED)
#define TOP(X, A)                                                                                  \
    X(plan_top, limit, STORED)                                                                     \
    X(plan_top, order, LOOKED)                                                                     \
    X(plan_top, order_count, LOOKED)                                                               \
    X(plan_top, columns, LOOKED)                                                                   \
    X(plan_top, column_count, LOOKED)                                                              \
    X(plan_top, newest, STORED)
#define AGGREGATE(X, A)                                                                            \
    X(plan_aggregate, kind, STORED)                                                                \
    X(plan_aggregate, argument_type, STORED)                                                       \
    X(plan_aggregate, result_type, STORED)                                                         \
    X(plan_aggregate, argument, STORED)                                                            \
    X(plan_aggregate, filter, STORED)                                                              \
    X(plan_aggregate, by_type, STORED)                                                             \
    X(plan_aggregate, by, STORED)                                                                  \
    X(plan_aggregate, parameter, LOOKED)                                                           \
    X(plan_aggregate, top, LOOKED)
/* Of a view's final program; of rows that become messages only. */
#define OUTPUT(X, A)                                                                               \
    X(plan_output, name, TEXT)                                                                     \
    X(plan_output, type, STORED)                                                                   \
    X(plan_output, reg, STORED)                                                                    \
    X(plan_output, label, LABEL)                                                                   \
    X(plan_output, label_len, READ)
#define FRAME(X, A)                                                                                \
    X(plan_frame, rows, STORED)                                                                    \
    X(plan_frame, start, STORED)                                                                   \
    X(plan_frame, end, STORED)                                                                     \
    X(plan_frame, without_current, STORED)
#define OVER(X, A)                                                                                 \
    X(plan_over, kind, STORED)                                                                     \
    X(plan_over, out, STORED)                                                                      \
    X(plan_over, value, STORED)                                                                    \
    X(plan_over, otherwise, STORED)                                                                \
    X(plan_over, n, STORED)                                                                        \
    X(plan_over, frame, LOOKED)                                                                    \
    X(plan_over, aggregate, LOOKED)
#define OPERATOR(X, A)                                                                             \
    X(plan_operator, kind, STORED)                                                                 \
    X(plan_operator, table, STORED)                                                                \
    X(plan_operator, keys, LOOKED)                                                                 \
    X(plan_operator, key_count, LOOKED)                                                            \
    X(plan_operator, values, LOOKED)                                                               \
    X(plan_operator, value_count, LOOKED)                                                          \
    X(plan_operator, right_where, STORED)                                                          \
    X(plan_operator, right_keys, LOOKED)                                                           \
    X(plan_operator, outs, LOOKED)                                                                 \
    X(plan_operator, inner, STORED)                                                                \
    X(plan_operator, as_of, STORED)                                                                \
    X(plan_operator, before, STORED)                                                               \
    X(plan_operator, left_time, STORED)                                                            \
    X(plan_operator, right_time, STORED)                                                           \
    X(plan_operator, history_us, STORED)                                                           \
    X(plan_operator, by_time, STORED)                                                              \
    X(plan_operator, overs, LOOKED)                                                                \
    X(plan_operator, over_count, LOOKED)                                                           \
    X(plan_operator, keep_us, STORED)                                                              \
    X(plan_operator, keep_rows, STORED)
#define PHASE(X, A)                                                                                \
    X(plan_phase, step_end, STORED)                                                                \
    X(plan_phase, where, STORED)                                                                   \
    X(plan_phase, op, LOOKED)
#define TOPIC(X, A)                                                                                \
    X(plan_topic, name, LABEL)                                                                     \
    X(plan_topic, topic, TEXT)                                                                     \
    X(plan_topic, format, TEXT)                                                                    \
    X(plan_topic, columns, LOOKED)                                                                 \
    X(plan_topic, not_null, LOOKED)                                                                \
    X(plan_topic, column_count, LOOKED)                                                            \
    X(plan_topic, key, STORED)                                                                     \
    X(plan_topic, value, STORED)                                                                   \
    X(plan_topic, headers, LOOKED)                                                                 \
    X(plan_topic, header_count, LOOKED)                                                            \
    X(plan_topic, keep_headers, STORED)                                                            \
    X(plan_topic, time, STORED)                                                                    \
    X(plan_topic, marks, READ) /* these are the sender's, and not in the outbox */                 \
    X(plan_topic, idle_us, READ)
#define KEY(X, A)                                                                                  \
    X(plan_key, role, STORED)                                                                      \
    X(plan_key, name, LABEL)                                                                       \
    X(plan_key, type, STORED)                                                                      \
    X(plan_key, reg, STORED)                                                                       \
    X(plan_key, modifier, STORED)
#define SHAPE(X, A)                                                                                \
    X(kappa_table_shape, name, TEXT)                                                               \
    X(kappa_table_shape, windowed, STORED)                                                         \
    X(kappa_table_shape, history, STORED)                                                          \
    X(kappa_table_shape, idle, STORED)                                                             \
    X(kappa_table_shape, leaves, STORED)
#define VIEW(X, A)                                                                                 \
    X(plan_view, shape, LOOKED)                                                                    \
    X(plan_view, kind, STORED)                                                                     \
    X(plan_view, input, STORED)                                                                    \
    X(plan_view, rows, STORED)                                                                     \
    X(plan_view, numbered, STORED)                                                                 \
    X(plan_view, topic, STORED)                                                                    \
    X(plan_view, emits, STORED)                                                                    \
    X(plan_view, table, STORED)                                                                    \
    X(plan_view, topic_outputs, LOOKED)                                                            \
    X(plan_view, window, STORED)                                                                   \
    X(plan_view, window_us, STORED)                                                                \
    X(plan_view, slide_us, STORED)                                                                 \
    X(plan_view, pane_us, STORED)                                                                  \
    X(plan_view, window_offset_us, STORED)                                                         \
    X(plan_view, retain_us, STORED)                                                                \
    X(plan_view, ttl_us, STORED)                                                                   \
    X(plan_view, final_only, READ)                                                                 \
    X(plan_view, row, LOOKED)                                                                      \
    X(plan_view, phases, LOOKED)                                                                   \
    X(plan_view, phase_count, LOOKED)                                                              \
    X(plan_view, where, STORED)                                                                    \
    X(plan_view, keys, LOOKED)                                                                     \
    X(plan_view, key_count, LOOKED)                                                                \
    X(plan_view, aggregates, LOOKED)                                                               \
    X(plan_view, aggregate_count, LOOKED)                                                          \
    X(plan_view, top, LOOKED)                                                                      \
    X(plan_view, upsert, STORED)                                                                   \
    X(plan_view, final, LOOKED)                                                                    \
    X(plan_view, having, STORED)                                                                   \
    X(plan_view, outputs, LOOKED)                                                                  \
    X(plan_view, output_count, LOOKED)                                                             \
    X(plan_view, append_regs, LOOKED)                                                              \
    X(plan_view, append_count, LOOKED)
#define TABLE(X, A)                                                                                \
    X(plan_table, shape, LOOKED)                                                                   \
    X(plan_table, hidden, STORED)
/* Plugins and files come from outside: test_plan_state.c has what can be had without them. */
#define PLUGIN(X, A)                                                                               \
    X(plan_plugin, file, LOOKED)                                                                   \
    X(plan_plugin, input, LOOKED)                                                                  \
    X(plan_plugin, rows, LOOKED)                                                                   \
    X(plan_plugin, table, LOOKED)
#define FILES(X, A)                                                                                \
    X(plan_file, name, LOOKED)                                                                     \
    X(plan_file, hash, LOOKED)
#define PROGRAM(X, A)                                                                              \
    X(expr_program, steps, LOOKED)                                                                 \
    X(expr_program, step_count, LOOKED)                                                            \
    X(expr_program, constant_count, READ) /* it follows from the steps */                          \
    X(expr_program, input_count, STORED)                                                           \
    X(expr_program, register_count, LOOKED)                                                        \
    X(expr_program, types, LOOKED)
#define STEP(X, A)                                                                                 \
    X(expr_step, run, LOOKED)                                                                      \
    X(expr_step, args, LOOKED)                                                                     \
    X(expr_step, arg_count, LOOKED)                                                                \
    X(expr_step, out, STORED)                                                                      \
    X(expr_step, option, STORED)                                                                   \
    X(expr_step, constant, LOOKED)                                                                 \
    X(expr_step, prepared, LOOKED)
#define PLAN(X, A)                                                                                 \
    X(plan, memory, LOOKED)                                                                        \
    X(plan, text, LABEL)                                                                           \
    X(plan, hash, LOOKED) /* where a step holds a compiled pattern */                              \
    X(plan, settings, LOOKED)                                                                      \
    X(plan, setting_count, READ)                                                                   \
    X(plan, inputs, LOOKED)                                                                        \
    X(plan, input_count, LOOKED)                                                                   \
    X(plan, views, LOOKED)                                                                         \
    X(plan, view_count, STORED)                                                                    \
    X(plan, pipeline_count, LOOKED)                                                                \
    X(plan, topics, LOOKED)                                                                        \
    X(plan, topic_count, LOOKED)                                                                   \
    X(plan, plugins, LOOKED)                                                                       \
    X(plan, plugin_count, LOOKED)                                                                  \
    X(plan, files, LOOKED)                                                                         \
    X(plan, file_count, LOOKED)                                                                    \
    X(plan, tables, LOOKED)                                                                        \
    X(plan, table_count, LOOKED)                                                                   \
    X(plan, read_views, LOOKED)                                                                    \
    X(plan, read_view_count, READ)

#define ROW(type, member, what)                                                                    \
    {#type, #member, offsetof(struct type, member), sizeof((struct type *)0)->member, what,        \
     false, false},
#define TAKE(type, member, what)       one->member,
#define TAKE_FIRST(type, member, what) {one->member[0]},

/* LIST is all of its members: the initializer has one for each, or it does not compile. */
#define STRUCT(type, LIST)                                                                         \
    static struct member of_##type[] = {LIST(ROW, ROW)};                                           \
    static size_t complete_##type(const struct type *one)                                          \
    {                                                                                              \
        return sizeof((struct type){LIST(TAKE, TAKE_FIRST)}) + sizeof *one;                        \
    }

STRUCT(plan_column, COLUMN)
STRUCT(plan_meta, META)
STRUCT(plan_csv, CSV)
STRUCT(plan_rename, RENAME)
STRUCT(plan_input, INPUT)
STRUCT(plan_order, ORDER)
STRUCT(plan_top, TOP)
STRUCT(plan_aggregate, AGGREGATE)
STRUCT(plan_output, OUTPUT)
STRUCT(plan_frame, FRAME)
STRUCT(plan_over, OVER)
STRUCT(plan_operator, OPERATOR)
STRUCT(plan_phase, PHASE)
STRUCT(plan_topic, TOPIC)
STRUCT(plan_key, KEY)
STRUCT(kappa_table_shape, SHAPE)
STRUCT(plan_view, VIEW)
STRUCT(plan_table, TABLE)
STRUCT(plan_plugin, PLUGIN)
STRUCT(plan_file, FILES)
STRUCT(expr_program, PROGRAM)
STRUCT(expr_step, STEP)
STRUCT(plan, PLAN)

#define ALL(X)                                                                                     \
    X(plan_column)                                                                                 \
    X(plan_meta)                                                                                   \
    X(plan_csv)                                                                                    \
    X(plan_rename)                                                                                 \
    X(plan_input)                                                                                  \
    X(plan_order)                                                                                  \
    X(plan_top)                                                                                    \
    X(plan_aggregate)                                                                              \
    X(plan_output)                                                                                 \
    X(plan_frame)                                                                                  \
    X(plan_over)                                                                                   \
    X(plan_operator)                                                                               \
    X(plan_phase)                                                                                  \
    X(plan_topic)                                                                                  \
    X(plan_key)                                                                                    \
    X(kappa_table_shape)                                                                           \
    X(plan_view)                                                                                   \
    X(plan_table)                                                                                  \
    X(plan_plugin)                                                                                 \
    X(plan_file)                                                                                   \
    X(expr_program)                                                                                \
    X(expr_step)                                                                                   \
    X(plan)

/* ---- Changing them */

struct walk {
    const struct plan *plan;
    struct digest hash; /* as it is */
};

static void change(const struct walk *walk, struct member *member, const void *one)
{
    uint8_t *at = (uint8_t *)(uintptr_t)one + member->offset;
    uint8_t before[sizeof(void *)];
    const char *other = "another";
    if (member->what == LOOKED) {
        return;
    }
    assert_true(member->size <= sizeof before);
    memcpy(before, at, member->size);
    if (member->what == TEXT || member->what == LABEL) {
        memcpy(at, &other, sizeof other);
    } else {
        at[0] ^= 1U; /* of a bool the other one, of an enum or number its neighbour */
    }
    bool differs = !digest_equal(plan_state_hash(walk->plan), walk->hash);
    memcpy(at, before, member->size);
    member->any = true;
    member->seen = member->seen || differs;
    if (differs && (member->what == READ || member->what == LABEL)) {
        fail_msg("%s.%s decides no stored byte, and is in the hash", member->of, member->name);
    }
}

static void change_all(const struct walk *walk, struct member *members, size_t count,
                       const void *list, size_t size, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        for (size_t m = 0; m < count; m++) {
            change(walk, &members[m], (const char *)list + i * size);
        }
    }
}

#define CHANGE(type, list, len)                                                                    \
    change_all(walk, of_##type, array_len(of_##type), list, sizeof(struct type), len)

static void walk_program(const struct walk *walk, const struct expr_program *program)
{
    CHANGE(expr_program, program, 1);
    CHANGE(expr_step, program->steps, program->step_count);
}

static void walk_top(const struct walk *walk, const struct plan_top *top)
{
    if (top != NULL) {
        CHANGE(plan_top, top, 1);
        CHANGE(plan_order, top->order, top->order_count);
    }
}

static void walk_operator(const struct walk *walk, const struct plan_operator *op)
{
    if (op == NULL) {
        return;
    }
    CHANGE(plan_operator, op, 1);
    CHANGE(plan_over, op->overs, op->over_count);
    for (uint32_t i = 0; i < op->over_count; i++) {
        CHANGE(plan_frame, &op->overs[i].frame, 1);
        CHANGE(plan_aggregate, &op->overs[i].aggregate, 1);
    }
}

static void walk_view(const struct walk *walk, const struct plan_view *view)
{
    CHANGE(plan_view, view, 1);
    CHANGE(kappa_table_shape, &view->shape, 1);
    walk_program(walk, &view->row);
    CHANGE(plan_phase, view->phases, view->phase_count);
    for (uint32_t i = 0; i < view->phase_count; i++) {
        walk_operator(walk, view->phases[i].op);
    }
    CHANGE(plan_key, view->keys, view->key_count);
    CHANGE(plan_aggregate, view->aggregates, view->aggregate_count);
    walk_top(walk, view->top);
    for (uint32_t i = 0; i < view->aggregate_count; i++) {
        walk_top(walk, view->aggregates[i].top);
    }
    if (view->emits) {
        walk_program(walk, &view->final);
    }
    CHANGE(plan_output, view->outputs, view->output_count);
}

static void walk_plan(const char *sql)
{
    struct plan *plan = plan_of(sql);
    const struct walk all = {.plan = plan, .hash = plan_state_hash(plan)};
    const struct walk *walk = &all;
    CHANGE(plan, plan, 1);
    CHANGE(plan_input, plan->inputs, plan->input_count);
    for (uint32_t i = 0; i < plan->input_count; i++) {
        const struct plan_input *input = &plan->inputs[i];
        CHANGE(plan_column, input->columns, input->column_count);
        CHANGE(plan_meta, input->metas, input->meta_count);
        CHANGE(plan_csv, &input->csv, 1);
        CHANGE(plan_rename, input->renames, input->rename_count);
    }
    for (uint32_t i = 0; i < plan->pipeline_count; i++) {
        walk_view(walk, &plan->views[i]);
    }
    CHANGE(plan_topic, plan->topics, plan->topic_count);
    for (uint32_t i = 0; i < plan->topic_count; i++) {
        CHANGE(plan_column, plan->topics[i].columns, plan->topics[i].column_count);
    }
    CHANGE(plan_table, plan->tables, plan->table_count);
    for (uint32_t i = 0; i < plan->table_count; i++) {
        CHANGE(kappa_table_shape, &plan->tables[i].shape, 1);
    }
    assert_true(digest_equal(plan_state_hash(plan), all.hash));
    plan_free(plan);
}

/* ---- Plans that have all of it. Each has two topics to write: an index that is changed stays one. */

#define INPUTS                                                                                     \
    "CREATE TABLE t (k text, a bigint, d double precision, ts timestamptz, vf timestamptz) WITH "  \
    "(topic='in', event_time='ts', watermark='1 minute', key='k', rename='old=a');\n"
#define OUTS                                                                                       \
    "CREATE TABLE o1 (k text, n bigint) WITH (topic='o1', key='k', headers='n');\n"                \
    "CREATE TABLE o2 (k text, n bigint NOT NULL) WITH (topic='o2', key='k');\n"                    \
    "INSERT INTO o1 SELECT k, count(*) FROM tumble(t, ts, interval '1 minute') GROUP BY k, "       \
    "window_end HAVING count(*) > 1;\n"                                                            \
    "INSERT INTO o2 SELECT k, a FROM t;\n"

static const char *const plans[] = {
    INPUTS OUTS
    "CREATE MATERIALIZED VIEW v AS SELECT k, record_header('h') AS h, sum(a) FILTER (WHERE d > 1) "
    "AS s, topk(k, 3) AS top, max_by(a, d) AS m FROM t WHERE a <> 7 GROUP BY k, "
    "record_header('h');\n"
    "CREATE MATERIALIZED VIEW w WITH (emit='final') AS SELECT k, window_end, count(*) AS n FROM "
    "hop(t, ts, interval '1 minute', interval '5 minutes') GROUP BY k, window_end;\n",
    INPUTS OUTS
    "CREATE MATERIALIZED VIEW v AS SELECT k, a, lag(a, 2, 5) OVER (PARTITION BY k ORDER BY ts) AS "
    "l, sum(d) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS s "
    "FROM t;\n"
    "CREATE MATERIALIZED VIEW f AS SELECT * FROM (SELECT k, a, row_number() OVER (PARTITION BY k "
    "ORDER BY a DESC) AS n FROM t) x WHERE n <= 3;\n",
    "CREATE TABLE e (kind text, id bigint, ref bigint, t timestamptz, vf timestamptz) WITH "
    "(topic='e', format='csv');\n" INPUTS OUTS
    "CREATE MATERIALIZED VIEW j AS SELECT b.k, i.a FROM t b JOIN t i ON i.k = b.k AND i.vf <= "
    "b.ts WHERE b.d > 2;\n"
    "CREATE MATERIALIZED VIEW c AS SELECT kind, count(*) AS n FROM e GROUP BY kind;\n",
};

static void test_members(void **state)
{
    (void)state;
    for (size_t i = 0; i < array_len(plans); i++) {
        walk_plan(plans[i]);
    }
#define LIST(type) {of_##type, array_len(of_##type)},

    static const struct {
        struct member *members;
        size_t count;
    } lists[] = {ALL(LIST)};

    for (size_t i = 0; i < array_len(lists); i++) {
        for (size_t m = 0; m < lists[i].count; m++) {
            const struct member *member = &lists[i].members[m];
            if (member->what != LOOKED && !member->any) {
                fail_msg("no plan has a %s to change its %s", member->of, member->name);
            }
            if ((member->what == STORED || member->what == TEXT) && !member->seen) {
                fail_msg("%s.%s is not in the hash", member->of, member->name);
            }
        }
    }
}

/* Only so that they are compiled. */
static void test_complete(void **state)
{
    (void)state;
    size_t sum = 0;
#define COMPLETE(type) sum += complete_##type(NULL);
    ALL(COMPLETE)
    assert_true(sum > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
