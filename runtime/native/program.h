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
    int64_t same_rows;
};

typedef void gradc_entry_function(struct gradc_arguments *);

#define GRADC_RESULTS_MAXIMUM 127 /* `columns_sorted` numbers two columns for each in a byte */

#pragma GCC visibility push(hidden)

/* What the tables share. A name is a place in the strings, a shape one in the numbers, where 0 is the
 * shape of a scalar. No pointers: each would be a relocation, three times its own size in the file,
 * and work whenever a program starts. So are the tables arrays by name, not members of the program. */
extern const char gradc_strings[]; /* each ends with a zero */
extern const int64_t gradc_numbers[];

GRADC_APART_IN_HEADER
static const char *gradc_string(uint32_t place) {
    return gradc_strings + place;
}

/* An input, an output of `predict`, or a scalar of `run` and `evaluate`: a result (loss, metric), or
 * its numerator; then the denominators of those that are ratios. */
struct gradc_field {
    uint32_t name;
    uint32_t shape; /* GRADC_BATCH for the batch axis */
    uint8_t dtype;  /* enum gradc_dtype */
    int8_t rank;
    int8_t batch_axis; /* -1: used whole, the same in every batch */
    bool of_batch;     /* an output without that axis whose value the rows of a batch decide */
};

struct gradc_state_field {
    int64_t offset_bytes; /* in the state block */
    uint32_t name;
    uint32_t shape;
    uint32_t order; /* numbers: logical axes in physical order, outermost first; 0: row-major */
    uint8_t dtype;
    int8_t rank;
    uint8_t strip; /* points of the last axis in `order` in a strip; 0: there are no strips */
    bool trained;  /* a parameter */
};

/* GRADC_MONITORS is defined, here and for the tables, in binaries that revise states when an epoch
 * ends: of what is for it, others have nothing. */
enum gradc_kind {
    GRADC_INIT,
    GRADC_RUN,
    GRADC_EVALUATE,
    GRADC_PREDICT,
#ifdef GRADC_MONITORS
    GRADC_EPOCH,
#endif
    GRADC_KINDS
};

/* The inputs that an entry point reads, as indices of gradc_inputs, in its own order. */
struct gradc_reads {
    uint32_t inputs; /* numbers */
    uint32_t count;
};

/* An input whose elements index something: low <= i < high, or one of `ignored`. */
struct gradc_range {
    int64_t low, high;
    uint32_t reader;  /* what indexes with it */
    uint32_t cut;     /* numbers: first, step, count of every axis, GRADC_BATCH: all; 0: whole */
    uint32_t ignored; /* numbers */
    uint8_t input, ignored_count;
    uint8_t kinds; /* a bit for each enum gradc_kind that reads it so */
};

/* A state that is to hold what an epoch came to: a result, of validation if there is any. */
struct gradc_monitor {
    uint32_t state;
    uint8_t result;
    bool held_out;
};

/* The code made for one kind of CPU. All versions of a program give the same bits. */
struct gradc_code {
    char cpu[11];
    uint8_t level; /* the CPU needed, see cpu.h */
};

struct gradc_program {
    int64_t batch; /* samples of a full batch; 0 where the program has no batch dimension */
    int64_t rows_minimum; /* of a batch that `run` is for */
    int64_t input_count, output_count, result_count, scalar_count, state_count;
    int64_t seed_state, rate_state; /* indices of gradc_states; -1 where there is none */
    int64_t state_bytes;
    uint32_t name;
    uint32_t fingerprint; /* MODEL-STEP: digests of what it computes and of how it trains */
    uint32_t description; /* JSON, for --describe */
    int64_t arena_bytes;
    int64_t workspace_bytes; /* of each thread, behind the arena */
    int64_t range_count;
    int64_t code_count;
#ifdef GRADC_MONITORS
    int64_t monitor_count;
#endif
    struct gradc_reads reads[GRADC_KINDS];
};

/* The program in this executable or library. */
extern const struct gradc_program gradc_program;
extern const struct gradc_field gradc_inputs[];
extern const struct gradc_field gradc_outputs[];
extern const struct gradc_field gradc_results[]; /* the scalars; the first is the loss */
extern const uint8_t gradc_divisors[]; /* of every result: the scalar that divides it, 0: its rows do */
extern const struct gradc_state_field gradc_states[];
extern const uint32_t gradc_column_keys[];   /* of results, then validation_ results: canonical JSON */
extern const uint8_t gradc_columns_sorted[]; /* indices of gradc_column_keys in sorted order */
extern const struct gradc_range gradc_ranges[];
extern const struct gradc_monitor gradc_monitors[];
extern const void *const gradc_constants[];
extern const struct gradc_code gradc_codes[]; /* best first */
/* Of each version of the code, GRADC_ENTRIES: for each enum gradc_kind, then `run` for fewer rows
 * than a batch. They take any number of rows up to the batch; but where the last one is not `run`
 * itself, that takes full batches alone. Each is the distance of a function from here in bytes. */
extern const int32_t gradc_entries[];
#define GRADC_RUN_RAGGED GRADC_KINDS
#define GRADC_ENTRIES (GRADC_KINDS + 1)

/* The thread pool, made by the compiler. */
void *gradc_pool_create(int64_t threads);
void gradc_pool_destroy(void *pool);

#pragma GCC visibility pop

#endif
