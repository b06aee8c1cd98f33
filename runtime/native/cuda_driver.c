/* The CUDA driver, found at run time: what runtime/cuda/driver.py and device.py are in Python.
 *
 * Source: CUDA Driver API reference, 12.0 and 13.0; cuda.h.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cuda.h"

#define LIBRARY "libcuda.so.1"
#define LIBRARY_VARIABLE "GRADC_CUDA_DRIVER" /* names another library */
#define VERSION_MINIMUM 12000                /* CUDA 12.0 */
#define CUDA_OUT_OF_MEMORY 2
#define CUDA_NO_DEVICE 100
#define CAPABILITY_MAJOR 75
#define CAPABILITY_MINOR 76
#define SHARED_BYTES_OPTIN 97
#define STREAM_NON_BLOCKING 1

/* The symbols in the order of struct gradc_cuda_driver: the names that the header's names mean. */
static const char driver_symbols[][32] = {
    "cuInit", "cuDriverGetVersion", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2", "cuCtxPushCurrent_v2",
    "cuCtxPopCurrent_v2", "cuGetErrorName", "cuGetErrorString", "cuModuleLoadData",
    "cuModuleUnload", "cuModuleGetFunction", "cuFuncSetAttribute", "cuMemAlloc_v2",
    "cuMemFree_v2", "cuMemGetInfo_v2", "cuMemAllocHost_v2", "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuMemsetD8Async", "cuMemsetD32Async",
    "cuStreamCreate", "cuStreamDestroy_v2", "cuStreamSynchronize", "cuStreamBeginCapture_v2",
    "cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphLaunch", "cuGraphDestroy",
    "cuGraphExecDestroy", "cuLaunchKernel",
};
#define DRIVER_FUNCTIONS (sizeof driver_symbols / sizeof *driver_symbols)
_Static_assert(DRIVER_FUNCTIONS * sizeof(void *) == sizeof(struct gradc_cuda_driver),
               "a symbol each");

static int find_functions(struct gradc_cuda_driver *call, struct gradc_error *error) {
    const char *named = getenv(LIBRARY_VARIABLE);
    void *library = dlopen(named && *named ? named : LIBRARY, RTLD_NOW);
    if (!library) {
        return gradc_fail(error, "there is no CUDA driver on this machine: %s",
                          gradc_shown(error, 0, dlerror()));
    }
    for (size_t n = 0; n < DRIVER_FUNCTIONS; n++) {
        void *found = dlsym(library, driver_symbols[n]);
        if (!found) {
            return gradc_fail(error,
                              "the CUDA driver has no function %s; the least version is %d.%d",
                              driver_symbols[n], VERSION_MINIMUM / 1000,
                              VERSION_MINIMUM % 1000 / 10);
        }
        memcpy((char *)call + n * sizeof found, &found, sizeof found);
    }
    return GRADC_OK;
}

int gradc_cuda_fail(const struct gradc_cuda_device *device, int status, const char *function,
                    struct gradc_error *error) {
    const char *name = NULL, *meaning = NULL;
    device->call.cuGetErrorName(status, &name);
    device->call.cuGetErrorString(status, &meaning);
    return gradc_fail(error, "%s: the CUDA driver reports %s (%d): %s", function,
                      name ? name : "an unknown error", status, meaning ? meaning : "");
}

static int start_driver(struct gradc_cuda_device *device, struct gradc_error *error) {
    int version, status = device->call.cuInit(0);
    if (status == CUDA_NO_DEVICE) {
        return gradc_fail(error, "the CUDA driver finds no device");
    }
    if (status) {
        return gradc_cuda_fail(device, status, "cuInit", error);
    }
    status = device->call.cuDriverGetVersion(&version);
    if (status) {
        return gradc_cuda_fail(device, status, "cuDriverGetVersion", error);
    }
    if (version < VERSION_MINIMUM) {
        return gradc_fail(error,
                          "the CUDA driver is too old: it is for CUDA %d.%d, the least is %d.%d",
                          version / 1000, version % 1000 / 10, VERSION_MINIMUM / 1000,
                          VERSION_MINIMUM % 1000 / 10);
    }
    return GRADC_OK;
}

int gradc_cuda_device_open(struct gradc_cuda_device *device, struct gradc_error *error) {
    memset(device, 0, sizeof *device);
    int failed = find_functions(&device->call, error);
    if (failed || (failed = start_driver(device, error))) {
        return failed;
    }
    const struct gradc_cuda_driver *call = &device->call;
    int status = call->cuDeviceGet(&device->number, 0);
    const char *function = "cuDeviceGet";
    if (!status) {
        call->cuDeviceGetName(device->name, sizeof device->name, device->number);
        call->cuDeviceGetAttribute(&device->major, CAPABILITY_MAJOR, device->number);
        call->cuDeviceGetAttribute(&device->minor, CAPABILITY_MINOR, device->number);
        call->cuDeviceGetAttribute(&device->shared_bytes, SHARED_BYTES_OPTIN, device->number);
        status = call->cuDevicePrimaryCtxRetain(&device->context, device->number);
        function = "cuDevicePrimaryCtxRetain";
    }
    if (!status) {
        status = call->cuCtxPushCurrent(device->context);
        function = "cuCtxPushCurrent";
    }
    if (!status) {
        status = call->cuStreamCreate(&device->stream, STREAM_NON_BLOCKING);
        function = "cuStreamCreate";
    }
    return status ? gradc_cuda_fail(device, status, function, error) : GRADC_OK;
}

void gradc_cuda_device_close(struct gradc_cuda_device *device) {
    void *popped;
    if (device->stream) {
        device->call.cuStreamDestroy(device->stream);
        device->call.cuCtxPopCurrent(&popped);
    }
    if (device->context) {
        device->call.cuDevicePrimaryCtxRelease(device->number);
    }
}

int gradc_cuda_allocate(const struct gradc_cuda_device *device, gradc_cuda_address *address,
                        int64_t size, const char *what, struct gradc_error *error) {
    size_t free_bytes = 0, total = 0;
    int status = device->call.cuMemAlloc(address, size ? (size_t)size : 1);
    if (status == CUDA_OUT_OF_MEMORY) {
        device->call.cuMemGetInfo(&free_bytes, &total);
        return gradc_fail(error,
                          "the device has no room for %s: needed are %lld bytes, free are %zu of "
                          "%zu bytes of %s",
                          what, (long long)size, free_bytes, total, device->name);
    }
    return status ? gradc_cuda_fail(device, status, "cuMemAlloc", error) : GRADC_OK;
}
