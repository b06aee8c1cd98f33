/* One program in use: its state block, arena and threads, and calls of its entry points. */
#ifndef GRADC_SESSION_H
#define GRADC_SESSION_H

#include "program.h"

struct gradc_session {
    unsigned char *state; /* gradc_program.state_bytes, 64-byte aligned */
    unsigned char *arena; /* and the threads' workspaces, 64-byte aligned; touched when used */
    const void **inputs;  /* room for the table of one call */
    void *pool;           /* null with one thread; a device, in a binary for one */
    int64_t threads;
    int64_t version; /* of the code, by its number */
};

/* Memory, threads and code for this CPU; `threads` is cut to the CPUs that may be used, 0 asks for
 * all of them. The state is zero: initialize it or load it. */
int gradc_session_open(struct gradc_session *session, int64_t threads, struct gradc_error *error);
void gradc_session_close(struct gradc_session *session);

/* Fill the state from the seed. */
void gradc_session_initialize(struct gradc_session *session, int64_t seed);

/* Run `count` iterations of an entry point, each on `rows` samples.
 *
 * inputs   the arrays of gradc_inputs, in that order (those that the entry does not read may be
 *          null); a data set where the input has a batch axis
 * order    sample numbers, gradc_program.batch per iteration, also where rows is smaller
 * same_rows  whether all iterations take the first of them
 * rows     1..gradc_program.batch; count is 1 unless they are all of them. 1 without a batch
 *          dimension
 * outputs  one array of `count` values per result (or, for predict, per output), overwritten
 */
void gradc_session_run(struct gradc_session *session, enum gradc_kind kind,
                       const void *const *inputs, const int64_t *order, bool same_rows,
                       int64_t count, int64_t rows, void *const *outputs);

/* Revise the state at the end of an epoch that came to these results; behind them, if
 * `validates`, those of validation. */
#ifdef GRADC_MONITORS
void gradc_session_end_epoch(struct gradc_session *session, const double *results, bool validates);
#else
#define gradc_session_end_epoch(session, results, validates) ((void)0)
#endif

/* The state in the host's memory, as the last run left it; and to be changed, for the next one. A
 * binary for a device has another copy there, and moves data sets to it once, of so many samples. */
#ifdef GRADC_CUDA
unsigned char *gradc_session_state(struct gradc_session *session);
unsigned char *gradc_session_change(struct gradc_session *session);
void gradc_session_hold(struct gradc_session *session, const void *const *arrays, int64_t samples);
#else
#define gradc_session_state(session) ((session)->state)
#define gradc_session_change(session) ((session)->state)
#define gradc_session_hold(session, arrays, samples) ((void)0)
#endif

/* CPUs that this process may run on. */
int64_t gradc_usable_cpus(void);

/* Elements first .. first + count - 1 of a state in logical row-major order, out of a state block or
 * into one. */
void gradc_state_get(const struct gradc_state_field *field, const unsigned char *block,
                     int64_t first, int64_t count, void *out);
void gradc_state_set(const struct gradc_state_field *field, unsigned char *block, int64_t first,
                     int64_t count, const void *in);
int64_t gradc_state_elements(const struct gradc_state_field *field);

/* Value i of scalar k as a double, out of the arrays that `run` and `evaluate` fill. */
static inline double gradc_result(void *const *outputs,
                                  int64_t k, int64_t i) {
    bool wide = gradc_results[k].dtype == GRADC_FLOAT64;
    return wide ? ((const double *)outputs[k])[i] : (double)((const float *)outputs[k])[i];
}

/* What scalar k counts in a sum: means are weighted by rows, both parts of a ratio are not. */
static inline double gradc_weight(int64_t k, int64_t rows) {
    return k >= gradc_program.result_count || gradc_divisors[k] ? 1.0 : (double)rows;
}

/* Result k of all that was summed: of `rows` rows. */
static inline double gradc_summed(const double *sums,
                                  int64_t k, int64_t rows) {
    return sums[k] / (gradc_divisors[k] ? sums[gradc_divisors[k]] : (double)rows);
}

/* Result k of step i, out of the arrays that `run` and `evaluate` fill. */
static inline double gradc_quotient(void *const *outputs,
                                    int64_t k, int64_t i) {
    int64_t divisor = gradc_divisors[k];
    double value = gradc_result(outputs, k, i);
    return divisor ? value / gradc_result(outputs, divisor, i) : value;
}

/* Bytes of a tensor from an axis on, with `rows` samples along its batch axis. */
int64_t gradc_field_bytes(const struct gradc_field *field, int axis, int64_t rows);

/* Arrays for `count` values of every scalar; null without memory. One block, freed with free(). */
void **gradc_results_allocate(int64_t count);

#endif
