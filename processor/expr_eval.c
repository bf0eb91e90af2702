/* The machine: registers of one thread, and the loop over steps. Own header: expr.h.
 *
 * Steps that depend on no input run once, at open, for all rows the machine can hold; their texts live
 * as long as the machine. The others run at each expr_run; their texts live until the next one. */
#include "processor/expr_step.h"

#include <string.h>

const char *expr_error_text(enum expr_state state)
{
    static const char *const texts[EXPR_STATE_COUNT] = {
        [EXPR_OK] = "no error",
        [EXPR_NULL] = "null",
        [EXPR_ERROR_DIVISION] = "division by zero",
        [EXPR_ERROR_OVERFLOW] = "value out of the range of its type",
        [EXPR_ERROR_CAST] = "text is not a value of the type",
        [EXPR_ERROR_LIMIT] = "value longer than allowed",
        [EXPR_ERROR_TYPE] = "the JSON value has another type than the column",
        [EXPR_ERROR_FULL] =
            "more values in one group than an exact aggregate keeps (4 MiB, less beside others of "
            "its "
            "kind): group by more columns, or use approx_count_distinct or approx_percentile",
        [EXPR_ERROR_ARGUMENT] = "a function does not take this value",
        [EXPR_ERROR_EFFORT] = "matching the pattern takes too many steps",
    };

    ASSERT_CMP((unsigned)state, <, EXPR_STATE_COUNT);
    return texts[state];
}

size_t expr_payload_size(enum kappa_type type)
{
    static const size_t sizes[KAPPA_PAYLOAD_COUNT] = {
        [KAPPA_PAYLOAD_INT] = sizeof(int64_t),
        [KAPPA_PAYLOAD_DOUBLE] = sizeof(double),
        [KAPPA_PAYLOAD_BYTES] = sizeof(struct kappa_text),
        [KAPPA_PAYLOAD_NUMERIC] = sizeof(struct kappa_numeric),
    };

    return sizes[kappa_type_payload(type)];
}

void expr_machine_open(struct expr_machine *machine, const struct expr_program *program,
                       uint32_t capacity)
{
    ASSERT_CMP(program->constant_count, <=, program->step_count);
    ASSERT_CMP(program->input_count, <=, program->register_count);
    memset(machine, 0, sizeof *machine);
    machine->program = program;
    machine->capacity = capacity;
    arena_init(&machine->memory);
    arena_init(&machine->scratch);
    machine->registers =
        arena_calloc(&machine->memory, sizeof *machine->registers * (program->register_count + 1));
    for (uint32_t r = 0; r < program->register_count; r++) {
        struct expr_vec *vec = &machine->registers[r];
        vec->type = program->types[r];
        vec->state = arena_calloc(&machine->memory, capacity);
        vec->i = arena_calloc(&machine->memory, expr_payload_size(vec->type) * capacity);
    }
    struct expr_frame frame = {machine->registers, capacity, &machine->memory};
    for (uint32_t i = 0; i < program->constant_count; i++) {
        program->steps[i].run(&program->steps[i], &frame);
    }
}

void expr_begin(struct expr_machine *machine)
{
    arena_reset(&machine->scratch);
}

void expr_run_steps(struct expr_machine *machine, uint32_t first, uint32_t end, uint32_t n)
{
    ASSERT_CMP(n, <=, machine->capacity);
    ASSERT_CMP(end, <=, machine->program->step_count);
    struct expr_frame frame = {machine->registers, n, &machine->scratch};
    for (uint32_t i = first; i < end; i++) {
        machine->program->steps[i].run(&machine->program->steps[i], &frame);
    }
}

void expr_run(struct expr_machine *machine, uint32_t n)
{
    expr_begin(machine);
    expr_run_steps(machine, machine->program->constant_count, machine->program->step_count, n);
}

void expr_machine_close(struct expr_machine *machine)
{
    arena_free(&machine->memory);
    arena_free(&machine->scratch);
    memset(machine, 0, sizeof *machine);
}

struct kappa_value expr_value(const struct expr_vec *vec, uint32_t row, enum expr_state *state)
{
    struct kappa_value value = {.type = vec->type};
    *state = (enum expr_state)vec->state[row];
    ASSERT_CMP((unsigned)*state, <, EXPR_STATE_COUNT);
    value.is_null = *state != EXPR_OK;
    if (value.is_null) {
        value.s = (struct kappa_text){"", 0};
        return value;
    }
    switch (kappa_type_payload(vec->type)) {
    case KAPPA_PAYLOAD_BYTES:
        value.s = vec->s[row];
        break;
    case KAPPA_PAYLOAD_DOUBLE:
        value.d = vec->d[row];
        break;
    case KAPPA_PAYLOAD_NUMERIC:
        value.n = vec->n[row];
        break;
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        value.i = vec->i[row];
        break;
    }
    return value;
}

void expr_set(struct expr_vec *vec, uint32_t row, const struct kappa_value *value)
{
    vec->state[row] = value->is_null ? EXPR_NULL : EXPR_OK;
    if (value->is_null) {
        return;
    }
    switch (kappa_type_payload(vec->type)) {
    case KAPPA_PAYLOAD_BYTES:
        vec->s[row] = value->s;
        break;
    case KAPPA_PAYLOAD_DOUBLE:
        vec->d[row] = value->d;
        break;
    case KAPPA_PAYLOAD_NUMERIC:
        vec->n[row] = value->n;
        break;
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        vec->i[row] = value->i;
        break;
    }
}

bool expr_all_ok(const uint8_t *state, uint32_t n)
{
    unsigned any = 0;
    for (uint32_t i = 0; i < n; i++) {
        any |= state[i];
    }
    return any == EXPR_OK;
}

/* acc becomes the state of a strict step over acc and next. */
static void states_join(uint8_t *restrict acc, const uint8_t *restrict next, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint8_t worse = acc[i] > next[i] ? acc[i] : next[i]; /* OK < null < errors */
        acc[i] = acc[i] >= EXPR_ERROR_FIRST ? acc[i] : worse;
    }
}

bool expr_strict(const struct expr_step *step, const struct expr_frame *frame)
{
    uint8_t *state = expr_out(step, frame)->state;
    uint32_t n = frame->n;
    memcpy(state, expr_arg(step, frame, 0)->state, n);
    for (uint32_t k = 1; k < step->arg_count; k++) {
        states_join(state, expr_arg(step, frame, k)->state, n);
    }
    return expr_all_ok(state, n);
}

void expr_copy(struct expr_vec *out, const struct expr_vec *in, uint32_t i)
{
    out->state[i] = in->state[i];
    switch (kappa_type_payload(out->type)) {
    case KAPPA_PAYLOAD_BYTES:
        out->s[i] = in->s[i];
        break;
    case KAPPA_PAYLOAD_DOUBLE:
        out->d[i] = in->d[i];
        break;
    case KAPPA_PAYLOAD_NUMERIC:
        out->n[i] = in->n[i];
        break;
    case KAPPA_PAYLOAD_INT:
    case KAPPA_PAYLOAD_COUNT:
        out->i[i] = in->i[i];
        break;
    }
}

void expr_constant(const struct expr_step *step, const struct expr_frame *frame)
{
    struct expr_vec *out = expr_out(step, frame);
    const struct kappa_value *value = &step->constant;
    for (uint32_t i = 0; i < frame->n; i++) {
        expr_set(out, i, value);
    }
}

void expr_widen(const struct expr_step *step, const struct expr_frame *frame)
{
    (void)expr_strict(step, frame);
    memcpy(expr_out(step, frame)->i, expr_arg(step, frame, 0)->i, sizeof(int64_t) * frame->n);
}
