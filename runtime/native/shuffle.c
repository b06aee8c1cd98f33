/* The counter-based permutation of runtime/shuffle.py, where it is defined and its sources are.
 *
 * Any stretch of it is computed by itself, a block of values at a time: all values of the block go
 * through the network, those that leave the range go through it again. There is no state and no
 * table of the whole permutation.
 */
#include <string.h>

#include "shuffle.h"

#define STREAM 0x6f726472u
#define PHILOX_ROUNDS 10

/* Vectors are those of GCC and clang, so that no level of optimization is asked for. The compiled
 * programs need AVX2 on x86-64 anyway, and a session checks for it. */
#if defined(__x86_64__)
#define VECTOR_CODE __attribute__((target("avx2")))
#else
#define VECTOR_CODE
#endif

#define LANES 8
typedef uint32_t vector __attribute__((vector_size(4 * LANES), may_alias));

/* Vectors that go through the network together: one alone would wait for its multiplications. */
#define TOGETHER 4
#define BLOCK 512 /* values; a multiple of LANES * TOGETHER */

/* Philox4x32-10 of (epoch, block, STREAM) under the key `seed`. */
static void philox(uint32_t words[4], uint64_t seed, uint64_t epoch, uint32_t block) {
    uint32_t c0 = (uint32_t)epoch, c1 = (uint32_t)(epoch >> 32), c2 = block, c3 = STREAM;
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)c0 * 0xd2511f53u, p1 = (uint64_t)c2 * 0xcd9e8d57u;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

void gradc_shuffle_begin(struct gradc_shuffle *shuffle, int64_t samples, int64_t seed,
                         int64_t epoch) {
    shuffle->samples = samples;
    shuffle->half_bits = 1;
    while ((int64_t)1 << (2 * shuffle->half_bits) < samples) {
        shuffle->half_bits++;
    }
    for (uint32_t block = 0; block < GRADC_SHUFFLE_ROUNDS / 4; block++) {
        philox(shuffle->keys + 4 * block, (uint64_t)seed, (uint64_t)epoch, block);
    }
}

/* Send the vectors of a block, up to the one that holds value count - 1, through the network. */
VECTOR_CODE static void permute(const struct gradc_shuffle *shuffle, vector *values, int count) {
    const int half = shuffle->half_bits;
    const uint32_t mask = (1u << half) - 1;
    for (int i = 0; i < count; i += LANES * TOGETHER, values += TOGETHER) {
        vector left[TOGETHER], right[TOGETHER];
#pragma GCC unroll 4
        for (int j = 0; j < TOGETHER; j++) {
            left[j] = values[j] >> half;
            right[j] = values[j] & mask;
        }
        for (int round = 0; round < GRADC_SHUFFLE_ROUNDS; round++) {
            const uint32_t key = shuffle->keys[round];
#pragma GCC unroll 4
            for (int j = 0; j < TOGETHER; j++) {
                vector mixed = (right[j] + key) * 0x7feb352du;
                mixed = (mixed ^ mixed >> 15) * 0x846ca68bu >> (32 - half) ^ left[j];
                left[j] = right[j];
                right[j] = mixed;
            }
        }
#pragma GCC unroll 4
        for (int j = 0; j < TOGETHER; j++) {
            values[j] = left[j] << half | right[j];
        }
    }
}

/* Write the values to their places and keep those that are outside the range. Returns how many. */
static int settle(uint32_t *values, uint16_t *places, int count, int64_t samples, int64_t *order) {
    int outside = 0;
    for (int i = 0; i < count; i++) {
        uint32_t value = values[i];
        uint16_t place = places[i];
        order[place] = value;
        values[outside] = value;
        places[outside] = place;
        outside += value >= samples;
    }
    return outside;
}

void gradc_shuffle_fill(const struct gradc_shuffle *shuffle, int64_t first, int64_t count,
                        int64_t *order) {
    union {
        vector vectors[BLOCK / LANES];
        uint32_t values[BLOCK];
    } block;
    uint16_t places[BLOCK];
    memset(&block, 0, sizeof block);
    for (; count > 0; first += BLOCK, count -= BLOCK, order += BLOCK) {
        int left = count < BLOCK ? (int)count : BLOCK;
        for (int i = 0; i < left; i++) {
            block.values[i] = (uint32_t)(first + i);
            places[i] = (uint16_t)i;
        }
        while (left > 0) {
            permute(shuffle, block.vectors, left);
            left = settle(block.values, places, left, shuffle->samples, order);
        }
    }
}
