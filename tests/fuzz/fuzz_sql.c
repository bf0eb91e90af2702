/* Fuzz target: any bytes as a definition. plan_compile must refuse or compile, never crash, never run long;
 * what compiles must also evaluate: every program is run over a few rows of nulls, zeros and text.
 *
 * Built by clang-14 with -std=c11 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined from this file,
 * processor/{expr_,sql_}*.c, processor/functions.c, processor/plan.c and all of base; libraries: pg_query,
 * jansson, xxhash, m. Run with -max_len=4096 -dict=tests/fuzz/sql.dict and a corpus that holds examples. */
#include "processor/plan.h"

#include <string.h>

#define ROWS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Row 0 null, row 1 zero or empty, row 2 large. */
static void fill_inputs(struct expr_machine *machine)
{
    for (uint32_t r = 0; r < machine->program->input_count; r++) {
        struct expr_vec *vec = &machine->registers[r];
        vec->state[0] = EXPR_NULL;
        for (uint32_t i = 1; i < ROWS; i++) {
            vec->state[i] = EXPR_OK;
            if (vec->type == KAPPA_TYPE_TEXT) {
                vec->s[i] = i == 1 ? (struct kappa_text){"", 0} : (struct kappa_text){"click%", 6};
            } else if (vec->type == KAPPA_TYPE_DOUBLE) {
                vec->d[i] = i == 1 ? 0 : 1e308;
            } else if (vec->type == KAPPA_TYPE_BOOLEAN) {
                vec->i[i] = i == 1 ? 0 : 1;
            } else {
                vec->i[i] = i == 1 ? 0 : vec->type == KAPPA_TYPE_INTEGER ? INT32_MIN : INT64_MIN;
            }
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
