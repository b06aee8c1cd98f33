/* Histories in files; see history.h. What _columns is in runtime/checkpoint.py. */
#include "history.h"

#include <string.h>

#include "json.h"

#define PREFIX_LENGTH (sizeof GRADC_HISTORY_PREFIX - 1)

bool gradc_is_history(const struct gradc_tensor *tensor) {
    return gradc_begins(tensor, GRADC_HISTORY_PREFIX);
}

/* The tensor of the column with this name, if it holds what is kept of so many epochs, or null. */
static const struct gradc_tensor *find(const struct gradc_tensors *tensors,
                                       const struct gradc_text *name, int64_t epochs) {
    for (size_t n = 0; n < tensors->count; n++) {
        const struct gradc_tensor *tensor = &tensors->items[n];
        if (gradc_is_history(tensor) && tensor->name_length == PREFIX_LENGTH + name->length &&
            memcmp(tensor->name + PREFIX_LENGTH, name->data, name->length) == 0) {
            bool fits = tensor->dtype == GRADC_FLOAT64 && tensor->rank == 1 &&
                        tensor->shape[0] == gradc_column_kept(epochs);
            return fits ? tensor : NULL;
        }
    }
    return NULL;
}

static bool fill(struct gradc_column *column, const struct gradc_tensor *tensor) {
    if (!gradc_column_reserve(column, tensor->shape[0])) {
        return false;
    }
    if (tensor->bytes) {
        memcpy(column->values, tensor->data, tensor->bytes);
    }
    column->count = tensor->shape[0];
    column->thinned = column->length;
    return true;
}

/* The value of the key `history`. Returns how many columns it has, or -1: one does not fit. */
static int64_t read_columns(struct gradc_record *record, const struct gradc_tensors *tensors,
                            struct gradc_json *json) {
    struct gradc_text name = {0};
    int64_t columns = 0, epochs;
    for (gradc_json_object(json); columns >= 0 && gradc_json_key(json, &name);) {
        const struct gradc_tensor *tensor =
            gradc_json_integer(json, &epochs) ? find(tensors, &name, epochs) : NULL;
        struct gradc_column *column = gradc_record_column(record, name.data, name.length);
        columns = tensor && (!column || fill(column, tensor)) ? columns + 1 : -1;
    }
    gradc_text_free(&name);
    return columns;
}

int gradc_history_read(struct gradc_record *record, const struct gradc_tensors *tensors,
                       const char *data, size_t length, struct gradc_error *error) {
    struct gradc_json json;
    struct gradc_text key = {0};
    int64_t columns = 0, there = 0;
    gradc_json_open(&json, data, length);
    for (gradc_json_object(&json); columns >= 0 && gradc_json_key(&json, &key);) {
        if (key.length == 7 && memcmp(key.data, "history", 7) == 0) {
            columns = read_columns(record, tensors, &json);
        } else {
            gradc_json_skip(&json);
        }
    }
    gradc_text_free(&key);
    for (size_t n = 0; n < tensors->count; n++) {
        there += gradc_is_history(&tensors->items[n]);
    }
    return columns == there ? GRADC_OK : gradc_fail_position("history", error);
}
