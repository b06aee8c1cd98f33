/* The functions behind a generated header: one session per handle, errors kept in it.
 *
 * Arguments are checked here: null handles, row counts, null arrays. Data is read and written in
 * place; a call allocates nothing but what `init` has set aside.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
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
};

/* Samples of one call; 1 where there is no batch dimension. */
static int64_t rows_maximum(void) {
    return gradc_program.batch ? gradc_program.batch : 1;
}

/* The record of a run that has not begun. */
static int begin_record(struct gradc_library *library) {
    int status = gradc_record_open(&library->record, &gradc_program, &library->error);
    library->record.seed = library->seed;
    return status;
}

static int open_session(struct gradc_library *library, int64_t seed, int64_t threads) {
    const struct gradc_program *program = &gradc_program;
    int status = gradc_session_open(&library->session, program, threads, &library->error);
    if (status) {
        return status;
    }
    library->open = true;
    library->seed = seed;
    status = begin_record(library);
    if (status) {
        return status;
    }
    library->order = malloc((size_t)rows_maximum() * sizeof *library->order);
    library->results = gradc_results_allocate(program, 1);
    library->sums = calloc((size_t)program->result_count, sizeof *library->sums);
    library->outputs = calloc((size_t)program->output_count + 1, sizeof *library->outputs);
    if (!library->order || !library->results || !library->sums || !library->outputs) {
        return gradc_fail_memory(&library->error);
    }
    gradc_session_initialize(&library->session, seed);
    return GRADC_OK;
}

int gradc_library_init(struct gradc_library **library, int64_t seed, int64_t threads) {
    if (!library) {
        return GRADC_BAD_ARGUMENT;
    }
    *library = calloc(1, sizeof **library);
    return *library ? open_session(*library, seed, threads) : GRADC_BAD_FILE;
}

void gradc_library_free(struct gradc_library *library) {
    if (!library) {
        return;
    }
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
    if (!library) {
        return GRADC_BAD_ARGUMENT;
    }
    if (!library->outputs) {
        return gradc_fail(&library->error, GRADC_BAD_ARGUMENT, "this session was not opened");
    }
    if (rows < 1 || rows > most) {
        return gradc_fail(&library->error, GRADC_BAD_ARGUMENT,
                          "rows is %lld, out of 1 to %lld", (long long)rows, (long long)most);
    }
    const struct gradc_reads *reads = &gradc_program.reads[kind];
    for (int64_t n = 0; n < reads->count; n++) {
        if (!inputs[reads->inputs[n]]) {
            return gradc_fail(&library->error, GRADC_BAD_ARGUMENT, "input %s is null",
                              gradc_program.inputs[reads->inputs[n]].name);
        }
    }
    int status = GRADC_OK;
    for (int64_t n = 0; !status && n < reads->count; n++) {
        int64_t input = reads->inputs[n];
        status = gradc_ranges_check(&gradc_program, kind, input, inputs[input], rows,
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

int gradc_library_step(struct gradc_library *library, int64_t rows, const void *const *inputs,
                       double *results) {
    int status = check_call(library, GRADC_RUN, rows, rows_maximum(), inputs);
    if (status) {
        return status;
    }
    gradc_session_run(&library->session, GRADC_RUN, inputs, order_from(library, 0), 1, rows,
                      library->results);
    for (int64_t k = 0; results && k < gradc_program.result_count; k++) {
        results[k] = gradc_result(&gradc_program, library->results, k, 0);
    }
    return GRADC_OK;
}

int gradc_library_evaluate(struct gradc_library *library, int64_t rows, const void *const *inputs,
                           double *results) {
    int64_t most = gradc_program.batch ? INT64_MAX / 8 : 1, done = 0;
    int status = check_call(library, GRADC_EVALUATE, rows, most, inputs);
    if (status) {
        return status;
    }
    if (!results) {
        return gradc_fail(&library->error, GRADC_BAD_ARGUMENT, "results is null");
    }
    memset(library->sums, 0, (size_t)gradc_program.result_count * sizeof *library->sums);
    while (done < rows) {
        int64_t batch = rows - done < rows_maximum() ? rows - done : rows_maximum();
        gradc_session_run(&library->session, GRADC_EVALUATE, inputs, order_from(library, done), 1,
                          batch, library->results);
        for (int64_t k = 0; k < gradc_program.result_count; k++) {
            double value = gradc_result(&gradc_program, library->results, k, 0);
            library->sums[k] += value * (double)batch;
        }
        done += batch;
    }
    for (int64_t k = 0; k < gradc_program.result_count; k++) {
        results[k] = library->sums[k] / (double)rows;
    }
    return GRADC_OK;
}

int gradc_library_predict(struct gradc_library *library, int64_t rows, const void *const *inputs,
                          void *const *outputs) {
    bool inner = false; /* an output whose batch axis is not the first is made in one batch alone */
    for (int64_t k = 0; k < gradc_program.output_count; k++) {
        inner = inner || gradc_program.outputs[k].batch_axis > 0;
    }
    int64_t most = gradc_program.batch && !inner ? INT64_MAX / 8 : rows_maximum(), done = 0;
    int status = check_call(library, GRADC_PREDICT, rows, most, inputs);
    if (status) {
        return status;
    }
    for (int64_t k = 0; k < gradc_program.output_count; k++) {
        if (!outputs[k]) {
            return gradc_fail(&library->error, GRADC_BAD_ARGUMENT, "output %s is null",
                              gradc_program.outputs[k].name);
        }
        library->outputs[k] = outputs[k];
    }
    while (done < rows) {
        int64_t batch = rows - done < rows_maximum() ? rows - done : rows_maximum();
        gradc_session_run(&library->session, GRADC_PREDICT, inputs, order_from(library, done), 1,
                          batch, library->outputs);
        for (int64_t k = 0; k < gradc_program.output_count; k++) {
            if (gradc_program.outputs[k].batch_axis == 0) {
                int64_t moved = gradc_field_bytes(&gradc_program.outputs[k], 0, batch);
                library->outputs[k] = (char *)library->outputs[k] + moved;
            }
        }
        done += batch;
    }
    return GRADC_OK;
}

/* A path for a session that is open. */
static int check_path(struct gradc_library *library, const char *path) {
    if (!library) {
        return GRADC_BAD_ARGUMENT;
    }
    if (!library->outputs || !path) {
        return gradc_fail(&library->error, GRADC_BAD_ARGUMENT,
                          path ? "this session was not opened" : "path is null");
    }
    return GRADC_OK;
}

int gradc_library_save(struct gradc_library *library, const char *path) {
    int status = check_path(library, path);
    if (status) {
        return status;
    }
    return gradc_checkpoint_write(path, false, library->session.state, NULL, &library->record,
                                  &library->error);
}

int gradc_library_load(struct gradc_library *library, const char *path) {
    int status = check_path(library, path);
    if (status) {
        return status;
    }
    struct gradc_record before = library->record;
    status = begin_record(library);
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

int gradc_library_set_rate(struct gradc_library *library, double rate) {
    if (!library) {
        return GRADC_BAD_ARGUMENT;
    }
    int64_t state = gradc_program.rate_state;
    if (!library->outputs || state < 0) {
        return gradc_fail(&library->error, GRADC_BAD_ARGUMENT,
                          state < 0 ? "the learning rate of this program is fixed"
                                    : "this session was not opened");
    }
    if (!(rate >= 0) || !isfinite(rate)) {
        return gradc_fail(&library->error, GRADC_BAD_ARGUMENT,
                          "a learning rate is a finite number >= 0");
    }
    gradc_state_set(&gradc_program.state[state], library->session.state, 0, 1, &rate);
    return GRADC_OK;
}

const char *gradc_library_error(const struct gradc_library *library) {
    return library ? library->error.text : "out of memory, or no session";
}
