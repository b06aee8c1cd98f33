/* A stand-in for the CUDA driver on machines without one: what its parts share.
 *
 * "Device memory" is memory of the host with guards around it. What is put on a stream waits until
 * the stream is synchronised, as on a device: a host that frees or overwrites what the device is
 * still to read is found out. Kernels are functions of the test, called with the parameters that
 * the real driver would have copied. What the driver refuses is refused, with its status.
 *
 * Not modelled: time, several kernels at once, caches, what kernels do to each other.
 */
#ifndef STAND_IN_H
#define STAND_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CUresult */
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY_FOR_GPU = 209,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_FAILED = 719,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
};

#define PARAMETERS_MAXIMUM 512
#define NAME_BYTES 256

/* What a test may set, by `stand_in_set` or by an environment variable STAND_IN_<NAME>; and what it
 * may read, by `stand_in_get`. */
struct settings {
    long long architecture; /* 90: sm_90 */
    long long devices, version, memory_bytes, shared_bytes;
    long long clock_ns; /* what events read; a test's kernels move it on */
};
extern struct settings settings;

struct counts {
    long long blocks, block_bytes, pinned, modules, streams, graphs, execs, events, contexts; /* alive */
    long long launches, graph_launches, captures, faults;
    long long copied_to, copied_from; /* bytes, from and to the host */
};
extern struct counts counts;

struct function {
    char name[NAME_BYTES];
    int count;
    uint32_t sizes[PARAMETERS_MAXIMUM];
    int static_shared, dynamic_shared; /* the second: as much as a launch may ask for */
};

struct module {
    int count;
    struct function *functions;
};

/* A cubin, or a text that tests make up: see module.c. INVALID_IMAGE, NO_BINARY_FOR_GPU. */
int module_parse(struct module *module, const unsigned char *image);
void module_free(struct module *module);

/* memory.c */
int memory_allocate(uint64_t *address, size_t size);
int memory_free(uint64_t address);
bool memory_holds(uint64_t address, size_t size);
int memory_allocate_pinned(void **address, size_t size);
int memory_free_pinned(void *address);
bool memory_is_pinned(const void *address, size_t size);
/* ILLEGAL_ADDRESS where something was written beside a block. */
int memory_check_guards(void);

/* Note that something was done that a program must not do; the text of the last is kept. */
void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What runs instead of a kernel: 0, or anything else for a failure. Parameters are pointers to
 * copies, as the driver would hand them over. */
typedef int stand_in_kernel(const char *name, void *const *parameters, const uint32_t *sizes,
                            int count, const unsigned *grid, const unsigned *block);

#endif
