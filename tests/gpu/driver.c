/* The driver's functions; see stand_in.h. */
#define _POSIX_C_SOURCE 200809L
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "work.h"

struct settings settings = {90, 1, 12080, 1LL << 30, 232448, 0};
struct counts counts;

#define CONTEXTS_MAXIMUM 64
static _Thread_local void *contexts[CONTEXTS_MAXIMUM];
static _Thread_local int depth;
static char primary; /* its address is the context's handle */
static bool initialized;
static int failed; /* a failure on the device stays, as it does with the real driver */
static struct stream *capturing;
static char last_fault[512];

void fault(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_fault, sizeof last_fault, format, arguments);
    va_end(arguments);
    counts.faults++;
    if (getenv("STAND_IN_LOUD")) {
        fprintf(stderr, "stand-in: %s\n", last_fault);
    }
}

/* ---------------------------------------------------------------- for tests */

struct named {
    const char *name;
    long long *value;
};
#define SETTING(name) {#name, &settings.name}
#define COUNT(name) {#name, &counts.name}
static const struct named numbers[] = {
    SETTING(architecture), SETTING(devices), SETTING(version), SETTING(memory_bytes),
    SETTING(shared_bytes), SETTING(clock_ns),
    COUNT(blocks), COUNT(block_bytes), COUNT(pinned), COUNT(modules), COUNT(streams),
    COUNT(graphs), COUNT(execs), COUNT(events), COUNT(contexts), COUNT(launches),
    COUNT(graph_launches), COUNT(captures), COUNT(faults), COUNT(copied_to), COUNT(copied_from),
};
#define NUMBERS (sizeof numbers / sizeof *numbers)

static long long *find(const char *name) {
    for (size_t n = 0; n < NUMBERS; n++) {
        if (!strcmp(numbers[n].name, name)) {
            return numbers[n].value;
        }
    }
    fault("there is no number %s", name);
    return NULL;
}

void stand_in_set(const char *name, long long value) {
    long long *found = find(name);
    if (found) {
        *found = value;
    }
}

long long stand_in_get(const char *name) {
    const long long *found = find(name);
    return found ? *found : -1;
}

const char *stand_in_last_fault(void) {
    return last_fault;
}

void stand_in_use(stand_in_kernel *handler) {
    stand_in_handler = handler;
}

static void read_environment(void) {
    for (size_t n = 0; n < NUMBERS; n++) {
        char variable[64] = "STAND_IN_";
        size_t length = strlen(variable);
        for (const char *at = numbers[n].name; *at; at++) {
            variable[length++] = (char)(*at >= 'a' && *at <= 'z' ? *at - 32 : *at);
        }
        variable[length] = 0;
        const char *value = getenv(variable);
        if (value) {
            *numbers[n].value = atoll(value);
        }
    }
}

/* A program that was run by itself says at its end what it left behind. */
__attribute__((destructor)) static void report(void) {
    const char *path = getenv("STAND_IN_REPORT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        for (size_t n = 0; n < NUMBERS; n++) {
            fprintf(file, "%s %lld\n", numbers[n].name, *numbers[n].value);
        }
        fprintf(file, "fault %s\n", last_fault);
        fclose(file);
    }
}

/* ---------------------------------------------------------------- start, errors, contexts */

int cuInit(unsigned flags) {
    if (!initialized) {
        read_environment();
    }
    initialized = true;
    return flags ? INVALID_VALUE : settings.devices ? SUCCESS : NO_DEVICE;
}

int cuDriverGetVersion(int *version) {
    *version = (int)settings.version;
    return SUCCESS;
}

static const struct {
    int status;
    const char *name, *meaning;
} errors[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
};

static int tell(int status, bool name, const char **text) {
    for (size_t n = 0; n < sizeof errors / sizeof *errors; n++) {
        if (errors[n].status == status) {
            *text = name ? errors[n].name : errors[n].meaning;
            return SUCCESS;
        }
    }
    *text = NULL;
    return INVALID_VALUE;
}

int cuGetErrorName(int status, const char **text) {
    return tell(status, true, text);
}

int cuGetErrorString(int status, const char **text) {
    return tell(status, false, text);
}

int cuDeviceGetCount(int *count) {
    *count = (int)settings.devices;
    return initialized ? SUCCESS : NOT_INITIALIZED;
}

int cuDeviceGet(int *device, int number) {
    *device = number;
    return number < 0 || number >= settings.devices ? INVALID_DEVICE : SUCCESS;
}

int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, (size_t)size, "stand-in device %d", device);
    return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    switch (attribute) {
    case 75:
        *value = (int)(settings.architecture / 10);
        break;
    case 76:
        *value = (int)(settings.architecture % 10);
        break;
    case 97:
        *value = (int)settings.shared_bytes;
        break;
    default:
        fault("the stand-in does not know device attribute %d", attribute);
        return INVALID_VALUE;
    }
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    (void)device;
    counts.contexts++;
    *context = &primary;
    return SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    if (!counts.contexts) {
        fault("the primary context was released more often than retained");
        return INVALID_CONTEXT;
    }
    counts.contexts--;
    return SUCCESS;
}

int cuCtxPushCurrent_v2(void *context) {
    if (context != &primary || !counts.contexts || depth == CONTEXTS_MAXIMUM) {
        return INVALID_CONTEXT;
    }
    contexts[depth++] = context;
    return SUCCESS;
}

int cuCtxPopCurrent_v2(void **context) {
    if (!depth) {
        fault("a context was popped that was not pushed");
        return INVALID_CONTEXT;
    }
    *context = contexts[--depth];
    return SUCCESS;
}

/* What every function needs that works on a device. */
static int ready(void) {
    return !initialized ? NOT_INITIALIZED : !depth ? INVALID_CONTEXT : failed;
}

/* Of functions that wait for the device or change its memory: not while a stream is captured. */
static int quiet(void) {
    if (capturing) {
        capturing->spoilt = true;
        return CAPTURE_UNSUPPORTED;
    }
    return ready();
}

/* ---------------------------------------------------------------- modules and functions */

int cuModuleLoadData(void **handle, const void *image) {
    struct module *module = calloc(1, sizeof *module);
    int status = quiet();
    status = status ? status : module ? module_parse(module, image) : OUT_OF_MEMORY;
    if (status) {
        free(module);
        return status;
    }
    counts.modules++;
    *handle = module;
    return SUCCESS;
}

int cuModuleUnload(void *handle) {
    int status = quiet();
    if (!status) {
        module_free(handle);
        free(handle);
        counts.modules--;
    }
    return status;
}

int cuModuleGetFunction(void **function, void *handle, const char *name) {
    struct module *module = handle;
    for (int n = 0; n < module->count; n++) {
        if (!strcmp(module->functions[n].name, name)) {
            *function = &module->functions[n];
            return ready();
        }
    }
    return NOT_FOUND;
}

int cuFuncGetAttribute(int *value, int attribute, void *handle) {
    const struct function *function = handle;
    if (attribute != 1) {
        fault("the stand-in does not know function attribute %d", attribute);
        return INVALID_VALUE;
    }
    *value = function->static_shared;
    return ready();
}

int cuFuncSetAttribute(void *handle, int attribute, int value) {
    struct function *function = handle;
    if (attribute != 8 || value < 0 || value + function->static_shared > settings.shared_bytes) {
        return INVALID_VALUE;
    }
    function->dynamic_shared = value;
    return ready();
}

#ifndef WITHOUT_PARAMETER_INFO
int cuFuncGetParamInfo(void *handle, size_t number, size_t *offset, size_t *size) {
    const struct function *function = handle;
    size_t at = 0;
    if (number >= (size_t)function->count) {
        return INVALID_VALUE;
    }
    for (size_t n = 0; n <= number; n++) {
        size_t aligned = function->sizes[n] < 8 ? function->sizes[n] : 8;
        at = (at + aligned - 1) / aligned * aligned;
        *offset = at;
        at += function->sizes[n];
    }
    *size = function->sizes[number];
    return ready();
}
#endif

/* ---------------------------------------------------------------- memory */

int cuMemAlloc_v2(uint64_t *address, size_t size) {
    int status = quiet();
    return status ? status : memory_allocate(address, size);
}

int cuMemFree_v2(uint64_t address) {
    int status = quiet();
    return status ? status : memory_free(address);
}

int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    *total = (size_t)settings.memory_bytes;
    *free_bytes = (size_t)(settings.memory_bytes - counts.block_bytes);
    return ready();
}

int cuMemAllocHost_v2(void **address, size_t size) {
    int status = quiet();
    return status ? status : memory_allocate_pinned(address, size);
}

int cuMemFreeHost(void *address) {
    int status = quiet();
    return status ? status : memory_free_pinned(address);
}

/* ---------------------------------------------------------------- streams */

int cuStreamCreate(void **handle, unsigned flags) {
    int status = quiet();
    struct stream *stream = status || flags > 1 ? NULL : calloc(1, sizeof *stream);
    if (!stream) {
        return status ? status : INVALID_VALUE;
    }
    counts.streams++;
    *handle = stream;
    return SUCCESS;
}

static int flush(struct stream *stream, size_t count) {
    int status = stream_flush(stream, count);
    if (status) {
        failed = status;
    }
    return status;
}

int cuStreamSynchronize(void *handle) {
    int status = handle ? quiet() : INVALID_HANDLE;
    return status ? status : flush(handle, SIZE_MAX);
}

int cuStreamDestroy_v2(void *handle) {
    struct stream *stream = handle;
    if (stream->waiting.count) {
        fault("a stream was destroyed with work on it");
    }
    list_free(&stream->waiting);
    free(stream);
    counts.streams--;
    return SUCCESS;
}

/* Put work on a stream, or into the graph that it is captured in. */
static int put(struct stream *stream, struct work work) {
    if (!stream) {
        fault("work was put on the null stream");
        return INVALID_HANDLE;
    }
    int status = ready();
    if (status || (capturing && capturing != stream)) {
        return status ? status : CAPTURE_UNSUPPORTED;
    }
    return work_add(stream->captured ? stream->captured : &stream->waiting, work);
}

int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream) {
    struct work work = {.kind = COPY, .to = to, .from = (uint64_t)(uintptr_t)from, .size = size};
    if (!memory_holds(to, size)) {
        return INVALID_VALUE;
    }
    counts.copied_to += (long long)size;
    if (!memory_is_pinned(from, size)) {
        work.staged = malloc(size + 1);
        memcpy(work.staged, from, size);
    }
    return put(stream, work);
}

int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream) {
    struct work work = {.kind = COPY, .to = (uint64_t)(uintptr_t)to, .from = from, .size = size};
    if (!memory_holds(from, size)) {
        return INVALID_VALUE;
    }
    counts.copied_from += (long long)size;
    return put(stream, work);
}

int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size, void *stream) {
    struct work work = {.kind = COPY, .to = to, .from = from, .size = size};
    if (!memory_holds(from, size) || !memory_holds(to, size)) {
        return INVALID_VALUE;
    }
    return put(stream, work);
}

static int fill(uint64_t to, unsigned value, int width, size_t size, void *stream) {
    struct work work = {.kind = FILL, .to = to, .value = value, .width = width, .size = size};
    if (!memory_holds(to, size * (size_t)width) || to % (uint64_t)width) {
        return INVALID_VALUE;
    }
    return put(stream, work);
}

int cuMemsetD8Async(uint64_t to, unsigned char value, size_t size, void *stream) {
    return fill(to, value, 1, size, stream);
}

int cuMemsetD32Async(uint64_t to, unsigned value, size_t size, void *stream) {
    return fill(to, value, 4, size, stream);
}

/* ---------------------------------------------------------------- launches and graphs */

static bool fits(const struct function *function, const unsigned *grid, const unsigned *block,
                 unsigned shared) {
    for (int n = 0; n < 3; n++) {
        if (!grid[n] || !block[n] || grid[n] > (n ? 65535u : 2147483647u)) {
            return false;
        }
    }
    return block[0] <= 1024 && block[0] * block[1] * block[2] <= 1024
           && (long long)shared <= function->dynamic_shared
           && function->static_shared + (long long)shared <= settings.shared_bytes;
}

int cuLaunchKernel(void *handle, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                   void *stream, void **parameters, void **extra) {
    struct function *function = handle;
    unsigned grid[3] = {grid_x, grid_y, grid_z}, block[3] = {block_x, block_y, block_z};
    struct work work = {.kind = KERNEL, .function = function};
    if (!function || extra || !fits(function, grid, block, shared)) {
        return INVALID_VALUE;
    }
    for (int n = 0; n < function->count; n++) {
        uint64_t place = 0;
        if (!parameters[n]) {
            return INVALID_VALUE;
        }
        memcpy(&place, parameters[n], function->sizes[n] < 8 ? function->sizes[n] : 8);
        if (function->sizes[n] == 8 && place % 8) {
            fault("kernel %s: parameter %d is no aligned place", function->name, n);
            return INVALID_VALUE;
        }
    }
    memcpy(work.grid, grid, sizeof grid);
    memcpy(work.block, block, sizeof block);
    work.values = work_copy_values(function, parameters);
    return put(stream, work);
}

int cuStreamBeginCapture_v2(void *handle, int mode) {
    struct stream *stream = handle;
    int status = stream && mode <= 2 ? quiet() : INVALID_VALUE;
    if (status) {
        return status;
    }
    stream->captured = calloc(1, sizeof *stream->captured);
    stream->spoilt = false;
    capturing = stream;
    counts.captures++;
    return SUCCESS;
}

int cuStreamEndCapture(void *handle, void **graph) {
    struct stream *stream = handle;
    *graph = NULL;
    if (!stream || stream != capturing) {
        return INVALID_VALUE;
    }
    struct list *captured = stream->captured;
    capturing = NULL;
    stream->captured = NULL;
    if (stream->spoilt) {
        list_free(captured);
        free(captured);
        return CAPTURE_INVALIDATED;
    }
    counts.graphs++;
    *graph = captured;
    return SUCCESS;
}

int cuGraphInstantiateWithFlags(void **exec, void *graph, uint64_t flags) {
    int status = graph && !flags ? quiet() : INVALID_VALUE;
    if (!status) {
        counts.execs++;
        *exec = list_copy(graph);
    }
    return status;
}

int cuGraphLaunch(void *exec, void *stream) {
    struct work work = {.kind = GRAPH, .graph = exec};
    counts.graph_launches++;
    return exec ? put(stream, work) : INVALID_VALUE;
}

int cuGraphDestroy(void *graph) {
    list_free(graph);
    free(graph);
    counts.graphs--;
    return SUCCESS;
}

int cuGraphExecDestroy(void *exec) {
    list_free(exec);
    free(exec);
    counts.execs--;
    return SUCCESS;
}

/* ---------------------------------------------------------------- events */

struct event {
    struct stream *stream; /* null: it was never recorded */
    size_t after;          /* how much of the stream's work is before it */
};

int cuEventCreate(void **event, unsigned flags) {
    (void)flags;
    *event = calloc(1, sizeof(struct event));
    counts.events++;
    return ready();
}

int cuEventDestroy_v2(void *event) {
    free(event);
    counts.events--;
    return SUCCESS;
}

int cuEventRecord(void *handle, void *on) {
    struct stream *stream = on;
    if (!handle || !stream) {
        return INVALID_HANDLE;
    }
    *(struct event *)handle = (struct event){stream, stream->done + stream->waiting.count};
    return ready();
}

int cuEventSynchronize(void *handle) {
    const struct event *event = handle;
    int status = event ? quiet() : INVALID_HANDLE;
    if (status || !event->stream || event->after <= event->stream->done) {
        return status;
    }
    return flush(event->stream, event->after - event->stream->done);
}

int cuEventElapsedTime(float *milliseconds, void *begin, void *end) {
    const struct event *first = begin, *last = end;
    if (!first || !last || !first->stream || !last->stream) {
        return INVALID_HANDLE;
    }
    *milliseconds = (float)(clock_after(last->stream, last->after) -
                            clock_after(first->stream, first->after)) *
                    1e-6f;
    return ready();
}
