/* The order in which an epoch visits its samples; defined, bit for bit, in runtime/shuffle.py. */
#ifndef GRADC_SHUFFLE_H
#define GRADC_SHUFFLE_H

#include "common.h"

#define GRADC_SHUFFLE_ROUNDS 12
#define GRADC_SHUFFLE_MAXIMUM ((int64_t)1 << 32) /* samples */

/* The permutation of one epoch. */
struct gradc_shuffle {
    uint32_t keys[GRADC_SHUFFLE_ROUNDS];
    int half_bits;
    int64_t samples; /* 1..GRADC_SHUFFLE_MAXIMUM */
};

void gradc_shuffle_begin(struct gradc_shuffle *shuffle, int64_t samples, int64_t seed,
                         int64_t epoch);

/* Elements first .. first + count - 1 of the permutation. */
void gradc_shuffle_fill(const struct gradc_shuffle *shuffle, int64_t first, int64_t count,
                        int64_t *order);

#endif
