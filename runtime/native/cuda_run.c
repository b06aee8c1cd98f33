/* Calls of entry points on a device: what runtime/cuda/replay.py and call.py are in Python. */
#include <string.h>

#include "cuda.h"

#define CAPTURE_THREAD_LOCAL 1
#define DYNAMIC_SHARED_MAXIMUM 8
#define SHARED_BYTES_FREE 49152
#define FRAME_LINE 3 /* slots that the host writes before each step: see compiler/launches.py */
#define FIRST_LINES 64
#define MOST_STEPS 65536 /* of one launch: see compiler/launches.py */

/* ---------------------------------------------------------------- parameters */

static void prepare_call(struct gradc_cuda *cuda, struct gradc_cuda_call *call,
                         const struct gradc_cuda_entry *entry) {
    call->functions = gradc_cuda_zeroed(entry->function_count, sizeof *call->functions);
    for (int n = 0; n < entry->function_count; n++) {
        const struct gradc_cuda_function *function = &entry->functions[n];
        void *module = cuda->modules[function->module];
        GRADC_CUDA_CALL(cuda, cuModuleGetFunction, &call->functions[n], module, function->name);
        if (function->shared_bytes > SHARED_BYTES_FREE) {
            GRADC_CUDA_CALL(cuda, cuFuncSetAttribute, call->functions[n], DYNAMIC_SHARED_MAXIMUM,
                            function->shared_bytes);
        }
    }
    int64_t values = entry->argument_count + 2 * (int64_t)entry->launch_count;
    call->values = gradc_cuda_zeroed(values, sizeof *call->values);
    call->parameters = gradc_cuda_zeroed(values, sizeof *call->parameters);
    for (int64_t n = 0; n < values; n++) {
        call->parameters[n] = &call->values[n];
    }
    call->graphs = gradc_cuda_zeroed(entry->graph_count, sizeof *call->graphs);
    call->met = gradc_cuda_zeroed(entry->graph_count, sizeof *call->met);
    call->inputs = gradc_cuda_zeroed(gradc_program.input_count, sizeof *call->inputs);
    call->outputs = gradc_cuda_zeroed(entry->output_count, sizeof *call->outputs);
    call->output_bytes = gradc_cuda_zeroed(entry->output_count, sizeof *call->output_bytes);
    int64_t frame = entry->frame_slots * (int64_t)sizeof(int64_t);
    call->frame = gradc_cuda_room(cuda, frame, "the frame");
    GRADC_CUDA_CALL(cuda, cuMemsetD8Async, call->frame, 0, (size_t)frame, cuda->device.stream);
    call->constants = gradc_cuda_room(cuda, entry->constants_bytes, "constants of the kernels");
    gradc_cuda_upload(cuda, call->constants, entry->constants, entry->constants_bytes);
    call->ready = true;
}

static uint64_t place_of(const struct gradc_cuda *cuda, const struct gradc_cuda_call *call,
                         const struct gradc_cuda_argument *argument) {
    const gradc_cuda_address begins[] = {
        [GRADC_CUDA_STATE] = cuda->state,   [GRADC_CUDA_ARENA] = cuda->arena,
        [GRADC_CUDA_TABLE] = call->constants, [GRADC_CUDA_ORDER] = call->order,
        [GRADC_CUDA_FRAME] = call->frame,
    };
    uint64_t offset = (uint64_t)argument->offset;
    switch (argument->memory) {
    case GRADC_CUDA_NUMBER:
        return offset & 0xffffffffu;
    case GRADC_CUDA_INPUT:
        return call->inputs[argument->number] + offset;
    case GRADC_CUDA_OUTPUT:
        return call->outputs[argument->number] + offset;
    case GRADC_CUDA_CONSTANT:
        return cuda->constants[argument->number] + offset;
    default:
        return begins[argument->memory] + offset;
    }
}

/* Where the parameters of a launch begin: two of scratch memory follow those of each one before. */
static int64_t first_parameter(const struct gradc_cuda_entry *entry, int64_t launch) {
    return entry->launches[launch].arguments + 2 * launch;
}

static void pack_parameters(struct gradc_cuda *cuda, struct gradc_cuda_call *call,
                            const struct gradc_cuda_entry *entry) {
    for (int n = 0; n < entry->graph_count; n++) {
        call->met[n] = false;
        if (call->graphs[n]) {
            GRADC_CUDA_CALL(cuda, cuGraphExecDestroy, call->graphs[n]);
            call->graphs[n] = NULL;
        }
    }
    uint64_t scratch = cuda->arena + (uint64_t)gradc_cuda_scratch_offset(entry);
    for (int64_t n = 0; n < entry->launch_count; n++) {
        const struct gradc_cuda_launch *launch = &entry->launches[n];
        uint64_t *values = call->values + first_parameter(entry, n);
        for (int k = 0; k < launch->count; k++) {
            values[k] = place_of(cuda, call, &entry->arguments[launch->arguments + k]);
        }
        values[launch->count] = launch->scratch ? scratch : 0;
        values[launch->count + 1] = 0;
    }
    call->packed = true;
}

/* ---------------------------------------------------------------- running */

/* What the functions below share. */
struct cuda_run {
    struct gradc_cuda *cuda;
    struct gradc_cuda_call *call;
    const struct gradc_cuda_entry *entry;
    int64_t rows;
};

static void run_words(const struct cuda_run *run, const int64_t *words, int64_t length);

static void set_counter(const struct cuda_run *run, int64_t slot, int64_t value) {
    gradc_cuda_address place = run->call->frame + (uint64_t)slot * sizeof(int64_t);
    GRADC_CUDA_CALL(run->cuda, cuMemsetD32Async, place, (unsigned)value, 1,
                    run->cuda->device.stream);
}

static void issue_launch(const struct cuda_run *run, int64_t number) {
    const struct gradc_cuda_launch *launch = &run->entry->launches[number];
    const struct gradc_cuda_function *function = &run->entry->functions[launch->function];
    void **parameters = run->call->parameters + first_parameter(run->entry, number);
    int status = run->cuda->device.call.cuLaunchKernel(
        run->call->functions[launch->function], launch->grid[0], launch->grid[1], launch->grid[2],
        (unsigned)function->threads, 1, 1, (unsigned)function->shared_bytes,
        run->cuda->device.stream, parameters, NULL);
    gradc_cuda_check(run->cuda, status, launch->kernel);
}

static void issue_work(const struct cuda_run *run, const int64_t *work, int64_t length) {
    for (int64_t n = 0; n < length; n += work[n] == GRADC_CUDA_SET ? 3 : 2) {
        if (work[n] == GRADC_CUDA_SET) {
            set_counter(run, work[n + 1], work[n + 2]);
        } else {
            issue_launch(run, work[n + 1]);
        }
    }
}

static void *capture_work(const struct cuda_run *run, const int64_t *work, int64_t length) {
    struct gradc_cuda *cuda = run->cuda;
    void *graph, *made;
    GRADC_CUDA_CALL(cuda, cuStreamBeginCapture, cuda->device.stream, CAPTURE_THREAD_LOCAL);
    issue_work(run, work, length);
    GRADC_CUDA_CALL(cuda, cuStreamEndCapture, cuda->device.stream, &graph);
    GRADC_CUDA_CALL(cuda, cuGraphInstantiateWithFlags, &made, graph, 0);
    GRADC_CUDA_CALL(cuda, cuGraphDestroy, graph);
    return made;
}

static void run_straight(const struct cuda_run *run, int64_t graph, const int64_t *work,
                         int64_t length) {
    struct gradc_cuda_call *call = run->call;
    if (!call->met[graph]) {
        call->met[graph] = true;
        issue_work(run, work, length);
        return;
    }
    if (!call->graphs[graph]) {
        call->graphs[graph] = capture_work(run, work, length);
    }
    GRADC_CUDA_CALL(run->cuda, cuGraphLaunch, call->graphs[graph], run->cuda->device.stream);
}

/* An integer of the device's memory, after all that was put on the stream. */
static int64_t read_back(const struct cuda_run *run, int64_t argument, int64_t bytes) {
    struct gradc_cuda *cuda = run->cuda;
    uint64_t place = place_of(cuda, run->call, &run->entry->arguments[argument]);
    gradc_cuda_download(cuda, cuda->flag, place, bytes);
    GRADC_CUDA_CALL(cuda, cuStreamSynchronize, cuda->device.stream);
    int32_t narrow;
    int64_t wide;
    memcpy(&narrow, cuda->flag, sizeof narrow);
    memcpy(&wide, cuda->flag, sizeof wide);
    return bytes == 1 ? *cuda->flag : bytes == sizeof narrow ? narrow : wide;
}

static void run_repeat(const struct cuda_run *run, const int64_t *words) {
    int64_t counter = words[0], rounds = words[1], count = words[2], per_row = words[4];
    if (per_row) {
        rounds = run->rows * per_row < rounds ? run->rows * per_row : rounds;
    } else if (count >= 0) {
        int64_t wanted = read_back(run, count, words[3]);
        rounds = wanted < rounds ? wanted : rounds;
    }
    for (int64_t n = 0; n < rounds; n++) {
        set_counter(run, counter, n);
        run_words(run, words + 6, words[5]);
    }
}

static void run_while(const struct cuda_run *run, const int64_t *words) {
    int64_t flag = words[0], counter = words[1], extent = words[2];
    for (int64_t n = 0; (extent < 0 || n < extent) && read_back(run, flag, 1); n++) {
        if (counter >= 0) {
            set_counter(run, counter, n);
        }
        run_words(run, words + 4, words[3]);
    }
}

/* See enum gradc_cuda_word. */
static void run_words(const struct cuda_run *run, const int64_t *words, int64_t length) {
    const int64_t *end = words + length;
    while (words < end) {
        switch (*words) {
        case GRADC_CUDA_STRAIGHT:
            run_straight(run, words[1], words + 3, words[2]);
            words += 3 + words[2];
            break;
        case GRADC_CUDA_REPEAT:
            run_repeat(run, words + 1);
            words += 7 + words[6];
            break;
        case GRADC_CUDA_WHILE:
            run_while(run, words + 1);
            words += 5 + words[4];
            break;
        default:
            if (read_back(run, words[1], 1)) {
                run_words(run, words + 4, words[2]);
            } else {
                run_words(run, words + 4 + words[2], words[3]);
            }
            words += 4 + words[2] + words[3];
        }
    }
}

/* ---------------------------------------------------------------- a call */

/* What the frame holds in each step, and after the last. */
static void write_lines(struct cuda_run *run, int64_t count, bool same_rows) {
    struct gradc_cuda_call *call = run->call;
    if (count >= call->lines) {
        if (call->line) {
            GRADC_CUDA_CALL(run->cuda, cuMemFreeHost, call->line);
        }
        call->lines = count < FIRST_LINES ? FIRST_LINES : 2 * count;
        size_t bytes = (size_t)call->lines * FRAME_LINE * sizeof *call->line;
        call->line = gradc_cuda_pinned(run->cuda, bytes);
        call->lines_rows = 0;
    }
    if (call->lines_rows == run->rows && call->lines_same == same_rows) {
        return;
    }
    for (int64_t n = 0; n < call->lines; n++) {
        call->line[n * FRAME_LINE] = n;
        call->line[n * FRAME_LINE + 1] = same_rows ? 0 : n * run->entry->rows_maximum;
        call->line[n * FRAME_LINE + 2] = run->rows;
    }
    call->lines_rows = run->rows;
    call->lines_same = same_rows;
}

static void take_line(const struct cuda_run *run, int64_t step) {
    gradc_cuda_upload(run->cuda, run->call->frame, run->call->line + step * FRAME_LINE,
                FRAME_LINE * (int64_t)sizeof(int64_t));
}

static void take_inputs(struct cuda_run *run, const struct gradc_arguments *arguments) {
    const struct gradc_reads *reads = &gradc_program.reads[run->entry->kind];
    for (uint32_t n = 0; n < reads->count; n++) {
        gradc_cuda_address address = gradc_cuda_held_address(run->cuda, arguments->inputs[n]);
        if (address != run->call->inputs[n]) {
            run->call->inputs[n] = address;
            run->call->packed = false;
        }
    }
}

/* Sample numbers of the run, where the entry reads any. */
static void take_order(struct cuda_run *run, const struct gradc_arguments *arguments) {
    struct gradc_cuda_call *call = run->call;
    int64_t steps = arguments->same_rows ? 1 : arguments->count;
    int64_t bytes = steps * run->entry->rows_maximum * (int64_t)sizeof(int64_t);
    if (!gradc_program.batch || !arguments->order) {
        return;
    }
    if (bytes > call->order_bytes) {
        if (call->order) {
            GRADC_CUDA_CALL(run->cuda, cuMemFree, call->order);
        }
        call->order_bytes = 2 * bytes;
        call->order = gradc_cuda_room(run->cuda, call->order_bytes, "the order of the samples");
        call->packed = false;
    }
    gradc_cuda_upload(run->cuda, call->order, arguments->order, bytes);
}

static void make_outputs(struct cuda_run *run, int64_t count) {
    struct gradc_cuda_call *call = run->call;
    for (int n = 0; n < run->entry->output_count; n++) {
        int64_t bytes = count * run->entry->output_bytes[n];
        if (bytes > call->output_bytes[n] || !call->outputs[n]) {
            if (call->outputs[n]) {
                GRADC_CUDA_CALL(run->cuda, cuMemFree, call->outputs[n]);
            }
            call->output_bytes[n] = 2 * bytes;
            call->outputs[n] = gradc_cuda_room(run->cuda, call->output_bytes[n], "outputs");
            call->packed = false;
        }
    }
}

/* All steps, as many at once as one launch does. */
static void run_steps(const struct cuda_run *run, int64_t count, bool same_rows) {
    const struct gradc_cuda_entry *entry = run->entry;
    int64_t slot = entry->steps_slot, at_once = slot < 0 ? 1 : MOST_STEPS;
    for (int64_t step = 0; step < count; step += at_once) {
        if (step) {
            take_line(run, step);
        }
        if (slot >= 0) {
            set_counter(run, slot, count - step < at_once ? count - step : at_once);
            set_counter(run, slot + 1, same_rows ? 0 : entry->rows_maximum);
        }
        run_words(run, entry->step.words, entry->step.length);
    }
}

void gradc_cuda_run(struct gradc_cuda *cuda, int number, const struct gradc_arguments *arguments) {
    const struct gradc_cuda_entry *entry = &cuda->version->entries[number];
    struct gradc_cuda_call *call = &cuda->calls[number];
    struct cuda_run run = {cuda, call, entry, arguments->rows};
    if (!call->ready) {
        prepare_call(cuda, call, entry);
    }
    if (cuda->host_is_newer) {
        gradc_cuda_upload(cuda, cuda->state, arguments->state, gradc_program.state_bytes);
        cuda->host_is_newer = false;
    }
    take_inputs(&run, arguments);
    take_order(&run, arguments);
    make_outputs(&run, arguments->count);
    write_lines(&run, arguments->count, arguments->same_rows != 0);
    if (!call->packed) {
        pack_parameters(cuda, call, entry);
    }
    take_line(&run, 0);
    run_words(&run, entry->before.words, entry->before.length);
    run_steps(&run, arguments->count, arguments->same_rows != 0);
    if (entry->after.length) {
        take_line(&run, arguments->count);
        run_words(&run, entry->after.words, entry->after.length);
    }
    cuda->device_is_newer = true;
    for (int n = 0; n < entry->output_count; n++) {
        gradc_cuda_download(cuda, arguments->outputs[n], call->outputs[n],
                      arguments->count * entry->output_bytes[n]);
    }
    GRADC_CUDA_CALL(cuda, cuStreamSynchronize, cuda->device.stream);
}
