/* What inputs must hold: labels and indices are looked at before compiled code reads them. */
#ifndef GRADC_RANGES_H
#define GRADC_RANGES_H

#include "program.h"

/* The checks of runtime/index_ranges.py for one input, as one kind of entry point reads it.
 * samples: how long the batch axis is. */
int gradc_ranges_check(enum gradc_kind kind, int64_t input,
                       const void *array, int64_t samples, struct gradc_error *error);

#endif
