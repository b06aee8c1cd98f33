/* The functions behind a generated header: one session per handle, errors kept in it.
 *
 * Arguments are checked here: null handles, row counts, null arrays, calls at the same time. Data is
 * read and written in place; a call allocates nothing but what `init` has set aside. Each function
 * does its work between `begin` and `end`, which look after the caller's thread (guard.h).
 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "guard.h"
#include "library.h"
#include "ranges.h"

struct gradc_library {
    struct gradc_session session;
    struct gradc_record record;
    struct gradc_error error;
    int64_t *order;
    void **results;
    double *sums;
    void **outputs; /* of predict, moved on from batch to batch */
    int64_t seed;
    bool open;
    atomic_bool busy;     /* a call is under way */
    atomic_bool collided; /* and another was refused meanwhile */
};

/* Samples of one call; 1 where there is no batch dimension. */
static int64_t rows_maximum(void) {
    return gradc_program.batch ? gradc_program.batch : 1;
}

/* The record of a run that has not begun. */
static int begin_library_record(struct gradc_library *library) {
    int status = gradc_record_open(&library->record, &library->error);
    library->record.seed = library->seed;
    return status;
}

static int open_session(struct gradc_library *library, int64_t seed, int64_t threads) {
    int status = gradc_session_open(&library->session, threads, &library->error);
    if (status) {
        return status;
    }
    library->open = true;
    library->seed = seed;
    status = begin_library_record(library);
    if (status) {
        return status;
    }
    library->order = malloc((size_t)rows_maximum() * sizeof *library->order);
    library->results = gradc_results_allocate(1);
    library->sums = calloc((size_t)gradc_program.scalar_count, sizeof *library->sums);
    library->outputs = calloc((size_t)gradc_program.output_count + 1, sizeof *library->outputs);
    if (!library->order || !library->results || !library->sums || !library->outputs) {
        free(library->outputs);
        library->outputs = NULL; /* by which every call sees that this session is not open */
        return gradc_fail_memory(&library->error);
    }
    gradc_session_initialize(&library->session, seed);
    return GRADC_OK;
}

static void close_session(struct gradc_library *library) {
    if (library->open) {
        gradc_session_close(&library->session);
        gradc_record_free(&library->record);
    }
    free(library->outputs);
    free(library->sums);
    free(library->results);
    free(library->order);
    free(library);
}

/* Whether a call can be made at all: a session that is open, arrays where they are needed, labels
 * and indices that are in their ranges. */
static int check_call(struct gradc_library *library, enum gradc_kind kind, int64_t rows,
                      int64_t most, const void *const *inputs) {
    if (!library->outputs) {
        return gradc_fail(&library->error, GRADC_IN_ARGUMENTS "this session was not opened");
    }
    if (rows < 1 || rows > most) {
        return gradc_fail(&library->error, GRADC_IN_ARGUMENTS
                          "rows is %lld, out of 1 to %lld", (long long)rows, (long long)most);
    }
    if (kind == GRADC_RUN && gradc_program.batch && rows < gradc_program.rows_minimum) {
        return gradc_fail(&library->error, GRADC_IN_ARGUMENTS
                          "rows is %lld, the program is trained on at least %lld", (long long)rows,
                          (long long)gradc_program.rows_minimum);
    }
    const struct gradc_reads *reads = &gradc_program.reads[kind];
    const int64_t *read = gradc_numbers + reads->inputs;
    for (int64_t n = 0; n < reads->count; n++) {
        if (!inputs[read[n]]) {
            return gradc_fail(&library->error, GRADC_IN_ARGUMENTS "input %s is null",
                              gradc_string(gradc_inputs[read[n]].name));
        }
    }
    int status = GRADC_OK;
    for (int64_t n = 0; !status && n < reads->count; n++) {
        int64_t input = read[n];
        status = gradc_ranges_check(kind, input, inputs[input], rows,
                                    &library->error);
    }
    return status;
}

/* Sample numbers first, first + 1, ... for one batch; past the last row they are never read. */
static const int64_t *order_from(struct gradc_library *library, int64_t first) {
    for (int64_t n = 0; n < rows_maximum(); n++) {
        library->order[n] = first + n;
    }
    return library->order;
}

static int step(struct gradc_library *library, int64_t rows, const void *const *inputs,
                double *results) {
    int status = check_call(library, GRADC_RUN, rows, rows_maximum(), inputs);
    if (status) {
        return status;
    }
    gradc_session_run(&library->session, GRADC_RUN, inputs, order_from(library, 0),
                      false, 1, rows, library->results);
    for (int64_t k = 0; results && k < gradc_program.result_count; k++) {
        results[k] = gradc_quotient(library->results, k, 0);
    }
#ifdef GRADC_MONITORS
    for (int64_t k = 0; k < gradc_program.result_count; k++) {
        library->sums[k] = gradc_quotient(library->results, k, 0);
    }
    gradc_session_end_epoch(&library->session, library->sums, false);
#endif
    return GRADC_OK;
}

static int evaluate(struct gradc_library *library, int64_t rows, const void *const *inputs,
                    double *results) {
    int64_t most = gradc_program.batch ? INT64_MAX / 8 : 1, done = 0;
    int status = check_call(library, GRADC_EVALUATE, rows, most, inputs);
    if (status) {
        return status;
    }
    if (!results) {
        return gradc_fail(&library->error, GRADC_IN_ARGUMENTS "results is null");
    }
    memset(library->sums, 0, (size_t)gradc_program.scalar_count * sizeof *library->sums);
    while (done < rows) {
        int64_t batch = rows - done < rows_maximum() ? rows - done : rows_maximum();
        gradc_session_run(&library->session, GRADC_EVALUATE, inputs, order_from(library, done),
                          false, 1, batch, library->results);
        for (int64_t k = 0; k < gradc_program.scalar_count; k++) {
            double value = gradc_result(library->results, k, 0);
            library->sums[k] += value * gradc_weight(k, batch);
        }
        done += batch;
    }
    for (int64_t k = 0; k < gradc_program.result_count; k++) {
        results[k] = gradc_summed(library->sums, k, rows);
    }
    return GRADC_OK;
}

static int predict(struct gradc_library *library, int64_t rows, const void *const *inputs,
                   void *const *outputs) {
    bool inner = false; /* an output whose batch axis is not the first is made in one batch */
    for (int64_t k = 0; k < gradc_program.output_count; k++) {
        inner |= gradc_outputs[k].batch_axis > 0 || gradc_outputs[k].of_batch;
    }
    int64_t most = gradc_program.batch && !inner ? INT64_MAX / 8 : rows_maximum(), done = 0;
    int status = check_call(library, GRADC_PREDICT, rows, most, inputs);
    if (status) {
        return status;
    }
    for (int64_t k = 0; k < gradc_program.output_count; k++) {
        if (!outputs[k]) {
            return gradc_fail(&library->error, GRADC_IN_ARGUMENTS "output %s is null",
                              gradc_string(gradc_outputs[k].name));
        }
        library->outputs[k] = outputs[k];
    }
    while (done < rows) {
        int64_t batch = rows - done < rows_maximum() ? rows - done : rows_maximum();
        gradc_session_run(&library->session, GRADC_PREDICT, inputs, order_from(library, done),
                          false, 1, batch, library->outputs);
        for (int64_t k = 0; k < gradc_program.output_count; k++) {
            if (gradc_outputs[k].batch_axis == 0) {
                int64_t moved = gradc_field_bytes(&gradc_outputs[k], 0, batch);
                library->outputs[k] = (char *)library->outputs[k] + moved;
            }
        }
        done += batch;
    }
    return GRADC_OK;
}

/* A path for a session that is open. */
static int check_path(struct gradc_library *library, const char *path) {
    if (!library->outputs || !path) {
        return gradc_fail(&library->error, path ? GRADC_IN_ARGUMENTS "this session was not opened"
                                                : GRADC_IN_ARGUMENTS "path is null");
    }
    return GRADC_OK;
}

static int save(struct gradc_library *library, const char *path) {
    int status = check_path(library, path);
    if (status) {
        return status;
    }
    return gradc_checkpoint_write(path, false, gradc_session_state(&library->session), NULL, &library->record,
                                  &library->error);
}

static int load(struct gradc_library *library, const char *path) {
    int status = check_path(library, path);
    if (status) {
        return status;
    }
    struct gradc_record before = library->record;
    status = begin_library_record(library);
    if (!status) {
        status = gradc_checkpoint_load(&library->session, path, library->seed, false,
                                       &library->record, &library->error);
    }
    if (status) {
        gradc_record_free(&library->record);
        library->record = before;
    } else {
        gradc_record_free(&before);
    }
    return status;
}

static int set_rate(struct gradc_library *library, double rate) {
    int64_t state = gradc_program.rate_state;
    if (!library->outputs || state < 0) {
        return gradc_fail(&library->error, state < 0
                          ? GRADC_IN_ARGUMENTS "the learning rate of this program is fixed"
                          : GRADC_IN_ARGUMENTS "this session was not opened");
    }
    if (!(rate >= 0) || !isfinite(rate)) {
        return gradc_fail(&library->error, GRADC_IN_ARGUMENTS
                          "a learning rate is a finite number >= 0");
    }
    gradc_state_set(&gradc_states[state], gradc_session_change(&library->session), 0, 1, &rate);
    return GRADC_OK;
}

/* ---------------------------------------------------------------- what is called */

/* Begin a call; one at a time on a session. A second one must not touch what the first works with,
 * the text of its error neither. */
static int begin(struct gradc_library *library, struct gradc_guard *guard, bool files) {
    if (!library) {
        return GRADC_BAD_ARGUMENT;
    }
    gradc_guard_enter(guard, files); /* first: a thread cancelled now would stay busy for ever */
    bool collides = atomic_exchange(&library->busy, true);
    atomic_store(&library->collided, collides);
    if (collides) {
        gradc_guard_leave(guard);
    }
    return collides ? GRADC_BAD_ARGUMENT : GRADC_OK;
}

static int end(struct gradc_library *library, const struct gradc_guard *guard, int status) {
    atomic_store(&library->busy, false);
    gradc_guard_leave(guard);
    return status;
}

int gradc_library_init(struct gradc_library **library, int64_t seed, int64_t threads) {
    struct gradc_guard guard;
    if (!library) {
        return GRADC_BAD_ARGUMENT;
    }
    *library = calloc(1, sizeof **library);
    int status = *library ? begin(*library, &guard, false) : GRADC_BAD_FILE;
    return status ? status : end(*library, &guard, open_session(*library, seed, threads));
}

void gradc_library_free(struct gradc_library *library) {
    struct gradc_guard guard;
    if (library) {
        gradc_guard_enter(&guard, false); /* whoever waits for threads must not be cancelled */
        close_session(library);
        gradc_guard_leave(&guard);
    }
}

int gradc_library_step(struct gradc_library *library, int64_t rows, const void *const *inputs,
                       double *results) {
    struct gradc_guard guard;
    int status = begin(library, &guard, false);
    return status ? status : end(library, &guard, step(library, rows, inputs, results));
}

int gradc_library_evaluate(struct gradc_library *library, int64_t rows, const void *const *inputs,
                           double *results) {
    struct gradc_guard guard;
    int status = begin(library, &guard, false);
    return status ? status : end(library, &guard, evaluate(library, rows, inputs, results));
}

int gradc_library_predict(struct gradc_library *library, int64_t rows, const void *const *inputs,
                          void *const *outputs) {
    struct gradc_guard guard;
    int status = begin(library, &guard, false);
    return status ? status : end(library, &guard, predict(library, rows, inputs, outputs));
}

int gradc_library_save(struct gradc_library *library, const char *path) {
    struct gradc_guard guard;
    int status = begin(library, &guard, true);
    return status ? status : end(library, &guard, save(library, path));
}

int gradc_library_load(struct gradc_library *library, const char *path) {
    struct gradc_guard guard;
    int status = begin(library, &guard, true);
    return status ? status : end(library, &guard, load(library, path));
}

int gradc_library_set_rate(struct gradc_library *library, double rate) {
    struct gradc_guard guard;
    int status = begin(library, &guard, false);
    return status ? status : end(library, &guard, set_rate(library, rate));
}

const char *gradc_library_error(const struct gradc_library *library) {
    if (!library) {
        return "out of memory, or no session";
    }
    return atomic_load(&library->collided) ? "another call on this session has not ended"
                                           : library->error.text;
}
