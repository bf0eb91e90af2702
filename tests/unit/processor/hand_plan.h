/* A plan made by hand, so that the tests of the processor stand without the SQL front end: row
 * programs have no steps, their registers are the decoded columns.
 *
 *     events(usr text, n bigint, i integer, amount double, p text, ok boolean, keep boolean, at
 *            timestamptz), event time `at`, watermark 3 s
 *     per_user    per window of 10 s (2 s offset) and user: every aggregate, WHERE keep, retained
 *     20 s per_number  per i and ok, without windows
 *     kept        an append table: usr, amount, at WHERE ok
 *     all_windows per window of 7 s only, never expired
 *     per_hop     per window of 12 s every 5 s and user, WHERE keep, retained 15 s
 *     per_session per user and session with a gap of 6 s, retained 25 s
 *     per_recent  per user, gone 9 s after the user's last event */
#ifndef KAPPA_TESTS_HAND_PLAN_H
#define KAPPA_TESTS_HAND_PLAN_H

#include "base/base.h"
#include "processor/plan.h"

#include <string.h>

enum hand_column {
    H_USR,
    H_N,
    H_I,
    H_AMOUNT,
    H_P,
    H_OK,
    H_KEEP,
    H_AT,
    H_COLUMNS,
    H_START = H_COLUMNS,
    H_END
};

enum hand_view { V_USER, V_NUMBER, V_KEPT, V_WINDOWS, V_HOP, V_SESSION, V_TTL, V_COUNT };

#define HAND_WATERMARK_US INT64_C(3000000)

static const struct plan_column hand_columns[H_COLUMNS] = {
    {"usr", KAPPA_TYPE_TEXT, true, false, 0},     {"n", KAPPA_TYPE_BIGINT, true, false, 0},
    {"i", KAPPA_TYPE_INTEGER, true, false, 0},    {"amount", KAPPA_TYPE_DOUBLE, true, false, 0},
    {"p", KAPPA_TYPE_TEXT, true, false, 0},       {"ok", KAPPA_TYPE_BOOLEAN, true, false, 0},
    {"keep", KAPPA_TYPE_BOOLEAN, true, false, 0}, {"at", KAPPA_TYPE_TIMESTAMPTZ, true, false, 0},
};

static const struct plan_input hand_input = {
    .name = "events",
    .topic = "events",
    .format = PLAN_FORMAT_JSON,
    .columns = hand_columns,
    .column_count = H_COLUMNS,
    .event_time = H_AT,
    .watermark_us = HAND_WATERMARK_US,
    .timestamp_unit_us_num = 1000,
    .timestamp_unit_us_den = 1,
};

#define AGG(agg_kind, type, result, reg, condition)                                                \
    {                                                                                              \
        .kind = (agg_kind), .argument_type = (type), .result_type = (result), .argument = (reg),   \
        .filter = (condition)                                                                      \
    }

static const struct plan_aggregate hand_user_aggregates[] = {
    AGG(PLAN_COUNT_ROWS, KAPPA_TYPE_NULL, KAPPA_TYPE_BIGINT, PLAN_NONE, PLAN_NONE),
    AGG(PLAN_COUNT_ROWS, KAPPA_TYPE_NULL, KAPPA_TYPE_BIGINT, PLAN_NONE, H_OK),
    AGG(PLAN_COUNT, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_BIGINT, H_AMOUNT, PLAN_NONE),
    AGG(PLAN_COUNT_DISTINCT, KAPPA_TYPE_TEXT, KAPPA_TYPE_BIGINT, H_P, PLAN_NONE),
    AGG(PLAN_COUNT_DISTINCT, KAPPA_TYPE_BIGINT, KAPPA_TYPE_BIGINT, H_N, H_OK),
    AGG(PLAN_COUNT_DISTINCT, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_BIGINT, H_AMOUNT, PLAN_NONE),
    AGG(PLAN_SUM, KAPPA_TYPE_BIGINT, KAPPA_TYPE_BIGINT, H_N, H_OK),
    AGG(PLAN_SUM, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, H_AMOUNT, PLAN_NONE),
    AGG(PLAN_AVG, KAPPA_TYPE_INTEGER, KAPPA_TYPE_DOUBLE, H_I, PLAN_NONE),
    AGG(PLAN_AVG, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, H_AMOUNT, H_OK),
    AGG(PLAN_MIN, KAPPA_TYPE_TEXT, KAPPA_TYPE_TEXT, H_P, PLAN_NONE),
    AGG(PLAN_MAX, KAPPA_TYPE_TEXT, KAPPA_TYPE_TEXT, H_P, H_OK),
    AGG(PLAN_MIN, KAPPA_TYPE_BIGINT, KAPPA_TYPE_BIGINT, H_N, PLAN_NONE),
    AGG(PLAN_MAX, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, H_AMOUNT, PLAN_NONE),
    AGG(PLAN_MAX, KAPPA_TYPE_TIMESTAMPTZ, KAPPA_TYPE_TIMESTAMPTZ, H_AT, PLAN_NONE),
    AGG(PLAN_MIN, KAPPA_TYPE_BOOLEAN, KAPPA_TYPE_BOOLEAN, H_OK, PLAN_NONE),
};

static const struct plan_aggregate hand_number_aggregates[] = {
    AGG(PLAN_COUNT_ROWS, KAPPA_TYPE_NULL, KAPPA_TYPE_BIGINT, PLAN_NONE, PLAN_NONE),
    AGG(PLAN_COUNT_DISTINCT, KAPPA_TYPE_TEXT, KAPPA_TYPE_BIGINT, H_USR, PLAN_NONE),
    AGG(PLAN_SUM, KAPPA_TYPE_DOUBLE, KAPPA_TYPE_DOUBLE, H_AMOUNT, PLAN_NONE),
};

static const struct plan_aggregate hand_windows_aggregates[] = {
    AGG(PLAN_COUNT_ROWS, KAPPA_TYPE_NULL, KAPPA_TYPE_BIGINT, PLAN_NONE, PLAN_NONE),
    AGG(PLAN_MIN, KAPPA_TYPE_TEXT, KAPPA_TYPE_TEXT, H_USR, PLAN_NONE),
};

/* Whatever the order of merging, the result is the same. */
static const struct plan_aggregate hand_exact_aggregates[] = {
    AGG(PLAN_COUNT_ROWS, KAPPA_TYPE_NULL, KAPPA_TYPE_BIGINT, PLAN_NONE, PLAN_NONE),
    AGG(PLAN_COUNT_DISTINCT, KAPPA_TYPE_TEXT, KAPPA_TYPE_BIGINT, H_P, PLAN_NONE),
    AGG(PLAN_SUM, KAPPA_TYPE_INTEGER, KAPPA_TYPE_BIGINT, H_I, H_OK),
    AGG(PLAN_MIN, KAPPA_TYPE_TEXT, KAPPA_TYPE_TEXT, H_P, PLAN_NONE),
    AGG(PLAN_MAX, KAPPA_TYPE_TIMESTAMPTZ, KAPPA_TYPE_TIMESTAMPTZ, H_AT, PLAN_NONE),
};

static const struct plan_key hand_hop_keys[] = {
    {.role = PLAN_KEY_COLUMN, .name = "usr", .type = KAPPA_TYPE_TEXT, .reg = H_USR},
    {.role = PLAN_KEY_WINDOW_END,
     .name = "window_end",
     .type = KAPPA_TYPE_TIMESTAMPTZ,
     .reg = PLAN_NONE},
};

static const struct plan_key hand_session_keys[] = {
    {.role = PLAN_KEY_WINDOW_START,
     .name = "window_start",
     .type = KAPPA_TYPE_TIMESTAMPTZ,
     .reg = PLAN_NONE},
    {.role = PLAN_KEY_WINDOW_END,
     .name = "window_end",
     .type = KAPPA_TYPE_TIMESTAMPTZ,
     .reg = PLAN_NONE},
    {.role = PLAN_KEY_COLUMN, .name = "usr", .type = KAPPA_TYPE_TEXT, .reg = H_USR},
};

static const struct plan_key hand_recent_keys[] = {
    {.role = PLAN_KEY_COLUMN, .name = "usr", .type = KAPPA_TYPE_TEXT, .reg = H_USR},
};

static const struct plan_key hand_user_keys[] = {
    {PLAN_KEY_WINDOW_START, "window_start", KAPPA_TYPE_TIMESTAMPTZ, PLAN_NONE, 0},
    {PLAN_KEY_COLUMN, "usr", KAPPA_TYPE_TEXT, H_USR, 0},
};

static const struct plan_key hand_number_keys[] = {
    {PLAN_KEY_COLUMN, "i", KAPPA_TYPE_INTEGER, H_I, 0},
    {PLAN_KEY_COLUMN, "ok", KAPPA_TYPE_BOOLEAN, H_OK, 0},
};

static const struct plan_key hand_windows_keys[] = {
    {PLAN_KEY_WINDOW_END, "window_end", KAPPA_TYPE_TIMESTAMPTZ, PLAN_NONE, 0},
};

static const uint32_t hand_append_regs[] = {H_USR, H_AMOUNT, H_AT};

struct hand_plan {
    struct plan plan;
    struct plan_input input;
    struct plan_view views[V_COUNT];
    struct plan_output outputs[V_COUNT][32];
    enum kappa_type row_types[H_COLUMNS + 2];
    enum kappa_type final_types[V_COUNT][32];
};

/* Row program without steps; final program that gives out its inputs. */
static inline void hand_programs(struct hand_plan *hand, uint32_t v)
{
    struct plan_view *view = &hand->views[v];
    uint32_t columns = H_COLUMNS + 2;
    view->row = (struct expr_program){
        .input_count = columns, .register_count = columns, .types = hand->row_types};
    uint32_t n = 0;
    for (uint32_t k = 0; k < view->key_count; k++) {
        hand->outputs[v][n] =
            (struct plan_output){.name = view->keys[k].name, .type = view->keys[k].type, .reg = n};
        hand->final_types[v][n++] = view->keys[k].type;
    }
    for (uint32_t a = 0; a < view->aggregate_count; a++) {
        enum kappa_type type = view->aggregates[a].result_type;
        hand->outputs[v][n] = (struct plan_output){.name = "aggregate", .type = type, .reg = n};
        hand->final_types[v][n++] = type;
    }
    for (uint32_t c = 0; c < view->append_count; c++) {
        const struct plan_column *column = &hand_columns[view->append_regs[c]];
        hand->outputs[v][n] =
            (struct plan_output){.name = column->name, .type = column->type, .reg = n};
        hand->final_types[v][n++] = column->type;
    }
    view->final =
        (struct expr_program){.input_count = n, .register_count = n, .types = hand->final_types[v]};
    view->having = PLAN_NONE;
    view->outputs = hand->outputs[v];
    view->output_count = n;
}

static inline void hand_windows(struct hand_plan *hand)
{
    hand->views[V_HOP] = (struct plan_view){.shape = {.name = "per_hop", .windowed = true},
                                            .kind = PLAN_GROUP,
                                            .window = PLAN_WINDOW_HOP,
                                            .window_us = 12000000,
                                            .slide_us = 5000000,
                                            .pane_us = 1000000,
                                            .window_offset_us = 1000000,
                                            .retain_us = 15000000,
                                            .where = H_KEEP,
                                            .keys = hand_hop_keys,
                                            .key_count = array_len(hand_hop_keys),
                                            .aggregates = hand_exact_aggregates,
                                            .aggregate_count = array_len(hand_exact_aggregates)};
    hand->views[V_SESSION] =
        (struct plan_view){.shape = {.name = "per_session", .windowed = true, .history = true},
                           .kind = PLAN_GROUP,
                           .window = PLAN_WINDOW_SESSION,
                           .window_us = 6000000,
                           .retain_us = 25000000,
                           .where = PLAN_NONE,
                           .keys = hand_session_keys,
                           .key_count = array_len(hand_session_keys),
                           .aggregates = hand_exact_aggregates,
                           .aggregate_count = array_len(hand_exact_aggregates)};
    hand->views[V_TTL] = (struct plan_view){.shape = {.name = "per_recent", .idle = true},
                                            .kind = PLAN_GROUP,
                                            .retain_us = INT64_MAX,
                                            .ttl_us = 9000000,
                                            .where = H_KEEP,
                                            .keys = hand_recent_keys,
                                            .key_count = array_len(hand_recent_keys),
                                            .aggregates = hand_exact_aggregates,
                                            .aggregate_count = array_len(hand_exact_aggregates)};
}

static inline void hand_plan_init(struct hand_plan *hand)
{
    memset(hand, 0, sizeof *hand);
    for (uint32_t c = 0; c < H_COLUMNS; c++) {
        hand->row_types[c] = hand_columns[c].type;
    }
    hand->row_types[H_START] = KAPPA_TYPE_TIMESTAMPTZ;
    hand->row_types[H_END] = KAPPA_TYPE_TIMESTAMPTZ;
    hand->views[V_USER] = (struct plan_view){.shape = {.name = "per_user", .windowed = true},
                                             .kind = PLAN_GROUP,
                                             .window = PLAN_WINDOW_TUMBLE,
                                             .window_us = 10000000,
                                             .slide_us = 10000000,
                                             .pane_us = 10000000,
                                             .window_offset_us = 2000000,
                                             .retain_us = 20000000,
                                             .where = H_KEEP,
                                             .keys = hand_user_keys,
                                             .key_count = array_len(hand_user_keys),
                                             .aggregates = hand_user_aggregates,
                                             .aggregate_count = array_len(hand_user_aggregates)};
    hand->views[V_NUMBER] =
        (struct plan_view){.shape = {.name = "per_number"},
                           .kind = PLAN_GROUP,
                           .retain_us = INT64_MAX,
                           .where = PLAN_NONE,
                           .keys = hand_number_keys,
                           .key_count = array_len(hand_number_keys),
                           .aggregates = hand_number_aggregates,
                           .aggregate_count = array_len(hand_number_aggregates)};
    hand->views[V_KEPT] = (struct plan_view){.shape = {.name = "kept"},
                                             .kind = PLAN_APPEND,
                                             .retain_us = INT64_MAX,
                                             .where = H_OK,
                                             .append_regs = hand_append_regs,
                                             .append_count = array_len(hand_append_regs)};
    hand->views[V_WINDOWS] =
        (struct plan_view){.shape = {.name = "all_windows", .windowed = true},
                           .kind = PLAN_GROUP,
                           .window = PLAN_WINDOW_TUMBLE,
                           .window_us = 7000000,
                           .slide_us = 7000000,
                           .pane_us = 7000000,
                           .retain_us = INT64_MAX,
                           .where = PLAN_NONE,
                           .keys = hand_windows_keys,
                           .key_count = array_len(hand_windows_keys),
                           .aggregates = hand_windows_aggregates,
                           .aggregate_count = array_len(hand_windows_aggregates)};
    hand_windows(hand);
    for (uint32_t v = 0; v < V_COUNT; v++) {
        hand_programs(hand, v);
    }
    hand->input = hand_input;
    hand->plan.inputs = &hand->input;
    hand->plan.input_count = 1;
    hand->plan.views = hand->views;
    hand->plan.view_count = V_COUNT;
    hand->plan.pipeline_count = V_COUNT;
}

#endif
