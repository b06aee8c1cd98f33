/* A compiled program as the tables made by `gradc build` describe it.
 *
 * The tables are constant data beside the compiled code. An entry point takes one argument struct,
 * field for field the one of compiler/artifact.py, where its meaning is told.
 */
#ifndef GRADC_PROGRAM_H
#define GRADC_PROGRAM_H

#include "common.h"

struct gradc_arguments {
    void *state;
    void *arena;
    const void *const *inputs;
    const int64_t *order;
    int64_t first_step;
    int64_t count;
    int64_t rows;
    void *const *outputs;
    const void *const *constants;
    void *pool;
};

typedef void gradc_entry_function(struct gradc_arguments *);

#define GRADC_RESULTS_MAXIMUM 127 /* `columns_sorted` numbers two columns for each in a byte */

#define GRADC_BATCH (-1) /* the extent of the batch axis in a declared shape */

/* An input, an output of `predict`, or a scalar of `run` and `evaluate`: a result (loss, metric), or
 * its numerator; then the denominators of those that are ratios. */
struct gradc_field {
    const char *name;
    const int64_t *shape; /* GRADC_BATCH for the batch axis */
    uint8_t dtype;        /* enum gradc_dtype */
    int8_t rank;
    int8_t batch_axis; /* -1: used whole, the same in every batch */
    bool of_batch;     /* an output without that axis whose value the rows of a batch decide */
};

struct gradc_state_field {
    const char *name;
    const int64_t *shape;
    const uint8_t *order; /* logical axes in physical order, outermost first; null: row-major */
    int64_t offset_bytes; /* in the state block */
    uint8_t dtype;
    int8_t rank;
    uint8_t strip; /* points of the last axis in `order` in a strip; 0: there are no strips */
    bool trained;  /* a parameter */
};

enum gradc_kind { GRADC_INIT, GRADC_RUN, GRADC_EVALUATE, GRADC_PREDICT, GRADC_KINDS };

/* The inputs that an entry point reads, as indices of gradc_program.inputs, in its own order. */
struct gradc_reads {
    const uint8_t *inputs;
    int64_t count;
};

/* An input whose elements index something: low <= i < high, or one of `ignored`. */
struct gradc_range {
    const char *reader;     /* what indexes with it */
    const int64_t *cut;     /* first, step and count of every axis, GRADC_BATCH: all; null: whole */
    const int64_t *ignored;
    int64_t low, high;
    uint8_t input, ignored_count;
    uint8_t kinds; /* a bit for each enum gradc_kind that reads it so */
};

/* The entry points made for one kind of CPU. They take any number of rows up to the batch; but `run`
 * takes full batches only where there is `run_ragged` for fewer rows. All versions of a program give
 * the same bits. */
struct gradc_code {
    const char *cpu;
    uint8_t level; /* the CPU needed, see cpu.h */
    gradc_entry_function *init, *run, *run_ragged, *evaluate, *predict;
};

struct gradc_program {
    const char *name;
    const char *fingerprint; /* MODEL-STEP: digests of what it computes and of how it trains */
    const char *description; /* JSON, for --describe */

    int64_t batch; /* samples of a full batch; 0 where the program has no batch dimension */
    int64_t state_bytes, arena_bytes;
    int64_t workspace_bytes; /* of each thread, behind the arena */

    const struct gradc_field *inputs, *outputs, *results; /* results[0] is the loss */
    const uint8_t *divisors; /* of every result: the scalar that divides it, 0: its rows do */
    const struct gradc_state_field *state;
    const char *const *column_keys;   /* results, then validation_ results, as canonical JSON keys */
    const uint8_t *columns_sorted;    /* indices of column_keys in sorted order */
    struct gradc_reads reads[GRADC_KINDS];
    const struct gradc_range *ranges;
    int64_t range_count;
    int64_t input_count, output_count, result_count, scalar_count, state_count;
    int64_t seed_state, rate_state; /* indices of `state`; -1 where there is none */

    const void *const *constants;
    const struct gradc_code *codes; /* best first */
    int64_t code_count;
};

/* The program in this executable or library. */
extern const struct gradc_program gradc_program;

/* The thread pool, made by the compiler. */
void *gradc_pool_create(int64_t threads);
void gradc_pool_destroy(void *pool);

#endif
