/* The functions behind a generated header, for any program. */
#ifndef GRADC_LIBRARY_H
#define GRADC_LIBRARY_H

#include "program.h"

struct gradc_library;

GRADC_USED_OUTSIDE
int gradc_library_init(struct gradc_library **library, int64_t seed, int64_t threads);
GRADC_USED_OUTSIDE
void gradc_library_free(struct gradc_library *library);
/* inputs in the order of gradc_inputs; those that the entry point does not read may be null */
GRADC_USED_OUTSIDE
int gradc_library_step(struct gradc_library *library, int64_t rows, const void *const *inputs,
                       double *results);
GRADC_USED_OUTSIDE
int gradc_library_evaluate(struct gradc_library *library, int64_t rows, const void *const *inputs,
                           double *results);
GRADC_USED_OUTSIDE
int gradc_library_predict(struct gradc_library *library, int64_t rows, const void *const *inputs,
                          void *const *outputs);
GRADC_USED_OUTSIDE
int gradc_library_save(struct gradc_library *library, const char *path);
GRADC_USED_OUTSIDE
int gradc_library_load(struct gradc_library *library, const char *path);
GRADC_USED_OUTSIDE
int gradc_library_set_rate(struct gradc_library *library, double rate);
GRADC_USED_OUTSIDE
const char *gradc_library_error(const struct gradc_library *library);

#endif
