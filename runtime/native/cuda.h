/* Entry points as launch tables, run on a device of CUDA: only in binaries that are built for one.
 *
 * The tables say what compiler/launches.py says, in the parts of compiler/launch_parts.py; the
 * program and its data are those of any binary. A failure of the device while the program runs ends
 * the process with a message and GRADC_BAD_FILE: what was trained since the last checkpoint is on
 * the device, and lost with it.
 */
#ifndef GRADC_CUDA_H
#define GRADC_CUDA_H

#include "session.h"

enum gradc_cuda_memory {
    GRADC_CUDA_STATE,
    GRADC_CUDA_ARENA,
    GRADC_CUDA_INPUT,
    GRADC_CUDA_OUTPUT,
    GRADC_CUDA_CONSTANT,
    GRADC_CUDA_TABLE,
    GRADC_CUDA_ORDER,
    GRADC_CUDA_FRAME,
    GRADC_CUDA_NUMBER, /* no place: `offset` is a number of 32 bits */
};

/* What a kernel is given, or where a flag or a count is. */
struct gradc_cuda_argument {
    int64_t offset; /* bytes from the begin of the memory */
    int32_t number; /* which input, output or constant */
    int32_t memory; /* enum gradc_cuda_memory */
};

struct gradc_cuda_function {
    const char *name;
    int32_t module, threads, shared_bytes;
};

struct gradc_cuda_launch {
    const char *kernel;
    int32_t function;
    uint32_t grid[3];
    int32_t arguments, count; /* the first one's index, and how many */
    int32_t scratch;          /* whether it needs scratch memory */
};

/* What the host does, as words:
 *
 *     STRAIGHT graph words work...          work: LAUNCH number | SET slot value
 *     REPEAT counter extent count count_bytes per_row words body...
 *     WHILE flag counter extent words body...
 *     IF flag words otherwise_words then... otherwise...
 *
 * `graph` numbers the straight parts; `count` and `flag` are indices of arguments, -1: none; per_row
 * is 0 where rows do not bound the loop; `words` is how many follow. */
enum gradc_cuda_word {
    GRADC_CUDA_STRAIGHT,
    GRADC_CUDA_REPEAT,
    GRADC_CUDA_WHILE,
    GRADC_CUDA_IF,
    GRADC_CUDA_LAUNCH,
    GRADC_CUDA_SET,
};

struct gradc_cuda_body {
    const int64_t *words;
    int64_t length;
};

struct gradc_cuda_entry {
    const struct gradc_cuda_function *functions;
    const struct gradc_cuda_launch *launches;
    const struct gradc_cuda_argument *arguments;
    const int64_t *output_bytes;
    const unsigned char *constants; /* the table's own */
    struct gradc_cuda_body before, step, after;
    int64_t constants_bytes, rows_maximum, frame_slots, arena_bytes, scratch_bytes;
    int32_t function_count, launch_count, argument_count, output_count, graph_count;
    int32_t kind; /* enum gradc_kind: whose inputs it reads */
    int32_t steps_slot; /* see compiler/launches.py; -1: each step is run by itself */
};

/* The tables for one architecture. `modules` are cubins. */
struct gradc_cuda_version {
    const char *architecture;
    int32_t major, minor;
    bool exact; /* its code runs on this version alone, not on later ones of its major */
    int32_t module_count;
    const unsigned char *const *modules;
    const struct gradc_cuda_entry *entries; /* GRADC_ENTRIES */
};

#pragma GCC visibility push(hidden)
extern const struct gradc_cuda_version gradc_cuda_versions[]; /* as gradc_codes */
extern const int64_t gradc_constant_bytes[];
#pragma GCC visibility pop

struct gradc_cuda;

/* The device, and the program on it; null with a message. */
struct gradc_cuda *gradc_cuda_open(struct gradc_session *session, struct gradc_error *error);
void gradc_cuda_close(struct gradc_cuda *cuda);

/* Run steps of an entry point, as the function that stands in its place on a CPU. */
void gradc_cuda_run(struct gradc_cuda *cuda, int entry, const struct gradc_arguments *arguments);

/* ---------------------------------------------------------------- the driver */

typedef uint64_t gradc_cuda_address;

/* The driver's functions, by the names of its header; each gives a status. */
struct gradc_cuda_driver {
    int (*cuInit)(unsigned);
    int (*cuDriverGetVersion)(int *);
    int (*cuDeviceGet)(int *, int);
    int (*cuDeviceGetName)(char *, int, int);
    int (*cuDeviceGetAttribute)(int *, int, int);
    int (*cuDevicePrimaryCtxRetain)(void **, int);
    int (*cuDevicePrimaryCtxRelease)(int);
    int (*cuCtxPushCurrent)(void *);
    int (*cuCtxPopCurrent)(void **);
    int (*cuGetErrorName)(int, const char **);
    int (*cuGetErrorString)(int, const char **);
    int (*cuModuleLoadData)(void **, const void *);
    int (*cuModuleUnload)(void *);
    int (*cuModuleGetFunction)(void **, void *, const char *);
    int (*cuFuncSetAttribute)(void *, int, int);
    int (*cuMemAlloc)(gradc_cuda_address *, size_t);
    int (*cuMemFree)(gradc_cuda_address);
    int (*cuMemGetInfo)(size_t *, size_t *);
    int (*cuMemAllocHost)(void **, size_t);
    int (*cuMemFreeHost)(void *);
    int (*cuMemcpyHtoDAsync)(gradc_cuda_address, const void *, size_t, void *);
    int (*cuMemcpyDtoHAsync)(void *, gradc_cuda_address, size_t, void *);
    int (*cuMemsetD8Async)(gradc_cuda_address, unsigned char, size_t, void *);
    int (*cuMemsetD32Async)(gradc_cuda_address, unsigned, size_t, void *);
    int (*cuStreamCreate)(void **, unsigned);
    int (*cuStreamDestroy)(void *);
    int (*cuStreamSynchronize)(void *);
    int (*cuStreamBeginCapture)(void *, int);
    int (*cuStreamEndCapture)(void *, void **);
    int (*cuGraphInstantiateWithFlags)(void **, void *, unsigned long long);
    int (*cuGraphLaunch)(void *, void *);
    int (*cuGraphDestroy)(void *);
    int (*cuGraphExecDestroy)(void *);
    int (*cuLaunchKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                          unsigned, void *, void **, void **);
};

/* A device of the driver, its primary context and a stream. */
struct gradc_cuda_device {
    struct gradc_cuda_driver call;
    void *context, *stream;
    int number, major, minor, shared_bytes;
    char name[256];
};

/* Find the driver and open its first device, with the context current. */
int gradc_cuda_device_open(struct gradc_cuda_device *device, struct gradc_error *error);
void gradc_cuda_device_close(struct gradc_cuda_device *device);

/* Leave the driver's words for a status that is none of success. */
int gradc_cuda_fail(const struct gradc_cuda_device *device, int status, const char *function,
                    struct gradc_error *error);
/* Memory of the device, for what the message says if there is none. */
int gradc_cuda_allocate(const struct gradc_cuda_device *device, gradc_cuda_address *address,
                        int64_t size, const char *what, struct gradc_error *error);

/* ---------------------------------------------------------------- for cuda.c and cuda_run.c */

/* An array of the host's memory that stays on the device. */
struct gradc_cuda_held {
    const void *array;
    gradc_cuda_address address;
};

/* One entry point in use. */
struct gradc_cuda_call {
    void **functions;
    uint64_t *values;  /* all parameters, eight bytes each */
    void **parameters; /* their addresses */
    void **graphs;     /* by straight part; null: none was made */
    bool *met;         /* straight parts that have run */
    gradc_cuda_address frame, constants, order;
    gradc_cuda_address *inputs, *outputs;
    int64_t order_bytes, lines, lines_rows;
    int64_t *output_bytes; /* room of each */
    int64_t *line;         /* pinned: what the frame takes before each step */
    bool ready, packed, lines_same;
};

struct gradc_cuda {
    struct gradc_cuda_device device;
    struct gradc_session *session;
    const struct gradc_cuda_version *version;
    void **modules;
    gradc_cuda_address state, arena, *constants;
    int64_t arena_bytes;
    struct gradc_cuda_held *held;
    int64_t held_count;
    struct gradc_cuda_call calls[GRADC_ENTRIES];
    unsigned char *flag; /* pinned: what is read back */
    bool host_is_newer, device_is_newer;
};

/* Steps that fail end the process: see above. */
void gradc_cuda_check(const struct gradc_cuda *cuda, int status, const char *function);
#define GRADC_CUDA_CALL(cuda, function, ...) \
    gradc_cuda_check(cuda, (cuda)->device.call.function(__VA_ARGS__), #function)

void *gradc_cuda_zeroed(int64_t count, size_t size);
gradc_cuda_address gradc_cuda_room(const struct gradc_cuda *cuda, int64_t size, const char *what);
/* Pinned memory of the host, zeroed. */
void *gradc_cuda_pinned(const struct gradc_cuda *cuda, size_t size);
void gradc_cuda_upload(const struct gradc_cuda *cuda, gradc_cuda_address to, const void *from,
                       int64_t size);
void gradc_cuda_download(const struct gradc_cuda *cuda, void *to, gradc_cuda_address from,
                         int64_t size);
/* Where an array lies that the session holds. */
gradc_cuda_address gradc_cuda_held_address(const struct gradc_cuda *cuda, const void *array);

/* The arena, and where the scratch memory of a launch begins in it. */
static inline int64_t gradc_cuda_scratch_offset(const struct gradc_cuda_entry *entry) {
    return (entry->arena_bytes + 255) / 256 * 256;
}

#endif
