/* Kernels of a linear regression with three weights, for binaries that run on the stand-in: what a
 * device does in the launch tables of support_device_binary.py. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WEIGHTS 3

/* Parameter n as a place. */
static void *place(void *const *parameters, int n) {
    uint64_t address;
    memcpy(&address, parameters[n], sizeof address);
    return (void *)(uintptr_t)address;
}

#define KERNEL(its_name)                                                                           \
    int kernel_##its_name(const char *name, void *const *p, const uint32_t *sizes, int count,      \
                          const unsigned *grid, const unsigned *block)
#define UNUSED (void)name, (void)sizes, (void)count, (void)grid, (void)block

/* What is summed up in the arena. */
struct sums {
    int64_t flag, left; /* whether the weights are to be changed; rows that are to be done */
    float gradient[WEIGHTS], loss;
};

KERNEL(init) {
    UNUSED;
    memset(place(p, 0), 0, WEIGHTS * sizeof(float));
    *(double *)place(p, 1) = 0.1;
    return 0;
}

/* best: the worst number so far */
KERNEL(worst) {
    UNUSED;
    *(double *)place(p, 0) = (double)INFINITY;
    return 0;
}

/* watched, best, bad, rate: schedule.plateau(factor=0.5, patience=0, threshold=0.05) */
KERNEL(epoch) {
    UNUSED;
    double value = *(double *)place(p, 0), *best = place(p, 1), *bad = place(p, 2);
    bool better = value < *best * 0.95;
    *best = better ? value : *best;
    *(double *)place(p, 3) *= better ? 1 : 0.5;
    *bad = 0;
    return 0;
}

/* sums, frame, whether to train */
KERNEL(begin) {
    UNUSED;
    struct sums *sums = place(p, 0);
    int32_t trains;
    memcpy(&trains, p[2], sizeof trains);
    *sums = (struct sums){.flag = trains, .left = ((int64_t *)place(p, 1))[2]};
    return 0;
}

/* sums, frame, order, x, y, w: one row, that of the loop's counter */
KERNEL(row) {
    UNUSED;
    struct sums *sums = place(p, 0);
    const int64_t *frame = place(p, 1), *order = place(p, 2);
    int64_t row = order[frame[1] + frame[3]];
    const float *x = (const float *)place(p, 3) + row * WEIGHTS, *w = place(p, 5);
    float error = x[0] * w[0] + x[1] * w[1] + x[2] * w[2] - ((const float *)place(p, 4))[row];
    for (int n = 0; n < WEIGHTS; n++) {
        sums->gradient[n] += error * x[n];
    }
    sums->loss += error * error;
    sums->left--;
    return 0;
}

/* sums, frame, loss */
KERNEL(tell) {
    UNUSED;
    const struct sums *sums = place(p, 0);
    const int64_t *frame = place(p, 1);
    ((float *)place(p, 2))[frame[0]] = sums->loss / (float)frame[2];
    return 0;
}

/* sums, frame, w, rate, step */
KERNEL(update) {
    UNUSED;
    const struct sums *sums = place(p, 0);
    const int64_t *frame = place(p, 1);
    float *w = place(p, 2), rate = (float)*(double *)place(p, 3);
    for (int n = 0; n < WEIGHTS; n++) {
        w[n] -= rate * sums->gradient[n] * 2 / (float)frame[2];
    }
    ++*(int64_t *)place(p, 4);
    return 0;
}

/* sums, frame, order, x, y, w, loss, rate, step: as many steps as the frame says in slot 4, whose
 * sample numbers lie as far apart as slot 5 says */
KERNEL(steps) {
    UNUSED;
    const int64_t *given = place(p, 1);
    for (int64_t n = 0; n < given[4]; n++) {
        int64_t frame[4] = {given[0] + n, given[1] + n * given[5], given[2], 0};
        uint64_t here = (uint64_t)(uintptr_t)frame;
        int32_t trains = 1;
        void *const begun[] = {p[0], &here, &trains}, *const told[] = {p[0], &here, p[6]};
        void *const row[] = {p[0], &here, p[2], p[3], p[4], p[5]};
        void *const updated[] = {p[0], &here, p[5], p[7], p[8]};
        kernel_begin(name, begun, sizes, count, grid, block);
        for (frame[3] = 0; frame[3] < frame[2]; frame[3]++) {
            kernel_row(name, row, sizes, count, grid, block);
        }
        kernel_tell(name, told, sizes, count, grid, block);
        kernel_update(name, updated, sizes, count, grid, block);
    }
    return 0;
}

/* frame, order, x, w, constant, z: all rows */
KERNEL(predict) {
    UNUSED;
    const int64_t *frame = place(p, 0), *order = place(p, 1);
    const float *w = place(p, 3), one = *(const float *)place(p, 4);
    for (int64_t n = 0; n < frame[2]; n++) {
        const float *x = (const float *)place(p, 2) + order[n] * WEIGHTS;
        ((float *)place(p, 5))[n] = (x[0] * w[0] + x[1] * w[1] + x[2] * w[2]) * one;
    }
    return 0;
}
