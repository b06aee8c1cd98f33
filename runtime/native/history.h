/* The columns of a history as tensors of a file, "gradc.history/" and the column's name each. */
#ifndef GRADC_HISTORY_H
#define GRADC_HISTORY_H

#include "record.h"
#include "safetensors.h"

#define GRADC_HISTORY_PREFIX "gradc.history/"

/* Whether a tensor is a column. */
bool gradc_is_history(const struct gradc_tensor *tensor);

/* Fill the columns of a record that was read, and check all of them, whether the program has them
 * or not: each has its tensor, of as many numbers as are kept of its epochs, and each tensor its
 * column. `data` is the text that the record was read from. */
int gradc_history_read(struct gradc_record *record, const struct gradc_tensors *tensors,
                       const char *data, size_t length, struct gradc_error *error);

#endif
