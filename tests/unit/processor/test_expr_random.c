/* Goal: any expression over any values has the value PostgreSQL's rules give it.
 *
 * Method: seeded random expressions of all types over rows with nulls, errors and extreme numbers. Each goes
 * as SQL through the compiler and the machine, several a plan so that they share steps, and is compared
 * with a naive interpreter of the same tree, errors included. Those that sqlite understands the
 * same way are also compared with the sqlite3 program, where our result is no error: sqlite has no errors
 * but nulls and floats instead. */
#include "tests/unit/processor/expr_model.h"

// NOLINTBEGIN(misc-no-recursion): random trees are at most 6 deep, patterns a few characters long

/* ---- The naive interpreter. */

static struct model_value eval(struct model *model, const struct model_node *node, uint32_t row);

static struct model_value of_state(enum expr_state state)
{
    return (struct model_value){.state = state, .s = ""};
}

static struct model_value of_bool(bool value)
{
    return (struct model_value){.state = EXPR_OK, .i = value, .s = ""};
}

static int compare(enum kappa_type type, const struct model_value *a, const struct model_value *b)
{
    if (type == KAPPA_TYPE_TEXT) {
        int order = strcmp(a->s, b->s);
        return (order > 0) - (order < 0);
    }
    if (type == KAPPA_TYPE_DOUBLE) {
        return (a->d > b->d) - (a->d < b->d);
    }
    return (a->i > b->i) - (a->i < b->i);
}

static struct model_value whole(enum kappa_type type, int128 value)
{
    bool fits = type == KAPPA_TYPE_INTEGER ? value >= INT32_MIN && value <= INT32_MAX
                                           : value >= INT64_MIN && value <= INT64_MAX;
    return fits ? (struct model_value){.state = EXPR_OK, .i = (int64_t)value}
                : of_state(EXPR_ERROR_OVERFLOW);
}

static struct model_value whole_arithmetic(const struct model_node *node, int128 a, int128 b)
{
    switch ((int)node->op) {
    case OP_ADD:
        return whole(node->type, a + b);
    case OP_SUBTRACT:
        return whole(node->type, a - b);
    case OP_MULTIPLY:
        return whole(node->type, a * b);
    case OP_DIVIDE:
        return b == 0 ? of_state(EXPR_ERROR_DIVISION) : whole(node->type, a / b);
    case OP_MODULO:
        return b == 0 ? of_state(EXPR_ERROR_DIVISION) : whole(node->type, a % b);
    case OP_NEGATE:
        return whole(node->type, -a);
    default:
        return whole(node->type, a < 0 ? -a : a);
    }
}

static struct model_value double_arithmetic(const struct model_node *node, double a, double b)
{
    double r = 0;
    bool zero_ok = true;
    switch ((int)node->op) {
    case OP_ADD:
        r = a + b;
        break;
    case OP_SUBTRACT:
        r = a - b;
        break;
    case OP_MULTIPLY:
        r = a * b;
        zero_ok = a == 0 || b == 0;
        break;
    case OP_DIVIDE:
        if (b == 0) {
            return of_state(EXPR_ERROR_DIVISION);
        }
        r = a / b;
        zero_ok = a == 0;
        break;
    case OP_NEGATE:
        r = -a;
        break;
    default:
        r = fabs(a);
        break;
    }
    if (isinf(r) || (r == 0 && !zero_ok)) {
        return of_state(EXPR_ERROR_OVERFLOW);
    }
    return (struct model_value){.state = EXPR_OK, .d = r};
}

/* By recursion over both texts, the way the manual words it. */
static bool like(const char *text, const char *pattern)
{
    if (*pattern == '\0') {
        return *text == '\0';
    }
    if (*pattern == '%') {
        return like(text, pattern + 1) || (*text != '\0' && like(text + 1, pattern));
    }
    if (*text == '\0') {
        return false;
    }
    if (*pattern == '_') {
        text++;
        while (((unsigned char)*text & 0xC0) == 0x80) {
            text++;
        }
        return like(text, pattern + 1);
    }
    return *text == *pattern && like(text + 1, pattern + 1);
}

static char *characters(struct model *model, const char *text, int first, int count)
{
    char *out = arena_calloc(&model->arena, strlen(text) + 1);
    size_t len = 0;
    int index = 0;
    for (const char *c = text; *c != '\0'; c++) {
        index += ((unsigned char)*c & 0xC0) != 0x80;
        if (index >= first && index < first + count) {
            out[len++] = *c;
        }
    }
    return out;
}

static struct model_value text_function(struct model *model, const struct model_node *node,
                                        const struct model_value *v)
{
    struct model_value value = of_state(EXPR_OK);
    if (node->op == OP_CONCAT) {
        value.s = arena_printf(&model->arena, "%s%s", v[0].s, v[1].s);
    } else if (node->op == OP_SUBSTR) {
        value.s = characters(model, v[0].s, node->a, node->b);
    } else if (node->op == OP_CAST) {
        value.s = arena_printf(&model->arena, "%lld", (long long)v[0].i);
    } else {
        char *text = arena_strdup(&model->arena, v[0].s);
        for (char *c = text; *c != '\0'; c++) {
            if (isascii((unsigned char)*c)) {
                *c = (char)(node->op == OP_LOWER ? tolower(*c) : toupper(*c));
            }
        }
        value.s = text;
    }
    return value;
}

static struct model_value strict(struct model *model, const struct model_node *node,
                                 const struct model_value *v)
{
    enum kappa_type type = node->args[0]->type;
    if (node->op >= OP_EQ && node->op <= OP_GE) {
        int order = compare(type, &v[0], &v[1]);
        const bool results[] = {order == 0, order != 0, order<0, order <= 0, order> 0, order >= 0};
        return of_bool(results[node->op - OP_EQ]);
    }
    if (node->op == OP_LIKE) {
        return of_bool(like(v[0].s, v[1].s) != (node->a != 0));
    }
    if (node->op == OP_NOT) {
        return of_bool(!v[0].i);
    }
    if (node->op == OP_LENGTH) {
        int64_t count = 0;
        for (const char *c = v[0].s; *c != '\0'; c++) {
            count += ((unsigned char)*c & 0xC0) != 0x80;
        }
        return (struct model_value){.state = EXPR_OK, .i = count};
    }
    if (node->type == KAPPA_TYPE_TEXT) {
        return text_function(model, node, v);
    }
    if (node->op == OP_CAST && node->type == KAPPA_TYPE_DOUBLE) {
        return (struct model_value){.state = EXPR_OK, .d = (double)v[0].i};
    }
    if (node->op == OP_CAST) {
        return whole(node->type, v[0].i);
    }
    return node->type == KAPPA_TYPE_DOUBLE ? double_arithmetic(node, v[0].d, v[1].d)
                                           : whole_arithmetic(node, v[0].i, v[1].i);
}

/* One of the values decides; else the leftmost error; else null if there is one; else the other. */
static struct model_value three_valued(const struct model_value *v, int count, bool deciding)
{
    enum expr_state worst = EXPR_OK;
    for (int i = 0; i < count; i++) {
        if (v[i].state == EXPR_OK && (v[i].i != 0) == deciding) {
            return of_bool(deciding);
        }
        if (worst < EXPR_ERROR_FIRST && v[i].state != EXPR_OK) {
            worst = v[i].state == EXPR_NULL && worst != EXPR_OK ? worst : v[i].state;
        }
    }
    return worst == EXPR_OK ? of_bool(!deciding) : of_state(worst);
}

static struct model_value compare_values(enum kappa_type type, const struct model_value *a,
                                         const struct model_value *b, enum model_op op)
{
    enum expr_state state = a->state >= EXPR_ERROR_FIRST   ? a->state
                            : b->state >= EXPR_ERROR_FIRST ? b->state
                            : a->state != EXPR_OK          ? a->state
                                                           : b->state;
    if (state != EXPR_OK) {
        return of_state(state);
    }
    int order = compare(type, a, b);
    return of_bool(op == OP_EQ ? order == 0 : op == OP_LE ? order <= 0 : order >= 0);
}

static struct model_value negate_if(struct model_value value, int negated)
{
    value.i = value.i != (negated != 0);
    return value;
}

static struct model_value distinct(const struct model_node *node, const struct model_value *v)
{
    struct model_value equal = compare_values(node->args[0]->type, &v[0], &v[1], OP_EQ);
    if (equal.state >= EXPR_ERROR_FIRST) {
        return equal;
    }
    bool differ = equal.state == EXPR_NULL ? v[0].state != v[1].state : equal.i == 0;
    return of_bool(differ != (node->a != 0));
}

static struct model_value choose_case(const struct model_value *v)
{
    for (int i = 0; i < 4; i += 2) {
        if (v[i].state >= EXPR_ERROR_FIRST) {
            return v[i];
        }
        if (v[i].state == EXPR_OK && v[i].i != 0) {
            return v[i + 1];
        }
    }
    return v[4];
}

static struct model_value extreme(const struct model_node *node, const struct model_value *v)
{
    struct model_value best = of_state(EXPR_NULL);
    for (int i = 0; i < 3 && best.state < EXPR_ERROR_FIRST; i++) {
        bool better = best.state == EXPR_NULL || v[i].state >= EXPR_ERROR_FIRST;
        if (!better && v[i].state == EXPR_OK) {
            int order = compare(node->type, &v[i], &best);
            better = node->op == OP_GREATEST ? order > 0 : order < 0;
        }
        if (v[i].state != EXPR_NULL && better) {
            best = v[i];
        }
    }
    return best;
}

/* IS [NOT] NULL, IS [NOT] TRUE, IN, BETWEEN, NULLIF */
static struct model_value test_or_nullif(const struct model_node *node, const struct model_value *v)
{
    enum kappa_type type = node->args[0]->type;
    struct model_value parts[2];
    if (node->op == OP_IS_NULL || node->op == OP_IS_TRUE) {
        bool yes =
            node->op == OP_IS_NULL ? v[0].state == EXPR_NULL : v[0].state == EXPR_OK && v[0].i != 0;
        return v[0].state >= EXPR_ERROR_FIRST ? v[0] : of_bool(yes != (node->a != 0));
    }
    if (node->op == OP_NULLIF) {
        struct model_value equal = compare_values(type, &v[0], &v[1], OP_EQ);
        bool gone = equal.state == EXPR_OK && equal.i != 0;
        return equal.state >= EXPR_ERROR_FIRST ? equal : gone ? of_state(EXPR_NULL) : v[0];
    }
    bool in = node->op == OP_IN;
    parts[0] = compare_values(type, &v[0], &v[1], in ? OP_EQ : OP_GE);
    parts[1] = compare_values(type, &v[0], &v[2], in ? OP_EQ : OP_LE);
    return negate_if(three_valued(parts, 2, in), node->a);
}

static struct model_value lazy(const struct model_node *node, const struct model_value *v)
{
    switch ((int)node->op) {
    case OP_AND:
        return three_valued(v, node->arg_count, false);
    case OP_OR:
        return three_valued(v, node->arg_count, true);
    case OP_DISTINCT:
        return distinct(node, v);
    case OP_CASE:
        return choose_case(v);
    case OP_COALESCE:
        return v[0].state != EXPR_NULL ? v[0] : v[1].state != EXPR_NULL ? v[1] : v[2];
    case OP_GREATEST:
    case OP_LEAST:
        return extreme(node, v);
    default:
        return test_or_nullif(node, v);
    }
}

static struct model_value eval(struct model *model, const struct model_node *node, uint32_t row)
{
    if (node->op == OP_CONST) {
        return node->constant;
    }
    if (node->op == OP_COLUMN) {
        return model->rows[node->column][row];
    }
    struct model_value v[5];
    for (int i = 0; i < 5; i++) {
        v[i] = of_state(EXPR_OK);
    }
    enum expr_state worst = EXPR_OK;
    for (int i = 0; i < node->arg_count; i++) {
        v[i] = eval(model, node->args[i], row);
        if (worst < EXPR_ERROR_FIRST && v[i].state > worst) {
            worst = v[i].state;
        }
    }
    bool is_lazy = node->op == OP_AND || node->op == OP_OR || node->op >= OP_CASE ||
                   (node->op >= OP_IS_NULL && node->op <= OP_BETWEEN);
    if (is_lazy) {
        return lazy(node, v);
    }
    return worst == EXPR_OK ? strict(model, node, v) : of_state(worst);
}

// NOLINTEND(misc-no-recursion)

/* ---- The machine against the interpreter. */

#define EXPRS_A_PLAN 6

static void load_inputs(const struct model *model, struct expr_machine *machine)
{
    for (uint32_t c = 0; c < FIXTURE_COLUMNS; c++) {
        struct expr_vec *vec = &machine->registers[c];
        for (uint32_t row = 0; row < MODEL_ROWS; row++) {
            const struct model_value *value = &model->rows[c][row];
            vec->state[row] = (uint8_t)value->state;
            if (vec->type == KAPPA_TYPE_TEXT) {
                vec->s[row] = value->state == EXPR_OK
                                  ? (struct kappa_text){value->s, (uint32_t)strlen(value->s)}
                                  : (struct kappa_text){(const char *)8, 1u << 30}; /* a trap */
            } else if (vec->type == KAPPA_TYPE_DOUBLE) {
                vec->d[row] = value->d;
            } else {
                vec->i[row] = value->state == EXPR_OK ? value->i : INT64_MIN;
            }
        }
    }
}

static bool same_value(enum kappa_type type, struct kappa_value got, const struct model_value *want)
{
    if (type == KAPPA_TYPE_TEXT) {
        return got.s.len == strlen(want->s) && memcmp(got.s.bytes, want->s, got.s.len) == 0;
    }
    if (type == KAPPA_TYPE_DOUBLE) {
        return got.d == want->d && signbit(got.d) == signbit(want->d);
    }
    return got.i == want->i;
}

static void check_expr(struct model *model, const struct model_node *node,
                       const struct expr_vec *vec, const char *sql)
{
    assert_int_equal(vec->type, node->type);
    for (uint32_t row = 0; row < MODEL_ROWS; row++) {
        struct model_value want = eval(model, node, row);
        enum expr_state state;
        struct kappa_value got = expr_value(vec, row, &state);
        if (state != want.state || (state == EXPR_OK && !same_value(node->type, got, &want))) {
            fail_msg("row %u of %s: state %d, expected %d (i %lld, %lld)", row, sql, (int)state,
                     (int)want.state, (long long)got.i, (long long)want.i);
        }
    }
}

static void model_open(struct model *model, const char *name)
{
    memset(model, 0, sizeof *model);
    prng_init(&model->prng, unit_seed(name));
    arena_init(&model->arena);
}

static void test_against_interpreter(void **state)
{
    (void)state;
    static struct model model;
    model_open(&model, "expr interpreter");
    for (int round = 0; round < 600; round++) {
        model_fill_rows(&model);
        struct model_node *nodes[EXPRS_A_PLAN];
        struct buf sql = {0};
        for (int k = 0; k < EXPRS_A_PLAN; k++) {
            nodes[k] = tree(&model, random_type(&model), 1 + (int)below(&model, 5));
            buf_append_text(&sql, k == 0 ? "" : ", ");
            print(nodes[k], false, &sql);
            buf_printf(&sql, " AS x%d", k);
        }
        struct plan *plan = fixture_plan(buf_text(&sql));
        struct expr_machine machine;
        expr_machine_open(&machine, &plan->views[0].row, MODEL_ROWS);
        load_inputs(&model, &machine);
        expr_run(&machine, MODEL_ROWS);
        for (int k = 0; k < EXPRS_A_PLAN; k++) {
            check_expr(&model, nodes[k], &machine.registers[plan->views[0].append_regs[k]],
                       buf_text(&sql));
        }
        expr_machine_close(&machine);
        plan_free(plan);
        buf_free(&sql);
        arena_reset(&model.arena);
    }
    arena_free(&model.arena);
}

/* ---- The machine against sqlite. */

static void sqlite_value(enum kappa_type type, const struct model_value *value, struct buf *out)
{
    if (value->state != EXPR_OK) {
        buf_append_text(out, "NULL");
    } else if (type == KAPPA_TYPE_TEXT) {
        buf_printf(out, "'%s'", value->s);
    } else if (type == KAPPA_TYPE_DOUBLE) {
        buf_printf(out, "%.17g", value->d);
    } else {
        buf_printf(out, "%lld", (long long)value->i);
    }
}

static void sqlite_table(const struct model *model, struct buf *out)
{
    buf_append_text(out,
                    ".mode quote\nPRAGMA case_sensitive_like = ON;\nCREATE TABLE t (i1 INTEGER, "
                    "i2 INTEGER, b1 INTEGER, b2 INTEGER, d1 REAL, d2 REAL, s1 TEXT, s2 TEXT, "
                    "f1 INTEGER, f2 INTEGER, z1 INTEGER, z2 INTEGER);\nBEGIN;\n");
    for (uint32_t row = 0; row < MODEL_ROWS; row++) {
        buf_append_text(out, "INSERT INTO t VALUES (");
        for (uint32_t c = 0; c < FIXTURE_COLUMNS; c++) {
            buf_append_text(out, c == 0 ? "" : ", ");
            sqlite_value(column_types[c], &model->rows[c][row], out);
        }
        buf_append_text(out, ");\n");
    }
    buf_append_text(out, "COMMIT;\n");
}

static FILE *sqlite_run(const char *dir, const struct buf *sql)
{
    char *path = xasprintf("%s/in.sql", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(sql->data, 1, sql->len, file), sql->len);
    assert_int_equal(fclose(file), 0);
    char *command = xasprintf("sqlite3 -batch -init /dev/null :memory: < %s 2>&1", path);
    FILE *answers = popen(command, "r");
    assert_non_null(answers);
    free(command);
    free(path);
    return answers;
}

#define SQLITE_EXPRS 400

static void test_against_sqlite(void **state)
{
    (void)state;
    if (system("command -v sqlite3 > /dev/null") != 0) {
        skip();
    }
    static struct model model;
    model_open(&model, "expr sqlite");
    model_fill_rows(&model);
    struct buf script = {0};
    sqlite_table(&model, &script);
    struct model_node *nodes[SQLITE_EXPRS];
    for (int k = 0; k < SQLITE_EXPRS;) {
        nodes[k] = tree(&model, random_type(&model), 1 + (int)below(&model, 5));
        if (!sqlite_knows(nodes[k])) {
            continue;
        }
        buf_append_text(&script, "SELECT ");
        print(nodes[k], true, &script);
        buf_append_text(&script, " FROM t ORDER BY rowid;\n");
        k++;
    }
    char dir[] = "/tmp/kappa-expr-XXXXXX";
    assert_non_null(mkdtemp(dir));
    FILE *answers = sqlite_run(dir, &script);
    uint32_t compared = 0;
    for (int k = 0; k < SQLITE_EXPRS; k++) {
        struct buf sql = {0};
        print(nodes[k], false, &sql);
        buf_append_text(&sql, " AS x");
        struct plan *plan = fixture_plan(buf_text(&sql));
        struct expr_machine machine;
        expr_machine_open(&machine, &plan->views[0].row, MODEL_ROWS);
        load_inputs(&model, &machine);
        expr_run(&machine, MODEL_ROWS);
        const struct expr_vec *vec = &machine.registers[plan->views[0].append_regs[0]];
        for (uint32_t row = 0; row < MODEL_ROWS; row++) {
            char line[4096];
            assert_non_null(fgets(line, sizeof line, answers));
            line[strcspn(line, "\n")] = '\0';
            enum expr_state got_state;
            struct kappa_value got = expr_value(vec, row, &got_state);
            if (got_state >= EXPR_ERROR_FIRST) {
                continue;
            }
            struct model_value shown = {.state = got_state, .i = got.i, .s = ""};
            if (vec->type == KAPPA_TYPE_TEXT) {
                shown.s = arena_strndup(&model.arena, got.s.bytes, got.s.len);
            }
            struct buf ours = {0};
            sqlite_value(vec->type, &shown, &ours);
            if (strcmp(buf_text(&ours), line) != 0) {
                fail_msg("row %u of %s: %s, sqlite says %s", row, buf_text(&sql), buf_text(&ours),
                         line);
            }
            buf_free(&ours);
            compared++;
        }
        expr_machine_close(&machine);
        plan_free(plan);
        buf_free(&sql);
    }
    assert_true(compared > SQLITE_EXPRS * MODEL_ROWS / 4);
    assert_int_equal(fgetc(answers), EOF);
    assert_int_equal(pclose(answers), 0);
    char *path = xasprintf("%s/in.sql", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
    free(path);
    buf_free(&script);
    arena_free(&model.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_interpreter),
                                       cmocka_unit_test(test_against_sqlite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
