/* Batches: one kind of entry point over one data set, many steps per call. */
#ifndef GRADC_SWEEP_H
#define GRADC_SWEEP_H

#include "dataset.h"
#include "session.h"
#include "shuffle.h"

/* How an epoch falls into steps: `full` of batch_size samples, then one of `tail`. Without a batch
 * dimension the data is one step. */
struct gradc_sweep {
    struct gradc_session *session;
    const struct gradc_dataset *data;
    enum gradc_kind kind; /* GRADC_RUN or GRADC_EVALUATE */
    int64_t batch_size, full, tail, steps;
    bool is_whole; /* every step is the whole data set */
    bool shuffle;
    int64_t seed;

    int64_t window;     /* most steps of one call; that of the last call in `outputs` */
    int64_t pace;       /* steps that fit the time a call should take */
    int64_t *order;     /* sample numbers of one call */
    bool order_is_made; /* once and for all, because every epoch is the same batch */
    int64_t permuted;   /* the epoch that `permutation` belongs to, -1 for none */
    struct gradc_shuffle permutation;
    void **outputs; /* as of gradc_results_allocate */
};

/* batch_size is at most that of the program. */
int gradc_sweep_open(struct gradc_sweep *sweep, struct gradc_session *session,
                     enum gradc_kind kind, const struct gradc_dataset *data, int64_t batch_size,
                     bool drop_last, struct gradc_error *error);
void gradc_sweep_close(struct gradc_sweep *sweep);

/* Run at most `limit` steps, beginning with number `position` of the epoch; past its end only if
 * `crosses`. Returns how many were run and the rows of each. */
int64_t gradc_sweep_run(struct gradc_sweep *sweep, int64_t epoch, int64_t position, int64_t limit,
                        bool crosses, int64_t *rows);

/* Scalar k of step i of the last call. */
static inline double gradc_sweep_result(const struct gradc_sweep *sweep, int64_t k, int64_t i) {
    return gradc_result(sweep->outputs, k, i);
}

/* Add the scalars of the last call's steps, of `rows` rows each, times their weights. */
void gradc_sweep_add(const struct gradc_sweep *sweep, int64_t count, int64_t rows, double *sums);

#endif
