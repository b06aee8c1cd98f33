/* The native reader of checkpoints, driven by the tests through pipes (hostile_files.py), for the
 * program of tests/fake_artifact.py. Nothing runs here: it has no code.
 *
 *     request    PURPOSE PATH\n    resume, load or parameters
 *     reply      LENGTH\n          then LENGTH bytes of JSON: {"status": 0, "error": ""}
 *
 * What is resumed from is written again, to PATH.again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"

const char gradc_strings[] = "layer.weight\0layer.bias\0momentum/layer.weight\0"
                             "gradc.seed\0gradc.step\0"
                             "loss\0error\0\"loss\"\0\"error\"\0\"validation_loss\"\0"
                             "\"validation_error\"\0fake";
const int64_t gradc_numbers[] = {0, 2, 3, 1, 0}; /* of a scalar, a weight, its order */

enum { WEIGHT = 1, BIAS = 1, TURNED = 3 };

const struct gradc_state_field gradc_states[] = {
    {0, 0, WEIGHT, TURNED, GRADC_FLOAT32, 2, 0, true},
    {64, 13, BIAS, 0, GRADC_FLOAT32, 1, 0, true},
    {128, 24, WEIGHT, TURNED, GRADC_FLOAT32, 2, 0, false},
    {192, 46, 0, 0, GRADC_INT64, 0, 0, false},
    {256, 57, 0, 0, GRADC_INT64, 0, 0, false},
};

const struct gradc_field gradc_results[] = {
    {68, 0, GRADC_FLOAT32, 0, -1, false},
    {73, 0, GRADC_FLOAT32, 0, -1, false},
};

const uint32_t gradc_column_keys[] = {79, 86, 94, 112};
const uint8_t gradc_columns_sorted[] = {1, 0, 3, 2};
const uint8_t gradc_divisors[] = {0, 0};

const struct gradc_program gradc_program = {
    .name = 131,
    .fingerprint = 131,
    .state_bytes = 320,
    .result_count = 2,
    .scalar_count = 2,
    .state_count = 5,
};

/* A session without code: state made anew is zero. */
void gradc_session_initialize(struct gradc_session *session, int64_t seed) {
    memset(session->state, 0, (size_t)gradc_program.state_bytes);
    (void)seed;
}

static int resume(const char *path, struct gradc_error *error) {
    unsigned char state[320] = {0}, best[320] = {0};
    struct gradc_checkpoint checkpoint;
    int status = gradc_checkpoint_open(&checkpoint, path, GRADC_RESUME, error);
    if (status) {
        return status;
    }
    bool has_best = gradc_checkpoint_has_best(&checkpoint);
    gradc_checkpoint_take(&checkpoint, false, state);
    if (has_best) {
        gradc_checkpoint_take(&checkpoint, true, best);
    }
    char *again = gradc_path_with(path, ".again");
    status = gradc_checkpoint_write(again, false, state, has_best ? best : NULL,
                                    &checkpoint.record, error);
    free(again);
    gradc_checkpoint_close(&checkpoint);
    return status;
}

static int load(const char *path, bool trained_only, struct gradc_error *error) {
    unsigned char state[320] = {0};
    struct gradc_session session = {.state = state};
    struct gradc_record record;
    int status = gradc_record_open(&record, error);
    if (!status) {
        status = gradc_checkpoint_load(&session, path, 0, trained_only, &record, error);
        gradc_record_free(&record);
    }
    return status;
}

int main(void) {
    char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        struct gradc_error error = {0};
        struct gradc_text reply = {0};
        line[strcspn(line, "\n")] = 0;
        char *path = strchr(line, ' ');
        *path++ = 0;
        int status = strcmp(line, "resume") == 0
                         ? resume(path, &error)
                         : load(path, strcmp(line, "parameters") == 0, &error);
        if (status != error.status) {
            abort();
        }
        gradc_text_print(&reply, "{\"status\":%d,\"error\":", status);
        gradc_text_json(&reply, error.text, strlen(error.text));
        gradc_text_add(&reply, "}");
        printf("%zu\n", reply.length);
        fwrite(reply.data, reply.length, 1, stdout);
        fflush(stdout);
        gradc_text_free(&reply);
    }
    return 0;
}
