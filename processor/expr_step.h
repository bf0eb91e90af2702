/* The inside of expressions: what a step is, and what evaluators share. For expr_*.c, functions.c and
 * sql_*.c, which name evaluators; everyone else uses expr.h.
 *
 * An evaluator fills one register from others for rows 0 .. n-1. It must give every row a state, and
 * a payload where the state is EXPR_OK; payloads of other rows hold anything, so a loop may compute
 * on them but may not follow a text pointer or trap. Evaluators are pure: equal operands give equal
 * results, whatever the other rows are. */
#ifndef KAPPA_PROCESSOR_EXPR_STEP_H
#define KAPPA_PROCESSOR_EXPR_STEP_H

#include "processor/expr.h"

struct expr_frame {
    struct expr_vec *registers;
    uint32_t n;          /* rows */
    struct arena *texts; /* texts made by steps live here */
};

typedef void (*expr_run_fn)(const struct expr_step *step, const struct expr_frame *frame);

struct expr_step {
    expr_run_fn run;
    const uint32_t *args; /* registers read */
    uint32_t arg_count;
    uint32_t out;                /* register written */
    int64_t option;              /* variant of the evaluator, 0 where it has none */
    struct kappa_value constant; /* expr_constant, expr_text_is: else of type NULL */
    const void *prepared;        /* a compiled pattern (expr_regex.h), else NULL */
};

static inline const struct expr_vec *expr_arg(const struct expr_step *step,
                                              const struct expr_frame *frame, uint32_t k)
{
    return &frame->registers[step->args[k]];
}

static inline struct expr_vec *expr_out(const struct expr_step *step,
                                        const struct expr_frame *frame)
{
    return &frame->registers[step->out];
}

/* Marks a row that was OK as failed; branch-free so that loops stay tight. */
static inline void expr_fail(uint8_t *state, bool failed, enum expr_state error)
{
    *state = (uint8_t)(*state | ((failed & (*state == EXPR_OK)) * (unsigned)error));
}

/* True if all n rows are EXPR_OK. */
bool expr_all_ok(const uint8_t *state, uint32_t n);
/* States of a strict step: leftmost error of the operands, else null if any is, else OK. Returns
 * true if all rows are OK. */
bool expr_strict(const struct expr_step *step, const struct expr_frame *frame);
/* Copies row i with its state. */
void expr_copy(struct expr_vec *out, const struct expr_vec *in, uint32_t i);

/* -1, 0, 1 in byte order; NaN is equal to itself and above all numbers. */
int expr_compare_text(struct kappa_text a, struct kappa_text b);
int expr_compare_double(double a, double b);
bool expr_same_text(struct kappa_text a, struct kappa_text b);
/* -1, 0, 1 of two values of one type, in the order of ORDER BY. */
int expr_compare_values(const struct kappa_value *a, const struct kappa_value *b);
/* Row i of two vectors of one type; both are EXPR_OK there. */
int expr_compare_rows(const struct expr_vec *a, const struct expr_vec *b, uint32_t i);

struct kappa_text expr_without_blanks(struct kappa_text text);
/* Text to value, strict as PostgreSQL's input functions; blanks around are allowed. EXPR_OK,
 * EXPR_ERROR_CAST or EXPR_ERROR_OVERFLOW. Of all types: value_cast.h. */
enum expr_state expr_parse_boolean(struct kappa_text text, int64_t *out);
enum expr_state expr_parse_smallint(struct kappa_text text, int64_t *out);
enum expr_state expr_parse_integer(struct kappa_text text, int64_t *out);
enum expr_state expr_parse_bigint(struct kappa_text text, int64_t *out);
enum expr_state expr_parse_double(struct kappa_text text, double *out);
/* The nearest binary32, as a double. */
enum expr_state expr_parse_real(struct kappa_text text, double *out);
/* Days since 1970; a time of day behind the date is ignored, as by PostgreSQL. */
enum expr_state expr_parse_date(struct kappa_text text, int64_t *out);
/* The time as written: an offset behind it is ignored, as by PostgreSQL. */
enum expr_state expr_parse_timestamp(struct kappa_text text, int64_t *out);
enum expr_state expr_parse_timestamptz(struct kappa_text text, int64_t *out);
/* "5 minutes", "-1 day 02:30:00". EXPR_ERROR_ARGUMENT for months and years, which have no fixed
 * length. */
enum expr_state expr_parse_interval(struct kappa_text text, int64_t *out);
/* Value to text, not NUL-terminated; the length is returned. out has so many bytes. A double becomes
 * the shortest decimal that reads back as it, a time 2026-01-31 12:00:00.5+00. */
#define EXPR_BIGINT_TEXT 20
#define EXPR_DOUBLE_TEXT 32
#define EXPR_TIME_TEXT   40
#define EXPR_VALUE_TEXT  48 /* any of these, and of numeric */
uint32_t expr_format_bigint(int64_t value, char *out);
uint32_t expr_format_double(double value, char *out);
uint32_t expr_format_real(double value, char *out);
uint32_t expr_format_date(int64_t days, char *out);
uint32_t expr_format_timestamp(int64_t us, char *out);
uint32_t expr_format_timestamptz(int64_t us, char *out);
/* "2 days 03:04:05.6": days of 24 hours, and the rest. */
uint32_t expr_format_interval(int64_t us, char *out);

/* Units of date_trunc and extract; false if there is no such unit, or not one of them. */
bool expr_trunc_unit_known(struct kappa_text unit);
bool expr_extract_unit_known(struct kappa_text unit);
/* False if a LIKE pattern ends in its escape character. */
bool expr_like_valid(struct kappa_text pattern, struct kappa_text escape);

/* ---- Evaluators outside functions.def, by file. */

/* expr_eval.c */
void expr_constant(const struct expr_step *step, const struct expr_frame *frame);
void expr_widen(const struct expr_step *step, const struct expr_frame *frame); /* same payload */

/* expr_logic.c: lazy operators choose between computed values */
void expr_and(const struct expr_step *step, const struct expr_frame *frame); /* any count */
void expr_or(const struct expr_step *step, const struct expr_frame *frame);
void expr_not(const struct expr_step *step, const struct expr_frame *frame);
void expr_is_null(const struct expr_step *step, const struct expr_frame *frame);
void expr_is_true(const struct expr_step *step, const struct expr_frame *frame);
void expr_is_false(const struct expr_step *step, const struct expr_frame *frame);
void expr_case(const struct expr_step *step,
               const struct expr_frame *frame); /* (when, then)*, else */
void expr_coalesce(const struct expr_step *step, const struct expr_frame *frame);
void expr_greatest(const struct expr_step *step, const struct expr_frame *frame);
void expr_least(const struct expr_step *step, const struct expr_frame *frame);
void expr_distinct(const struct expr_step *step, const struct expr_frame *frame);

/* expr_compare.c: by payload, in the order of enum expr_order. */
enum expr_order {
    EXPR_ORDER_EQ,
    EXPR_ORDER_NE,
    EXPR_ORDER_LT,
    EXPR_ORDER_LE,
    EXPR_ORDER_GT,
    EXPR_ORDER_GE,
    EXPR_ORDER_COUNT
};

extern const expr_run_fn expr_compare_run[KAPPA_PAYLOAD_COUNT][EXPR_ORDER_COUNT];
/* text = constant (option 0) or text <> constant (option 1): one operand, the other in `constant` */
void expr_text_is(const struct expr_step *step, const struct expr_frame *frame);

/* expr_like.c: (text, pattern, escape); an empty escape means none */
void expr_like(const struct expr_step *step, const struct expr_frame *frame);
void expr_ilike(const struct expr_step *step, const struct expr_frame *frame);

/* expr_cast.c */
void expr_integer_from_bigint(const struct expr_step *step, const struct expr_frame *frame);
void expr_integer_from_double(const struct expr_step *step, const struct expr_frame *frame);
void expr_bigint_from_double(const struct expr_step *step, const struct expr_frame *frame);
void expr_double_from_bigint(const struct expr_step *step, const struct expr_frame *frame);
void expr_boolean_from_integer(const struct expr_step *step, const struct expr_frame *frame);
void expr_boolean_from_text(const struct expr_step *step, const struct expr_frame *frame);
void expr_integer_from_text(const struct expr_step *step, const struct expr_frame *frame);
void expr_bigint_from_text(const struct expr_step *step, const struct expr_frame *frame);
void expr_double_from_text(const struct expr_step *step, const struct expr_frame *frame);
void expr_timestamptz_from_text(const struct expr_step *step, const struct expr_frame *frame);
void expr_interval_from_text(const struct expr_step *step, const struct expr_frame *frame);
void expr_text_from_boolean(const struct expr_step *step, const struct expr_frame *frame);
void expr_letter_from_boolean(const struct expr_step *step,
                              const struct expr_frame *frame); /* t, f */
void expr_text_from_bigint(const struct expr_step *step, const struct expr_frame *frame);
void expr_text_from_double(const struct expr_step *step, const struct expr_frame *frame);
void expr_text_from_timestamptz(const struct expr_step *step, const struct expr_frame *frame);
void expr_smallint_from_bigint(const struct expr_step *step, const struct expr_frame *frame);
void expr_smallint_from_double(const struct expr_step *step, const struct expr_frame *frame);
void expr_real_from_bigint(const struct expr_step *step, const struct expr_frame *frame);
void expr_real_from_double(const struct expr_step *step, const struct expr_frame *frame);
/* Of any type, which is the option: value_cast.h */
void expr_value_from_text(const struct expr_step *step, const struct expr_frame *frame);
void expr_text_from_value(const struct expr_step *step, const struct expr_frame *frame);

/* expr_numeric.c */
void expr_numeric_from_bigint(const struct expr_step *step, const struct expr_frame *frame);
void expr_numeric_from_double(const struct expr_step *step, const struct expr_frame *frame);
void expr_numeric_from_real(const struct expr_step *step, const struct expr_frame *frame);
void expr_smallint_from_numeric(const struct expr_step *step, const struct expr_frame *frame);
void expr_integer_from_numeric(const struct expr_step *step, const struct expr_frame *frame);
void expr_bigint_from_numeric(const struct expr_step *step, const struct expr_frame *frame);
void expr_double_from_numeric(const struct expr_step *step, const struct expr_frame *frame);
void expr_real_from_numeric(const struct expr_step *step, const struct expr_frame *frame);
/* numeric(precision, scale), which is the option: precision << 8 | scale; 0 for plain numeric. */
void expr_numeric_modify(const struct expr_step *step, const struct expr_frame *frame);
enum expr_state expr_numeric_fit(struct kappa_numeric value, int64_t modifier,
                                 struct kappa_numeric *out);

/* expr_array.c */
void expr_array(const struct expr_step *step, const struct expr_frame *frame);
void expr_array_element(const struct expr_step *step, const struct expr_frame *frame);
/* (scalar, array); the option is an enum expr_order. */
void expr_array_any(const struct expr_step *step, const struct expr_frame *frame);
void expr_array_all(const struct expr_step *step, const struct expr_frame *frame);

/* expr_jsonb.c */
void expr_numeric_from_jsonb(const struct expr_step *step, const struct expr_frame *frame);
void expr_double_from_jsonb(const struct expr_step *step, const struct expr_frame *frame);
void expr_boolean_from_jsonb(const struct expr_step *step, const struct expr_frame *frame);

/* expr_date.c */
void expr_timestamp_from_date(const struct expr_step *step, const struct expr_frame *frame);
bool expr_time_zone_known(struct kappa_text zone);
void expr_date_from_timestamp(const struct expr_step *step, const struct expr_frame *frame);

#endif
