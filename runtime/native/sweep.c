/* Batches of a data set; see sweep.h. What Sweep and ArraySource are in runtime/.
 *
 * Calls of compiled code cannot be interrupted, so they are kept short by the clock. No bit depends
 * on how many steps a call runs. The order of samples is made for one call at a time.
 */
#include <stdlib.h>
#include <string.h>

#include "progress.h"
#include "sweep.h"

#define WINDOW_SAMPLES 16384
#define CALL_NANOSECONDS 80000000 /* aim; a call may take twice that before the pace follows */
#define GROWTH_MAXIMUM 16

int gradc_sweep_open(struct gradc_sweep *sweep, struct gradc_session *session,
                     enum gradc_kind kind, const struct gradc_dataset *data, int64_t batch_size,
                     bool drop_last, struct gradc_error *error) {
    *sweep = (struct gradc_sweep){
        .session = session,
        .data = data,
        .kind = kind,
        .batch_size = batch_size,
        .full = 1,
        .pace = 1,
        .permuted = -1,
    };
    if (batch_size) {
        sweep->full = data->samples / batch_size;
        sweep->tail = drop_last ? 0 : data->samples % batch_size;
    }
    sweep->steps = sweep->full + (sweep->tail > 0);
    sweep->is_whole = sweep->steps == 1 && batch_size && batch_size == data->samples;
    int64_t numbers = sweep->is_whole ? 0 : batch_size;
    int64_t widest = numbers > gradc_program.scalar_count ? numbers : gradc_program.scalar_count;
    sweep->window = WINDOW_SAMPLES > widest ? WINDOW_SAMPLES / widest : 1;
    numbers *= sweep->window;
    numbers = numbers > gradc_program.batch ? numbers : gradc_program.batch;
    sweep->order = calloc((size_t)numbers + 1, sizeof *sweep->order);
    sweep->outputs = gradc_results_allocate(sweep->window);
    gradc_session_hold(session, data->arrays, data->samples);
    if (!sweep->order || !sweep->outputs) {
        gradc_sweep_close(sweep);
        return gradc_fail_memory(error);
    }
    return GRADC_OK;
}

void gradc_sweep_close(struct gradc_sweep *sweep) {
    free(sweep->order);
    free(sweep->outputs);
    sweep->order = NULL;
    sweep->outputs = NULL;
}

/* Sample numbers of `count` steps, or of one that is the whole data set: it is not shuffled, because
 * the batch is the same in any order, and serves all steps. */
static void make_order(struct gradc_sweep *sweep, int64_t epoch, int64_t position, int64_t count) {
    int64_t *order = sweep->order;
    if (sweep->order_is_made || !sweep->batch_size) {
        return;
    }
    sweep->order_is_made = sweep->is_whole;
    for (int64_t left = sweep->is_whole ? 1 : count; left > 0; epoch++, position = 0) {
        int64_t steps = left < sweep->steps - position ? left : sweep->steps - position;
        int64_t first = position * sweep->batch_size, numbers = steps * sweep->batch_size;
        if (numbers > sweep->data->samples - first) {
            numbers = sweep->data->samples - first;
        }
        if (sweep->shuffle && !sweep->is_whole) {
            if (sweep->permuted != epoch) {
                sweep->permuted = epoch;
                gradc_shuffle_begin(&sweep->permutation, sweep->data->samples, sweep->seed, epoch);
            }
            gradc_shuffle_fill(&sweep->permutation, first, numbers, order);
        } else {
            for (int64_t i = 0; i < numbers; i++) {
                order[i] = first + i;
            }
        }
        order += numbers;
        left -= steps;
    }
}

/* Entry points take several steps at once only of full batches. Smaller ones come one by one, or
 * over and over where the whole data set is one. */
static void call(struct gradc_sweep *sweep, int64_t count, int64_t rows) {
    bool at_once = !gradc_program.batch || rows == gradc_program.batch;
    void *outputs[GRADC_RESULTS_MAXIMUM];
    for (int64_t n = 0; n < count; n += at_once ? count : 1) {
        for (int64_t k = 0; k < gradc_program.scalar_count; k++) {
            int64_t size = gradc_size(gradc_results[k].dtype);
            outputs[k] = (char *)sweep->outputs[k] + n * size;
        }
        gradc_session_run(sweep->session, sweep->kind, sweep->data->arrays, sweep->order,
                          sweep->is_whole, at_once ? count : 1, rows, outputs);
    }
}

int64_t gradc_sweep_run(struct gradc_sweep *sweep, int64_t epoch, int64_t position, int64_t limit,
                        bool crosses, int64_t *rows) {
    bool in_tail = sweep->tail && position == sweep->full;
    int64_t count = limit < sweep->pace ? limit : sweep->pace;
    *rows = in_tail ? sweep->tail : sweep->batch_size ? sweep->batch_size : 1;
    if (in_tail) {
        count = 1;
    } else if (!crosses && count > sweep->full - position) {
        count = sweep->full - position;
    }
    int64_t begin = gradc_clock();
    make_order(sweep, epoch, position, count);
    call(sweep, count, *rows);
    int64_t fitting = count * CALL_NANOSECONDS / (gradc_clock() - begin + 1);
    int64_t most = sweep->pace * GROWTH_MAXIMUM;
    most = most < sweep->window ? most : sweep->window;
    sweep->pace = fitting < 1 ? 1 : fitting < most ? fitting : most;
    return count;
}

void gradc_sweep_add(const struct gradc_sweep *sweep, int64_t count, int64_t rows, double *sums) {
    for (int64_t k = 0; k < gradc_program.scalar_count; k++) {
        double weight = gradc_weight(k, rows);
        for (int64_t i = 0; i < count; i++) {
            sums[k] += gradc_sweep_result(sweep, k, i) * weight;
        }
    }
}
