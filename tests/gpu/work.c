/* Running work: kernels as functions of the test, copies, fills, graphs. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "work.h"

#define VALUE_ALIGNMENT 64 /* of the largest parameters there are, tensor maps */

stand_in_kernel *stand_in_handler;

int work_add(struct list *list, struct work work) {
    if (list->count == list->room) {
        size_t room = list->room * 2 + 8;
        struct work *grown = realloc(list->work, room * sizeof *grown);
        if (!grown) {
            return OUT_OF_MEMORY;
        }
        list->work = grown;
        list->room = room;
    }
    list->work[list->count++] = work;
    return SUCCESS;
}

static void work_free(struct work *work) {
    free(work->values);
    free(work->staged);
}

void list_free(struct list *list) {
    for (size_t n = 0; n < list->count; n++) {
        work_free(&list->work[n]);
    }
    free(list->work);
    *list = (struct list){0};
}

static size_t padded(uint32_t size) {
    return (size + VALUE_ALIGNMENT - 1) / VALUE_ALIGNMENT * VALUE_ALIGNMENT;
}

unsigned char *work_copy_values(const struct function *function, void *const *parameters) {
    size_t size = 0, at = 0;
    void *values = NULL;
    for (int n = 0; n < function->count; n++) {
        size += padded(function->sizes[n]);
    }
    if (posix_memalign(&values, VALUE_ALIGNMENT, size + 1)) {
        return NULL;
    }
    for (int n = 0; n < function->count; n++) {
        memcpy((unsigned char *)values + at, parameters[n], function->sizes[n]);
        at += padded(function->sizes[n]);
    }
    return values;
}

/* Where each parameter is in the copied values. */
static void find_values(const struct work *work, void **parameters) {
    size_t at = 0;
    for (int n = 0; n < work->function->count; n++) {
        parameters[n] = work->values + at;
        at += padded(work->function->sizes[n]);
    }
}

struct list *list_copy(const struct list *list) {
    struct list *copy = calloc(1, sizeof *copy);
    for (size_t n = 0; n < list->count; n++) {
        struct work work = list->work[n];
        if (work.values) {
            void *parameters[PARAMETERS_MAXIMUM];
            find_values(&work, parameters);
            work.values = work_copy_values(work.function, parameters);
        }
        if (work.staged) {
            work.staged = memcpy(malloc(work.size + 1), work.staged, work.size);
        }
        work_add(copy, work);
    }
    return copy;
}

/* A function `kernel_NAME` of the library that the environment names. */
static stand_in_kernel *in_library(const char *name) {
    static void *library;
    char symbol[NAME_BYTES + 8];
    const char *path = getenv("STAND_IN_KERNELS");
    if (!library && path) {
        library = dlopen(path, RTLD_NOW);
        if (!library) {
            fault("%s", dlerror());
        }
    }
    snprintf(symbol, sizeof symbol, "kernel_%s", name);
    return library ? (stand_in_kernel *)(uintptr_t)dlsym(library, symbol) : NULL;
}

int work_call(const struct work *work) {
    const struct function *function = work->function;
    void *parameters[PARAMETERS_MAXIMUM];
    find_values(work, parameters);
    stand_in_kernel *kernel = stand_in_handler ? stand_in_handler : in_library(function->name);
    counts.launches++;
    if (!kernel) {
        fault("nothing stands for kernel %s", function->name);
        return LAUNCH_FAILED;
    }
    int failed = kernel(function->name, parameters, function->sizes, function->count, work->grid,
                        work->block);
    return failed ? LAUNCH_FAILED : memory_check_guards();
}

/* Where either side is device memory, it must be that of one block that is alive. */
static int copy(const struct work *work) {
    const void *from = work->staged ? work->staged : (void *)(uintptr_t)work->from;
    if (work->staged) {
        if (!memory_holds(work->to, work->size)) {
            return ILLEGAL_ADDRESS;
        }
    } else if (!memory_holds(work->to, work->size) && !memory_holds(work->from, work->size)) {
        return ILLEGAL_ADDRESS;
    }
    memcpy((void *)(uintptr_t)work->to, from, work->size);
    return SUCCESS;
}

static int fill(const struct work *work) {
    if (!memory_holds(work->to, work->size * (size_t)work->width)) {
        return ILLEGAL_ADDRESS;
    }
    unsigned char *to = (void *)(uintptr_t)work->to;
    for (size_t n = 0; n < work->size; n++) {
        memcpy(to + n * (size_t)work->width, &work->value, (size_t)work->width);
    }
    return SUCCESS;
}

static int list_run(const struct list *list);

static int run(const struct work *work) {
    switch (work->kind) {
    case KERNEL:
        return work_call(work);
    case COPY:
        return copy(work);
    case FILL:
        return fill(work);
    default:
        return list_run(work->graph);
    }
}

static int list_run(const struct list *list) {
    int status = SUCCESS;
    for (size_t n = 0; !status && n < list->count; n++) {
        status = run(&list->work[n]);
    }
    return status;
}

int stream_flush(struct stream *stream, size_t count) {
    struct list *waiting = &stream->waiting;
    int status = SUCCESS;
    count = count < waiting->count ? count : waiting->count;
    for (size_t n = 0; n < count; n++) {
        status = status ? status : run(&waiting->work[n]);
        work_free(&waiting->work[n]);
        stream->clocks_ns[(stream->done + n + 1) % CLOCKS] = settings.clock_ns;
    }
    waiting->count -= count;
    if (waiting->count) {
        memmove(waiting->work, waiting->work + count, waiting->count * sizeof *waiting->work);
    }
    stream->done += count;
    return status;
}

long long clock_after(const struct stream *stream, size_t count) {
    return stream->clocks_ns[count % CLOCKS];
}
