/* A program on a device: its modules, state and data; see cuda_run.c for its calls.
 *
 * The state has two copies, one in the host's memory for files and one on the device for runs;
 * each is brought up to date when it is needed.
 */
#include <stdlib.h>
#include <string.h>

#include "cuda.h"
#include "progress.h"

/* ---------------------------------------------------------------- failing */

static _Noreturn void cuda_end(struct gradc_error *error) {
    gradc_say(error);
    exit(error->status);
}

/* A call of the driver in the middle of a run. */
void gradc_cuda_check(const struct gradc_cuda *cuda, int status, const char *function) {
    struct gradc_error error = {0};
    if (status) {
        gradc_cuda_fail(&cuda->device, status, function, &error);
        cuda_end(&error);
    }
}

void *gradc_cuda_zeroed(int64_t count, size_t size) {
    void *made = calloc((size_t)count + 1, size);
    struct gradc_error error = {0};
    if (!made) {
        gradc_fail_memory(&error);
        cuda_end(&error);
    }
    return made;
}

gradc_cuda_address gradc_cuda_room(const struct gradc_cuda *cuda, int64_t size, const char *what) {
    gradc_cuda_address address;
    struct gradc_error error = {0};
    if (gradc_cuda_allocate(&cuda->device, &address, size, what, &error)) {
        cuda_end(&error);
    }
    return address;
}

void gradc_cuda_upload(const struct gradc_cuda *cuda, gradc_cuda_address to, const void *from,
                       int64_t size) {
    if (size) {
        GRADC_CUDA_CALL(cuda, cuMemcpyHtoDAsync, to, from, (size_t)size, cuda->device.stream);
    }
}

void gradc_cuda_download(const struct gradc_cuda *cuda, void *to, gradc_cuda_address from,
                         int64_t size) {
    if (size) {
        GRADC_CUDA_CALL(cuda, cuMemcpyDtoHAsync, to, from, (size_t)size, cuda->device.stream);
    }
}

void *gradc_cuda_pinned(const struct gradc_cuda *cuda, size_t size) {
    void *made;
    GRADC_CUDA_CALL(cuda, cuMemAllocHost, &made, size);
    memset(made, 0, size);
    return made;
}

/* ---------------------------------------------------------------- opening */

static bool version_fits(const struct gradc_cuda_version *version,
                         const struct gradc_cuda_device *device) {
    return version->major == device->major
           && (version->exact ? version->minor == device->minor : version->minor <= device->minor);
}

/* The version for the device: of several the one for the latest architecture, which is first. */
static int choose_version(struct gradc_cuda *cuda, struct gradc_error *error) {
    char built[256] = "";
    size_t used = 0;
    for (int64_t n = 0; n < gradc_program.code_count; n++) {
        const struct gradc_cuda_version *version = &gradc_cuda_versions[n];
        if (version_fits(version, &cuda->device)) {
            cuda->version = version;
            return GRADC_OK;
        }
        if (used + 16 < sizeof built) {
            used += (size_t)gradc_format(built + used, sizeof built - used, "%s%s", n ? ", " : "",
                                         version->architecture);
        }
    }
    return gradc_fail(error,
                      "this program was built for %s, the device is sm_%d%d: %s", built,
                      cuda->device.major, cuda->device.minor, cuda->device.name);
}

static int load_modules(struct gradc_cuda *cuda, struct gradc_error *error) {
    const struct gradc_cuda_version *version = cuda->version;
    cuda->modules = gradc_cuda_zeroed(version->module_count, sizeof *cuda->modules);
    for (int n = 0; n < version->module_count; n++) {
        int status = cuda->device.call.cuModuleLoadData(&cuda->modules[n], version->modules[n]);
        if (status) {
            return gradc_cuda_fail(&cuda->device, status, "cuModuleLoadData", error);
        }
    }
    return GRADC_OK;
}

static int make_room(struct gradc_cuda *cuda, struct gradc_error *error) {
    for (int n = 0; n < GRADC_ENTRIES; n++) {
        const struct gradc_cuda_entry *entry = &cuda->version->entries[n];
        int64_t arena = gradc_cuda_scratch_offset(entry) + entry->scratch_bytes;
        cuda->arena_bytes = arena > cuda->arena_bytes ? arena : cuda->arena_bytes;
    }
    int status = gradc_cuda_allocate(&cuda->device, &cuda->state, gradc_program.state_bytes,
                                     "the state", error);
    return status ? status
                  : gradc_cuda_allocate(&cuda->device, &cuda->arena, cuda->arena_bytes,
                                        "the arena", error);
}

struct gradc_cuda *gradc_cuda_open(struct gradc_session *session, struct gradc_error *error) {
    struct gradc_cuda *cuda = calloc(1, sizeof *cuda);
    if (!cuda) {
        gradc_fail_memory(error);
        return NULL;
    }
    cuda->session = session;
    int status = gradc_cuda_device_open(&cuda->device, error);
    if (!status) {
        status = choose_version(cuda, error);
    }
    if (!status) {
        status = load_modules(cuda, error);
    }
    if (!status) {
        status = make_room(cuda, error);
    }
    if (status) {
        gradc_cuda_close(cuda);
        return NULL;
    }
    int64_t count = 0;
    while (gradc_constant_bytes[count] >= 0) {
        count++;
    }
    cuda->constants = gradc_cuda_zeroed(count, sizeof *cuda->constants);
    for (int64_t n = 0; n < count; n++) {
        cuda->constants[n] = gradc_cuda_room(cuda, gradc_constant_bytes[n], "constants");
        gradc_cuda_upload(cuda, cuda->constants[n], gradc_constants[n], gradc_constant_bytes[n]);
    }
    cuda->flag = gradc_cuda_pinned(cuda, sizeof(int64_t));
    return cuda;
}

static void free_call(struct gradc_cuda *cuda, struct gradc_cuda_call *call,
                      const struct gradc_cuda_entry *entry) {
    const struct gradc_cuda_driver *driver = &cuda->device.call;
    for (int n = 0; call->ready && n < entry->graph_count; n++) {
        if (call->graphs[n]) {
            driver->cuGraphExecDestroy(call->graphs[n]);
        }
    }
    for (int n = 0; call->ready && n < entry->output_count; n++) {
        if (call->outputs[n]) {
            driver->cuMemFree(call->outputs[n]);
        }
    }
    gradc_cuda_address blocks[] = {call->frame, call->constants, call->order};
    for (int n = 0; n < 3; n++) {
        if (blocks[n]) {
            driver->cuMemFree(blocks[n]);
        }
    }
    if (call->line) {
        driver->cuMemFreeHost(call->line);
    }
    void *parts[] = {call->functions, call->values, call->parameters, call->graphs, call->met,
                     call->inputs, call->outputs, call->output_bytes};
    for (size_t n = 0; n < sizeof parts / sizeof *parts; n++) {
        free(parts[n]);
    }
}

void gradc_cuda_close(struct gradc_cuda *cuda) {
    const struct gradc_cuda_driver *driver = &cuda->device.call;
    for (int n = 0; cuda->version && n < GRADC_ENTRIES; n++) {
        free_call(cuda, &cuda->calls[n], &cuda->version->entries[n]);
    }
    for (int64_t n = 0; n < cuda->held_count; n++) {
        driver->cuMemFree(cuda->held[n].address);
    }
    for (int64_t n = 0; cuda->constants && gradc_constant_bytes[n] >= 0; n++) {
        driver->cuMemFree(cuda->constants[n]);
    }
    if (cuda->state) {
        driver->cuMemFree(cuda->state);
    }
    if (cuda->arena) {
        driver->cuMemFree(cuda->arena);
    }
    for (int n = 0; cuda->modules && n < cuda->version->module_count; n++) {
        if (cuda->modules[n]) {
            driver->cuModuleUnload(cuda->modules[n]);
        }
    }
    if (cuda->flag) {
        driver->cuMemFreeHost(cuda->flag);
    }
    gradc_cuda_device_close(&cuda->device);
    free(cuda->constants);
    free(cuda->modules);
    free(cuda->held);
    free(cuda);
}

/* ---------------------------------------------------------------- state and data */

unsigned char *gradc_session_state(struct gradc_session *session) {
    struct gradc_cuda *cuda = session->pool;
    if (cuda->device_is_newer) {
        gradc_cuda_download(cuda, session->state, cuda->state, gradc_program.state_bytes);
        GRADC_CUDA_CALL(cuda, cuStreamSynchronize, cuda->device.stream);
        cuda->device_is_newer = false;
    }
    return session->state;
}

unsigned char *gradc_session_change(struct gradc_session *session) {
    struct gradc_cuda *cuda = session->pool;
    unsigned char *state = gradc_session_state(session);
    cuda->host_is_newer = true;
    return state;
}

void gradc_session_hold(struct gradc_session *session, const void *const *arrays, int64_t samples) {
    struct gradc_cuda *cuda = session->pool;
    if (!cuda->held) {
        /* for training, and for validation */
        cuda->held = gradc_cuda_zeroed(2 * gradc_program.input_count, sizeof *cuda->held);
    }
    for (int64_t n = 0; n < gradc_program.input_count; n++) {
        bool known = !arrays[n];
        for (int64_t k = 0; k < cuda->held_count; k++) {
            known |= cuda->held[k].array == arrays[n];
        }
        if (!known) {
            char what[GRADC_SHOWN];
            gradc_format(what, sizeof what, "input '%s'", gradc_string(gradc_inputs[n].name));
            int64_t bytes = gradc_field_bytes(&gradc_inputs[n], 0, samples);
            struct gradc_cuda_held held = {arrays[n], gradc_cuda_room(cuda, bytes, what)};
            gradc_cuda_upload(cuda, held.address, arrays[n], bytes);
            cuda->held[cuda->held_count++] = held;
        }
    }
}

gradc_cuda_address gradc_cuda_held_address(const struct gradc_cuda *cuda, const void *array) {
    for (int64_t n = 0; n < cuda->held_count; n++) {
        if (cuda->held[n].array == array) {
            return cuda->held[n].address;
        }
    }
    struct gradc_error error = {0};
    gradc_fail(&error, "an input is not on the device");
    cuda_end(&error);
}
