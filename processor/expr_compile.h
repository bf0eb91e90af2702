/* Typed expression trees, and the builder that flattens them to a program.
 *
 *     expr_pool_open                         once per compilation
 *     expr_node_new, expr_node_call          make nodes, bottom up; args are filled in by the caller
 *     expr_pool_assign                       gives a finished node its id
 *     expr_builder_open, _add ..., _close    trees -> program
 *
 * Two nodes have the same id exactly if they are the same expression, wherever it was written; so trees
 * may share parts (x BETWEEN a AND b holds x twice), and every walk remembers what it did by id: it
 * takes time for each different expression once. Nodes keep the place where they were written. */
#ifndef KAPPA_PROCESSOR_EXPR_COMPILE_H
#define KAPPA_PROCESSOR_EXPR_COMPILE_H

#include "processor/expr_step.h"

enum expr_node_kind {
    EXPR_NODE_INPUT,    /* input register `index` */
    EXPR_NODE_CONSTANT, /* type NULL: a literal whose type is not known yet, or NULL; has no id */
    EXPR_NODE_CALL,
    EXPR_NODE_AGGREGATE /* aggregate `index`; becomes an input of the final program */
};

struct expr_node {
    enum expr_node_kind kind;
    enum kappa_type type;
    int64_t
        modifier; /* of a column or cast of numeric(p, s), as in struct sql_type; no part of what it means */
    int place;                   /* byte in the definition, or -1; no part of what it means */
    uint32_t id;                 /* from 1 */
    uint32_t index;              /* INPUT, AGGREGATE */
    struct kappa_value constant; /* CONSTANT, or the step's constant; else of type NULL */
    expr_run_fn run;             /* CALL */
    int64_t option;              /* CALL */
    struct expr_node **args;     /* CALL: with ids */
    uint32_t arg_count;
    bool constant_only; /* no input and no aggregate in it; set with the id */
    bool has_aggregate; /* set with the id */
};

#define EXPR_POOL_BUCKETS 1024

struct expr_pool {
    struct arena *memory;
    struct expr_entry *buckets[EXPR_POOL_BUCKETS];
    uint32_t count; /* ids given: 1 .. count */
};

/* memory outlives the pool and its nodes. */
void expr_pool_open(struct expr_pool *pool, struct arena *memory);
/* The node may not change afterwards. Returns it. */
struct expr_node *expr_pool_assign(struct expr_pool *pool, struct expr_node *node);

/* New nodes are zeroed but for what is given. */
struct expr_node *expr_node_new(struct expr_pool *pool, enum expr_node_kind kind,
                                enum kappa_type type, int place);
struct expr_node *expr_node_call(struct expr_pool *pool, expr_run_fn run, enum kappa_type type,
                                 int place, uint32_t arg_count);

struct expr_builder {
    struct arena *memory; /* of the program */
    const enum kappa_type *input_types;
    bool *input_used; /* input_count: read by some step, or added itself */
    uint32_t input_count;
    uint32_t *registers; /* by id; UINT32_MAX: not added yet */
    uint32_t id_count;
    struct expr_built *first; /* steps in the order of adding: operands before their users */
    struct expr_built **last;
    uint32_t step_count;
    uint32_t register_count;
};

/* All trees to add are complete; memory outlives the builder; input_types is borrowed until close. */
void expr_builder_open(struct expr_builder *builder, const struct expr_pool *pool,
                       struct arena *memory, const enum kappa_type *input_types,
                       uint32_t input_count);
/* The register that will hold the node's value. */
uint32_t expr_builder_add(struct expr_builder *builder, const struct expr_node *node);
/* Index in the finished program of what is step number `step` now (or behind all now), constants left
 * out. Call when everything has been added. */
uint32_t expr_builder_place(const struct expr_builder *builder, uint32_t step);
void expr_builder_close(struct expr_builder *builder, struct expr_program *program);

#endif
