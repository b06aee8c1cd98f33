/* Predictions; what Trainer.predict is in runtime/trainer.py, for the first output.
 *
 * Rows are written as they come. Where other axes stand before the batch axis, the data is gone
 * over once for each of their places, so that nothing has to be kept. An output of a batch
 * that has no batch axis is that of one batch alone.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "checkpoint.h"
#include "dataset.h"
#include "npy.h"
#include "predict.h"
#include "signals.h"

struct prediction {
    struct gradc_session *session;
    struct gradc_error *error;
    int64_t *order; /* of one batch */
    void **outputs; /* of one batch */
    struct gradc_dataset data;
    struct gradc_writer writer;
};

static int allocate_prediction(struct prediction *prediction) {
    prediction->order = calloc((size_t)gradc_program.batch + 1, sizeof *prediction->order);
    prediction->outputs = calloc((size_t)gradc_program.output_count, sizeof *prediction->outputs);
    bool failed = !prediction->order || !prediction->outputs;
    for (int64_t k = 0; !failed && k < gradc_program.output_count; k++) {
        int64_t bytes = gradc_field_bytes(&gradc_outputs[k], 0, gradc_program.batch);
        prediction->outputs[k] = calloc(1, (size_t)bytes + 1);
        failed = !prediction->outputs[k];
    }
    return failed ? gradc_fail_memory(prediction->error) : GRADC_OK;
}

static int write_header(struct prediction *prediction) {
    const struct gradc_field *field = &gradc_outputs[0];
    int64_t shape[GRADC_MAX_RANK];
    struct gradc_text header = {0};
    for (int axis = 0; axis < field->rank; axis++) {
        shape[axis] = axis == field->batch_axis ? prediction->data.samples
                                                : gradc_numbers[field->shape + (uint32_t)axis];
    }
    gradc_npy_header(&header, field->dtype, field->rank, shape);
    int status = header.failed
                     ? gradc_fail_memory(prediction->error)
                     : gradc_writer_add(&prediction->writer, header.data, header.length);
    gradc_text_free(&header);
    return status;
}

/* Predict all samples, and write what belongs to one place of the axes before the batch axis. */
static int write_place(struct prediction *prediction, int64_t place) {
    const struct gradc_field *field = &gradc_outputs[0];
    int axis = field->batch_axis < 0 ? 0 : field->batch_axis;
    int64_t bytes = gradc_field_bytes(field, axis, gradc_program.batch);
    int64_t samples = gradc_program.batch ? prediction->data.samples : 1;
    int64_t batch = gradc_program.batch ? gradc_program.batch : 1;
    const char *output = (const char *)prediction->outputs[0] + place * bytes;
    for (int64_t first = 0; first < samples; first += batch) {
        int64_t rows = samples - first < batch ? samples - first : batch;
        for (int64_t i = 0; gradc_program.batch && i < rows; i++) {
            prediction->order[i] = first + i;
        }
        gradc_session_run(prediction->session, GRADC_PREDICT, prediction->data.arrays,
                          prediction->order, false, 1, rows, prediction->outputs);
        if (field->batch_axis >= 0 || first + rows == samples) {
            int64_t valid = field->batch_axis < 0 ? bytes : bytes / batch * rows;
            int status = gradc_writer_add(&prediction->writer, output, (size_t)valid);
            if (status) {
                return status;
            }
        }
        if (gradc_signals_received()) {
            return gradc_fail(prediction->error, GRADC_ON_STOP
                              "stopped by %s; nothing was written", gradc_signals_received());
        }
    }
    return GRADC_OK;
}

static int write_output(struct prediction *prediction, const char *path) {
    const struct gradc_field *field = &gradc_outputs[0];
    if (field->of_batch && prediction->data.samples > gradc_program.batch) {
        return gradc_fail(prediction->error, GRADC_IN_ARGUMENTS
                          "--predict: output '%s' has no batch axis: it is a value of one batch of "
                          "at most %" PRId64 " samples, not of %" PRId64,
                          gradc_string(field->name), gradc_program.batch, prediction->data.samples);
    }
    int64_t places = 1;
    int status = gradc_writer_open(&prediction->writer, path, prediction->error);
    if (status) {
        return status;
    }
    gradc_signals_unfinished(prediction->writer.partial);
    status = write_header(prediction);
    for (int axis = 0; axis < field->batch_axis; axis++) {
        places *= gradc_numbers[field->shape + (uint32_t)axis];
    }
    for (int64_t place = 0; !status && place < places; place++) {
        status = write_place(prediction, place);
    }
    gradc_signals_unfinished(NULL);
    if (status) {
        gradc_writer_abandon(&prediction->writer);
        return status;
    }
    return gradc_writer_commit(&prediction->writer, false);
}

int gradc_predict(struct gradc_session *session, const struct gradc_options *options,
                  struct gradc_error *error) {
    struct prediction prediction = {.session = session, .error = error};
    if (!gradc_program.output_count || !gradc_dtypes[gradc_outputs[0].dtype].npy_name[0]) {
        return gradc_fail(error, GRADC_IN_ARGUMENTS
                          "--predict: this program has no output that .npy can hold");
    }
    int status = gradc_dataset_open(&prediction.data, options->data, "--data",
                                    GRADC_PREDICT, error);
    if (!status) {
        gradc_signals_reading(options->checkpoint);
        status = gradc_checkpoint_load(session, options->checkpoint, options->seed, false, NULL,
                                       error);
        gradc_signals_reading(NULL);
    }
    int64_t seed = gradc_program.seed_state; /* of the random numbers of the model */
    if (options->has_seed && seed >= 0) {
        gradc_state_set(&gradc_states[seed], gradc_session_change(session), 0, 1,
                        &options->seed);
    }
    if (!status) {
        gradc_session_hold(session, prediction.data.arrays, prediction.data.samples);
        status = allocate_prediction(&prediction);
    }
    if (!status) {
        status = write_output(&prediction, options->predict);
    }
    for (int64_t k = 0; prediction.outputs && k < gradc_program.output_count; k++) {
        free(prediction.outputs[k]);
    }
    free(prediction.outputs);
    free(prediction.order);
    gradc_dataset_close(&prediction.data);
    return status;
}
