/* Histories in files; see history.h. What _columns is in runtime/checkpoint.py. */
#include "history.h"

#include <string.h>

#define PREFIX_LENGTH (sizeof GRADC_HISTORY_PREFIX - 1)

bool gradc_is_history(const struct gradc_tensor *tensor) {
    return gradc_begins(tensor, GRADC_HISTORY_PREFIX);
}

bool gradc_history_fill(struct gradc_column *column, const struct gradc_tensors *tensors,
                        const struct gradc_text *name) {
    const struct gradc_tensor *tensor = tensors->items, *end = tensor + tensors->count;
    while (tensor < end &&
           !(gradc_is_history(tensor) && tensor->name_length == PREFIX_LENGTH + name->length &&
             memcmp(tensor->name + PREFIX_LENGTH, name->data, name->length) == 0)) {
        tensor++;
    }
    if (tensor == end || tensor->dtype != GRADC_FLOAT64 || tensor->rank != 1 ||
        tensor->shape[0] != gradc_column_kept(column->length) ||
        !gradc_column_reserve(column, tensor->shape[0])) {
        return false;
    }
    if (tensor->bytes) {
        memcpy(column->values, tensor->data, tensor->bytes);
    }
    column->count = tensor->shape[0];
    column->thinned = column->length;
    return true;
}
