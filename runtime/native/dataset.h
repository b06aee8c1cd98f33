/* Data sets: one .npy file per input, checked against the program's declarations. */
#ifndef GRADC_DATASET_H
#define GRADC_DATASET_H

#include "file.h"
#include "program.h"
#include "text.h"

struct gradc_dataset {
    const void **arrays; /* one per input of the program, null where it was left out */
    int64_t samples;     /* 0 without a batch dimension */
    int64_t inputs;
    struct gradc_array *owned;
};

/* Map the files, and convert those of another width or byte order into memory.
 *
 * paths   one per input, or null
 * option  what the user calls them in messages: "--data"
 * kind    the entry point that reads them: its inputs must be there; GRADC_RUN: all
 */
int gradc_dataset_open(struct gradc_dataset *data, const char *const *paths, const char *option,
                       enum gradc_kind kind, struct gradc_error *error);
/* Rows will be read in no order: around one of them nothing more need be read from a disk. */
void gradc_dataset_shuffled(const struct gradc_dataset *data);
void gradc_dataset_close(struct gradc_dataset *data);

#endif
