/* Trees to steps. Own header: expr_compile.h.
 *
 * Recursion follows the tree, whose depth the binder bounds by LIMIT_SQL_DEPTH and a small factor. */
#include "processor/expr_compile.h"

#include "processor/expr_regex.h"

#include <string.h>

/* One different expression; kept in a chain per hash. */
struct expr_entry {
    const struct expr_node *node; /* the first that was it */
    struct expr_entry *next;
};

struct expr_built {
    struct expr_step step;
    enum kappa_type type;
    bool constant; /* depends on no input */
    struct expr_built *next;
};

void expr_pool_open(struct expr_pool *pool, struct arena *memory)
{
    memset(pool, 0, sizeof *pool);
    pool->memory = memory;
}

struct expr_node *expr_node_new(struct expr_pool *pool, enum expr_node_kind kind,
                                enum kappa_type type, int place)
{
    struct expr_node *node = arena_calloc(pool->memory, sizeof *node);
    node->kind = kind;
    node->type = type;
    node->place = place;
    return node;
}

struct expr_node *expr_node_call(struct expr_pool *pool, expr_run_fn run, enum kappa_type type,
                                 int place, uint32_t arg_count)
{
    struct expr_node *node = expr_node_new(pool, EXPR_NODE_CALL, type, place);
    node->run = run;
    node->args = arena_calloc(pool->memory, sizeof(struct expr_node *) * ((size_t)arg_count + 1));
    node->arg_count = arg_count;
    return node;
}

static bool value_equal(const struct kappa_value *a, const struct kappa_value *b)
{
    if (a->type != b->type || a->is_null != b->is_null) {
        return false;
    }
    if (a->is_null || a->type == KAPPA_TYPE_NULL) {
        return true;
    }
    if (kappa_type_payload(a->type) == KAPPA_PAYLOAD_BYTES) {
        return a->s.len == b->s.len && memcmp(a->s.bytes, b->s.bytes, a->s.len) == 0;
    }
    if (kappa_type_payload(a->type) == KAPPA_PAYLOAD_NUMERIC) {
        return memcmp(&a->n, &b->n, sizeof a->n) == 0; /* 1.0 is not 1.00 here */
    }
    return memcmp(&a->i, &b->i, sizeof a->i) == 0; /* doubles by their bits: -0 is not 0 here */
}

static bool node_equal(const struct expr_node *a, const struct expr_node *b)
{
    if (a->kind != b->kind || a->type != b->type || a->index != b->index || a->run != b->run ||
        a->option != b->option || a->arg_count != b->arg_count ||
        !value_equal(&a->constant, &b->constant)) {
        return false;
    }
    for (uint32_t k = 0; k < a->arg_count; k++) {
        if (a->args[k]->id != b->args[k]->id) {
            return false;
        }
    }
    return true;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ (hash >> 29);
}

static uint32_t node_bucket(const struct expr_node *node)
{
    uint64_t hash = mix((uint64_t)node->kind * 64 + (uint64_t)node->type, node->index);
    for (uint32_t k = 0; k < node->arg_count; k++) {
        hash = mix(hash, node->args[k]->id);
    }
    const struct kappa_value *value = &node->constant;
    if (!value->is_null && kappa_type_payload(value->type) == KAPPA_PAYLOAD_BYTES) {
        for (uint32_t i = 0; i < value->s.len; i++) {
            hash = mix(hash, (uint8_t)value->s.bytes[i]);
        }
    } else if (!value->is_null && value->type != KAPPA_TYPE_NULL) {
        hash = mix(hash, (uint64_t)value->i);
    }
    return (uint32_t)(hash % EXPR_POOL_BUCKETS);
}

struct expr_node *expr_pool_assign(struct expr_pool *pool, struct expr_node *node)
{
    ASSERT_CMP(node->id, ==, 0);
    ASSERT_CMP(node->type, !=, KAPPA_TYPE_NULL);
    node->constant_only = node->kind == EXPR_NODE_CALL || node->kind == EXPR_NODE_CONSTANT;
    node->has_aggregate = node->kind == EXPR_NODE_AGGREGATE;
    for (uint32_t k = 0; k < node->arg_count; k++) {
        ASSERT_CMP(node->args[k]->id, >, 0);
        node->has_aggregate = node->has_aggregate || node->args[k]->has_aggregate;
        node->constant_only = node->constant_only && node->args[k]->constant_only;
    }
    struct expr_entry **bucket = &pool->buckets[node_bucket(node)];
    for (const struct expr_entry *entry = *bucket; entry != NULL; entry = entry->next) {
        if (node_equal(entry->node, node)) {
            node->id = entry->node->id;
            return node;
        }
    }
    node->id = ++pool->count;
    struct expr_entry *entry = arena_calloc(pool->memory, sizeof *entry);
    entry->node = node;
    entry->next = *bucket;
    *bucket = entry;
    return node;
}

void expr_builder_open(struct expr_builder *builder, const struct expr_pool *pool,
                       struct arena *memory, const enum kappa_type *input_types,
                       uint32_t input_count)
{
    memset(builder, 0, sizeof *builder);
    builder->memory = memory;
    builder->last = &builder->first;
    builder->input_types = input_types;
    builder->input_count = input_count;
    builder->register_count = input_count;
    builder->input_used = arena_calloc(pool->memory, (size_t)input_count + 1);
    builder->id_count = pool->count;
    size_t bytes = sizeof *builder->registers * ((size_t)pool->count + 1);
    builder->registers = arena_alloc(pool->memory, bytes);
    memset(builder->registers, 0xFF, bytes);
}

/* The program owns what its steps point to: texts are copied from the trees. */
static void built_append(struct expr_builder *builder, const struct expr_node *node,
                         const uint32_t *args)
{
    struct expr_built *built = arena_calloc(builder->memory, sizeof *built);
    built->type = node->type;
    built->constant = node->constant_only;
    built->step.run = node->kind == EXPR_NODE_CONSTANT ? expr_constant : node->run;
    built->step.args = args;
    built->step.arg_count = node->arg_count;
    built->step.option = node->option;
    built->step.constant = node->constant;
    if (kappa_type_payload(node->constant.type) == KAPPA_PAYLOAD_BYTES && !node->constant.is_null) {
        built->step.constant.s.bytes =
            arena_strndup(builder->memory, node->constant.s.bytes, node->constant.s.len);
    }
    if (node->kind == EXPR_NODE_CALL) {
        built->step.prepared = expr_regex_prepare(node, builder->memory);
    }
    built->step.out = builder->register_count++;
    *builder->last = built;
    builder->last = &built->next;
    builder->step_count++;
}

// NOLINTNEXTLINE(misc-no-recursion): bounded by the depth of the tree
uint32_t expr_builder_add(struct expr_builder *builder, const struct expr_node *node)
{
    ASSERT(node->kind != EXPR_NODE_AGGREGATE);
    ASSERT_CMP(node->id, >, 0);
    ASSERT_CMP(node->id, <=, builder->id_count);
    uint32_t *place = &builder->registers[node->id];
    if (*place != UINT32_MAX) {
        return *place;
    }
    if (node->kind == EXPR_NODE_INPUT) {
        ASSERT_CMP(node->index, <, builder->input_count);
        ASSERT_CMP(builder->input_types[node->index], ==, node->type);
        builder->input_used[node->index] = true;
        *place = node->index;
        return node->index;
    }
    uint32_t *args = arena_calloc(builder->memory, sizeof *args * ((size_t)node->arg_count + 1));
    for (uint32_t k = 0; k < node->arg_count; k++) {
        const struct expr_node *arg = node->args[k];
        while (arg->kind == EXPR_NODE_CALL && arg->run == expr_widen) {
            arg = arg->args[0]; /* the payload is the same: readers need no copy */
        }
        args[k] = expr_builder_add(builder, arg);
    }
    built_append(builder, node, args);
    *place = builder->register_count - 1;
    return *place;
}

uint32_t expr_builder_place(const struct expr_builder *builder, uint32_t step)
{
    uint32_t place = 0;
    uint32_t at = 0;
    for (const struct expr_built *built = builder->first; built != NULL; built = built->next) {
        place += built->constant || at < step ? 1 : 0;
        at++;
    }
    return place;
}

/* Constant steps first; both parts keep their order, so operands still come before users. */
void expr_builder_close(struct expr_builder *builder, struct expr_program *program)
{
    size_t step_bytes = sizeof(struct expr_step) * ((size_t)builder->step_count + 1);
    struct expr_step *steps = arena_calloc(builder->memory, step_bytes);
    enum kappa_type *types =
        arena_calloc(builder->memory, sizeof *types * ((size_t)builder->register_count + 1));
    memcpy(types, builder->input_types, sizeof *types * builder->input_count);
    uint32_t count = 0;
    uint32_t constant_count = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (const struct expr_built *built = builder->first; built != NULL; built = built->next) {
            if (built->constant == (pass == 0)) {
                steps[count++] = built->step;
                types[built->step.out] = built->type;
            }
        }
        constant_count = pass == 0 ? count : constant_count;
    }
    ASSERT_CMP(count, ==, builder->step_count);
    *program = (struct expr_program){.steps = steps,
                                     .step_count = count,
                                     .constant_count = constant_count,
                                     .input_count = builder->input_count,
                                     .register_count = builder->register_count,
                                     .types = types};
}
