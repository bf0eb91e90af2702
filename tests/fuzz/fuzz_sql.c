/* Fuzz target: any bytes as a definition. plan_compile must refuse or compile, never crash, never run long;
 * what compiles must also evaluate: every program is run over a few rows of nulls, zeros and text. */
#include "processor/numeric.h"
#include "processor/plan.h"

#include <string.h>

#define ROWS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The largest or smallest of a type. */
static int64_t extreme(enum kappa_type type)
{
    switch ((unsigned)type) {
    case KAPPA_TYPE_BOOLEAN:
        return 1;
    case KAPPA_TYPE_SMALLINT:
        return INT16_MIN;
    case KAPPA_TYPE_INTEGER:
        return INT32_MIN;
    case KAPPA_TYPE_DATE:
        return 2145042905;
    default:
        return INT64_MIN;
    }
}

/* Row 0 null, row 1 zero or empty, row 2 large. Types whose bytes have a form of their own stay null. */
static void fill_inputs(struct expr_machine *machine)
{
    for (uint32_t r = 0; r < machine->program->input_count; r++) {
        struct expr_vec *vec = &machine->registers[r];
        bool formed = kappa_type_payload(vec->type) == KAPPA_PAYLOAD_BYTES &&
                      vec->type != KAPPA_TYPE_TEXT && vec->type != KAPPA_TYPE_BYTEA;
        for (uint32_t i = 0; i < ROWS; i++) {
            struct kappa_value value = {.type = vec->type, .is_null = formed || i == 0};
            if (kappa_type_payload(vec->type) == KAPPA_PAYLOAD_BYTES) {
                value.s = i == 1 ? (struct kappa_text){"", 0} : (struct kappa_text){"click%", 6};
            } else if (kappa_type_payload(vec->type) == KAPPA_PAYLOAD_DOUBLE) {
                value.d = i == 1 ? 0 : 1e38;
            } else if (vec->type == KAPPA_TYPE_NUMERIC) {
                value.n = i == 1 ? numeric_make(0, 0) : numeric_make(-INT64_MAX, 9);
            } else {
                value.i = i == 1 ? 0 : extreme(vec->type);
            }
            expr_set(vec, i, &value);
        }
    }
}

static void run_program(const struct expr_program *program)
{
    struct expr_machine machine;
    expr_machine_open(&machine, program, ROWS);
    fill_inputs(&machine);
    expr_run(&machine, ROWS);
    for (uint32_t r = 0; r < program->register_count; r++) {
        for (uint32_t i = 0; i < ROWS; i++) {
            enum expr_state state;
            struct kappa_value value = expr_value(&machine.registers[r], i, &state);
            if (value.type == KAPPA_TYPE_TEXT && state == EXPR_OK) {
                (void)hash_bytes(value.s.bytes, value.s.len);
            }
        }
    }
    expr_machine_close(&machine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan *plan = NULL;
    struct err err = {0};
    int rc = plan_compile("fuzz.sql", (const char *)data, size, &plan, &err);
    if (rc == 0) {
        for (uint32_t v = 0; v < plan->pipeline_count; v++) {
            run_program(&plan->views[v].row);
            run_program(&plan->views[v].final);
        }
        plan_free(plan);
    } else {
        ASSERT_CMP(rc, ==, -KE_SQL);
        ASSERT(err.text[0] != '\0');
    }
    return 0;
}
