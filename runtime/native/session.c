/* A session: memory and threads for one program, and calls of its entry points.
 *
 * All arithmetic happens in the entry points. The state block and the arena are allocated once;
 * calls allocate nothing.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "session.h"
#ifdef GRADC_CUDA
#include "cuda.h"
#endif

#define ALIGNMENT_BYTES 64

int64_t gradc_usable_cpus(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    int64_t count = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        count += CPU_ISSET(cpu, &set) != 0;
    }
    return count > 0 ? count : 1;
}

#ifndef GRADC_CUDA
/* The best version of the code that this CPU can run. */
static int choose_code(struct gradc_session *session, struct gradc_error *error) {
    int level = gradc_cpu_level();
    const struct gradc_code *code = gradc_codes, *last = code + gradc_program.code_count - 1;
    while (code < last && code->level > level) {
        code++;
        session->version++;
    }
    return code->level <= level
               ? GRADC_OK
               : gradc_fail(error, "this CPU has no %s; the program was built for %s and needs "
                            "x86-64-v%d", code->level == 4 ? "AVX-512" : "AVX2 with FMA",
                            code->cpu, code->level);
}
#endif

/* Memory that is a whole number of cache lines at a line's start; null without memory. */
static void *allocate(int64_t size) {
    size_t lines = ((size_t)size + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES;
    return aligned_alloc(ALIGNMENT_BYTES, (lines + 1) * ALIGNMENT_BYTES);
}

int gradc_session_open(struct gradc_session *session, int64_t threads, struct gradc_error *error) {
    memset(session, 0, sizeof *session);
#ifdef GRADC_CUDA
    session->pool = gradc_cuda_open(session, error);
    if (!session->pool) {
        return error->status;
    }
    threads = 1; /* they are the device's */
#else
    int status = choose_code(session, error);
    if (status) {
        return status;
    }
#endif
    int64_t cpus = gradc_usable_cpus();
    session->threads = threads < 1 || threads > cpus ? cpus : threads;
    session->state = allocate(gradc_program.state_bytes);
    session->arena = allocate(gradc_program.arena_bytes +
                              session->threads * gradc_program.workspace_bytes);
    session->inputs = calloc((size_t)gradc_program.input_count + 1, sizeof *session->inputs);
#ifndef GRADC_CUDA
    if (session->threads > 1) {
        session->pool = gradc_pool_create(session->threads);
    }
    if (session->threads > 1 && !session->pool) {
        gradc_session_close(session);
        return gradc_fail(error, "threads cannot be had; try one");
    }
#endif
    if (!session->state || !session->arena || !session->inputs) {
        gradc_session_close(session);
        return gradc_fail_memory(error);
    }
    memset(session->state, 0, (size_t)gradc_program.state_bytes);
    return GRADC_OK;
}

void gradc_session_close(struct gradc_session *session) {
    if (session->pool) {
#ifdef GRADC_CUDA
        gradc_cuda_close(session->pool);
#else
        gradc_pool_destroy(session->pool);
#endif
    }
    free(session->inputs);
    free(session->arena);
    free(session->state);
    memset(session, 0, sizeof *session);
}

void gradc_session_initialize(struct gradc_session *session, int64_t seed) {
    unsigned char *state = gradc_session_change(session);
    memset(state, 0, (size_t)gradc_program.state_bytes);
    if (gradc_program.seed_state >= 0) {
        gradc_state_set(&gradc_states[gradc_program.seed_state], state, 0, 1, &seed);
    }
    gradc_session_run(session, GRADC_INIT, NULL, NULL, false, 1, 1, NULL);
}

static void call_entry(const struct gradc_session *session, int kind,
                       struct gradc_arguments *arguments) {
    if (kind == GRADC_RUN && arguments->rows < gradc_program.batch) {
        kind = GRADC_RUN_RAGGED;
    }
#ifdef GRADC_CUDA
    gradc_cuda_run(session->pool, kind, arguments);
#else
    const int32_t *entries = gradc_entries + GRADC_ENTRIES * session->version;
    uintptr_t distance = (uintptr_t)(intptr_t)entries[kind];
    ((gradc_entry_function *)((uintptr_t)gradc_entries + distance))(arguments);
#endif
}

GRADC_UNGUARDED
void gradc_session_run(struct gradc_session *session, enum gradc_kind kind,
                       const void *const *inputs, const int64_t *order, bool same_rows,
                       int64_t count, int64_t rows, void *const *outputs) {
    const struct gradc_reads *reads = &gradc_program.reads[kind];
    for (uint32_t n = 0; n < reads->count; n++) {
        session->inputs[n] = inputs[gradc_numbers[reads->inputs + n]];
    }
    struct gradc_arguments arguments = {
        .state = session->state,
        .arena = session->arena,
        .inputs = session->inputs,
        .order = order,
        .count = count,
        .rows = rows,
        .outputs = outputs,
        .constants = gradc_constants,
        .pool = session->pool,
        .same_rows = same_rows,
    };
    call_entry(session, kind, &arguments);
}

#ifdef GRADC_MONITORS
void gradc_session_end_epoch(struct gradc_session *session, const double *results,
                             bool validates) {
    unsigned char *state = gradc_session_change(session);
    for (int64_t n = 0; n < gradc_program.monitor_count; n++) {
        const struct gradc_monitor *monitor = &gradc_monitors[n];
        int64_t moved = monitor->held_out && validates ? gradc_program.result_count : 0;
        gradc_state_set(&gradc_states[monitor->state], state, 0, 1,
                        &results[monitor->result + moved]);
    }
    gradc_session_run(session, GRADC_EPOCH, NULL, NULL, false, 1, 1, NULL);
}
#endif

GRADC_APART
int64_t gradc_field_bytes(const struct gradc_field *field, int axis, int64_t rows) {
    int64_t bytes = gradc_size(field->dtype);
    for (; axis < field->rank; axis++) {
        bytes *= axis == field->batch_axis ? rows : gradc_numbers[field->shape + (uint32_t)axis];
    }
    return bytes;
}

void **gradc_results_allocate(int64_t count) {
    size_t results = (size_t)gradc_program.scalar_count, column = (size_t)count * sizeof(double);
    void **outputs = calloc(results, sizeof *outputs + column);
    if (outputs) {
        char *values = (char *)(outputs + results);
        for (size_t k = 0; k < results; k++) {
            outputs[k] = values + k * column;
        }
    }
    return outputs;
}
