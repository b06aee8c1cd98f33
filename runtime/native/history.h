/* The columns of a history as tensors of a file, "gradc.history/" and the column's name each. */
#ifndef GRADC_HISTORY_H
#define GRADC_HISTORY_H

#include "column.h"
#include "safetensors.h"

#define GRADC_HISTORY_PREFIX "gradc.history/"

/* Whether a tensor is a column. */
bool gradc_is_history(const struct gradc_tensor *tensor);

/* Fill an empty column, whose length is known, with the numbers of the tensor that has its name.
 * False if there is none, if it does not hold what is kept of so many epochs, or without memory. */
bool gradc_history_fill(struct gradc_column *column, const struct gradc_tensors *tensors,
                        const struct gradc_text *name);

#endif
