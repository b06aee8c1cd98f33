/* One training run; what fit and training_loop.py are in runtime/.
 *
 * Everything that decides how a run goes on is in the record and the state, so that a run that was
 * stopped anywhere and resumed gives the same bits as one that was not, and the same as in Python.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "metrics.h"
#include "progress.h"
#include "signals.h"
#include "sweep.h"
#include "system.h"
#include "training.h"

struct run {
    struct gradc_session *session;
    const struct gradc_options *options;
    struct gradc_error *error;
    unsigned char *best; /* the state after the best epoch, or null */
    bool crosses;        /* calls may go over the end of an epoch: nothing is done between them */
    bool interrupted;
    struct gradc_record record;
    struct gradc_sweep training, evaluation;
    struct gradc_dataset data, validation;
    struct gradc_metrics metrics;
    struct gradc_progress progress;
    struct gradc_lock lock; /* on the checkpoint, from before it is read to the end */
    struct gradc_error log; /* the log that could not be written: the run ends as by a signal */
};

/* ---------------------------------------------------------------- beginning */

/* A record for these data and options. */
static int begin_record(struct run *run) {
    int64_t samples = run->data.samples, batch = gradc_program.batch;
    bool drop_last = run->options->drop_last, shuffle = !run->options->no_shuffle;
    if (drop_last && samples < batch) {
        return gradc_fail(run->error, GRADC_IN_ARGUMENTS
                          "--drop-last leaves no batch: %" PRId64 " samples, batch size %" PRId64,
                          samples, batch);
    }
    int64_t least = gradc_program.rows_minimum;
    int64_t last = batch && !drop_last ? samples % batch : 0;
    if (last && last < least) {
        return gradc_fail(run->error, GRADC_IN_ARGUMENTS
                          "the last batch has %" PRId64 " row%s, the program needs %" PRId64
                          ": %" PRId64 " samples, batch size %" PRId64 "; --drop-last leaves it out",
                          last, last > 1 ? "s" : "", least, samples, batch);
    }
    if (shuffle && samples > GRADC_SHUFFLE_MAXIMUM) {
        return gradc_fail(run->error, GRADC_IN_ARGUMENTS
                          "%" PRId64 " samples are too many to shuffle; --no-shuffle leaves it out",
                          samples);
    }
    int status = gradc_record_open(&run->record, run->error);
    run->record.seed = run->options->seed;
    run->record.batches = (struct gradc_batches){
        .samples = samples,
        .batch_size = samples < batch ? samples : batch,
        .shuffle = shuffle,
        .drop_last = drop_last,
    };
    return status;
}

/* Whether a run with this record can go on with these data and options. */
static int check_resumed(const struct run *run, const struct gradc_record *record) {
    static const char names[][12] = {"samples", "batch_size", "shuffle", "drop_last"};
    const int64_t *was = (const int64_t *)&record->batches; /* no other types are in there */
    const int64_t *wanted = (const int64_t *)&run->record.batches;
    if (run->options->has_seed && run->options->seed != record->seed) {
        return gradc_fail(run->error, GRADC_IN_ARGUMENTS
                          "--seed is %" PRId64 ", but the run was begun with %" PRId64,
                          run->options->seed, record->seed);
    }
    for (int i = 0; record->position && i < 4; i++) {
        if (was[i] != wanted[i]) {
            return gradc_fail(run->error, GRADC_IN_ARGUMENTS
                              "the run was stopped inside an epoch with %s=%" PRId64
                              "; it cannot go on with %s=%" PRId64,
                              names[i], was[i], names[i], wanted[i]);
        }
    }
    return GRADC_OK;
}

static int allocate_best(struct run *run) {
    if (!run->best) {
        run->best = calloc(1, (size_t)gradc_program.state_bytes + 1);
    }
    return run->best ? GRADC_OK : gradc_fail_memory(run->error);
}

/* Take over state and record of a checkpoint. */
static int resume(struct run *run, const char *path) {
    struct gradc_checkpoint checkpoint;
    int status = gradc_checkpoint_open(&checkpoint, path, GRADC_RESUME,
                                       run->error);
    if (status) {
        return status;
    }
    status = check_resumed(run, &checkpoint.record);
    if (!status && gradc_checkpoint_has_best(&checkpoint) && run->options->patience) {
        status = allocate_best(run);
    }
    if (!status) {
        struct gradc_record fresh = run->record;
        run->record = checkpoint.record;
        run->record.batches = fresh.batches;
        checkpoint.record = fresh; /* freed with the checkpoint */
        gradc_checkpoint_take(&checkpoint, false, gradc_session_change(run->session));
        if (run->best) {
            gradc_checkpoint_take(&checkpoint, true, run->best);
        }
    }
    gradc_checkpoint_close(&checkpoint);
    return status;
}

/* The file to resume from: the checkpoint or else the one before it; null if neither is there. */
static const char *find_checkpoint(const struct run *run, const char *previous) {
    const char *path = run->options->checkpoint;
    if (gradc_file_exists(path)) {
        return path;
    }
    const char *found = gradc_file_exists(previous) ? previous : NULL;
    if (!run->options->quiet) {
        gradc_fail(run->error, "%s is not there; %s%s", gradc_shown(run->error, 0, path),
                   found ? "going on from " : "starting anew",
                   gradc_shown(run->error, 1, found ? found : ""));
        gradc_say(run->error);
    }
    return found;
}

static int resume_or_begin(struct run *run) {
    const struct gradc_options *options = run->options;
    if (options->resume) {
        char *previous = gradc_path_previous(options->checkpoint);
        const char *found = previous ? find_checkpoint(run, previous) : options->checkpoint;
        bool resumes = found != NULL;
        gradc_signals_reading(found);
        int status = resumes ? resume(run, found) : GRADC_OK;
        gradc_signals_reading(NULL);
        free(previous);
        if (resumes) {
            return status;
        }
    }
    if (options->parameters) {
        gradc_signals_reading(options->parameters);
        int status = gradc_checkpoint_load(run->session, options->parameters, options->seed, true,
                                           NULL, run->error);
        gradc_signals_reading(NULL);
        return status;
    }
    gradc_session_initialize(run->session, options->seed);
    return GRADC_OK;
}

/* ---------------------------------------------------------------- epochs */

static int write_checkpoint(struct run *run) {
    if (!run->options->checkpoint) {
        return GRADC_OK;
    }
    return gradc_checkpoint_write(run->options->checkpoint, true,
                                  gradc_session_state(run->session), run->best,
                                  &run->record, run->error);
}

static bool is_over(const struct run *run) {
    const struct gradc_options *options = run->options;
    return (options->patience && run->record.waited >= options->patience) ||
           run->record.epoch >= options->epochs;
}

/* Loss and metrics over the validation data. Stopped in between, the epoch stays open. */
static void validate(struct run *run, double *means) {
    struct gradc_sweep *sweep = &run->evaluation;
    double sums[GRADC_RESULTS_MAXIMUM] = {0};
    int64_t total = 0;
    for (int64_t position = 0; position < sweep->steps && !run->interrupted;) {
        int64_t rows, count = gradc_sweep_run(sweep, 0, position, sweep->steps, false, &rows);
        gradc_sweep_add(sweep, count, rows, sums);
        position += count;
        total += count * rows;
        run->interrupted = gradc_signals_received() != NULL;
    }
    for (int64_t k = 0; k < gradc_program.result_count; k++) {
        means[k] = gradc_summed(sums, k, total);
    }
}

/* Early stopping looks at the loss of validation, or at that of training where there is none. */
static int judge(struct run *run, double value) {
    struct gradc_record *record = &run->record;
    if (!gradc_is_finite(value) || (record->has_best && !(value < record->best))) {
        record->waited++;
        return GRADC_OK;
    }
    record->has_best = true;
    record->best = value;
    record->best_epoch = record->epoch - 1;
    record->waited = 0;
    int status = allocate_best(run);
    if (!status) {
        memcpy(run->best, gradc_session_state(run->session), (size_t)gradc_program.state_bytes);
    }
    return status;
}

/* Room for so many epochs in every column of the run. */
static int reserve_columns(struct run *run, int64_t epochs) {
    int64_t columns = gradc_program.result_count * (run->options->validates ? 2 : 1);
    for (int64_t k = 0; k < columns; k++) {
        run->record.columns[k].present = true;
        if (!gradc_column_reserve(&run->record.columns[k], epochs)) {
            return gradc_fail_memory(run->error);
        }
    }
    return GRADC_OK;
}

static int end_epoch(struct run *run) {
    struct gradc_record *record = &run->record;
    int64_t results = gradc_program.result_count;
    double means[2 * GRADC_RESULTS_MAXIMUM];
    for (int64_t k = 0; k < results; k++) {
        means[k] = gradc_summed(record->sums, k, record->rows);
    }
    if (run->options->validates) {
        validate(run, means + results);
        if (run->interrupted) {
            return GRADC_OK;
        }
    }
    int status = reserve_columns(run, 1);
    if (status) {
        return status;
    }
    gradc_session_end_epoch(run->session, means, run->options->validates);
    for (int64_t k = 0; k < (run->options->validates ? 2 : 1) * results; k++) {
        gradc_column_add(&record->columns[k], means[k]);
    }
    memset(record->sums, 0, (size_t)gradc_program.scalar_count * sizeof *record->sums);
    record->epoch++;
    record->position = 0;
    record->rows = 0;
    return run->options->patience ? judge(run, means[run->options->validates ? results : 0]) : 0;
}

/* Take account of full batches that may go over the ends of epochs, where nothing is done but to
 * note the means: a tiny network has millions of epochs in a second. */
GRADC_APART
static int account_crossing(struct run *run, int64_t count, int64_t rows) {
    struct gradc_record *record = &run->record;
    int64_t steps = run->training.steps, end = record->position + count;
    int status = reserve_columns(run, end / steps);
    for (int64_t k = 0; !status && k < gradc_program.result_count; k++) {
        struct gradc_column *column = &record->columns[k];
        int64_t divisor = gradc_divisors[k];
        double sum = record->sums[k], weight = gradc_weight(k, rows);
        double all = divisor ? record->sums[divisor] : (double)(steps * rows);
        for (int64_t i = 0, position = record->position; i < count; i++) {
            sum += gradc_sweep_result(&run->training, k, i) * weight;
            all += divisor ? gradc_sweep_result(&run->training, divisor, i) : 0;
            if (++position == steps) {
                gradc_column_add(column, sum / all);
                sum = 0;
                all = divisor ? 0 : all;
                position = 0;
            }
        }
        record->sums[k] = sum;
        if (divisor) {
            record->sums[divisor] = all;
        }
    }
    record->epoch += end / steps;
    record->position = end % steps;
    record->rows = record->position * rows;
    return status;
}

static int account(struct run *run, int64_t count, int64_t rows) {
    struct gradc_record *record = &run->record;
    record->step += count;
    if (run->crosses && count) {
        return account_crossing(run, count, rows);
    }
    gradc_sweep_add(&run->training, count, rows, record->sums);
    record->position += count;
    record->rows += count * rows;
    return record->position >= run->training.steps ? end_epoch(run) : GRADC_OK;
}

/* With --stop-on-nan: take account of what was before the first loss that is not finite. */
static int account_finite(struct run *run, int64_t count, int64_t rows) {
    for (int64_t i = 0; i < count; i++) {
        double loss = gradc_quotient(run->training.outputs, 0, i);
        if (!gradc_is_finite(loss)) {
            int status = account(run, i, rows);
            return status ? status
                          : gradc_fail(run->error,
                                       "the loss is %s at step %" PRId64 " (epoch %" PRId64 ")",
                                       isnan(loss) ? "nan" : loss < 0 ? "-inf" : "inf",
                                       run->record.step + 1, run->record.epoch + 1);
        }
    }
    return account(run, count, rows);
}

/* ---------------------------------------------------------------- the loop */

/* Steps that the next call may take: to the run's end, to the next checkpoint. */
static int64_t steps_left(const struct run *run) {
    const struct gradc_record *record = &run->record;
    int64_t epochs = run->options->epochs - record->epoch, every = run->options->every;
    if (epochs > run->training.window) {
        epochs = run->training.window;
    }
    int64_t limit = epochs * run->training.steps - record->position;
    return every && every - record->step % every < limit ? every - record->step % every : limit;
}

/* Log and show what was done; then the columns need no more than what a checkpoint keeps. */
static void report(struct run *run) {
    struct gradc_record *record = &run->record;
    int64_t now = gradc_clock();
    gradc_metrics_add(&run->metrics, record, run->training.steps, run->options->validates, now,
                      &run->log);
    gradc_progress_update(&run->progress, record, now);
    for (int64_t k = 0; k < 2 * gradc_program.result_count; k++) {
        gradc_column_thin(&record->columns[k]);
    }
}

/* Run one call's steps, take account of them, and write a checkpoint where one is due. */
static int advance(struct run *run) {
    struct gradc_record *record = &run->record;
    int64_t every = run->options->every, epoch = record->epoch, count = 0, rows = 0;
    record->finished = false;
    if (record->position < run->training.steps) { /* if not, it was stopped during validation */
        count = gradc_sweep_run(&run->training, epoch, record->position, steps_left(run),
                                run->crosses, &rows);
    }
    int status = (run->options->stop_on_nan ? account_finite : account)(run, count, rows);
    report(run);
    bool due = every ? count && record->step % every == 0 : record->epoch > epoch;
    run->interrupted |= gradc_signals_received() || run->log.status;
    if (!status && due && !run->interrupted && !is_over(run)) {
        status = write_checkpoint(run);
    }
    run->interrupted |= gradc_signals_received() != NULL;
    return status;
}

/* Why a run whose state is kept ends before its last step, if it does. */
static int end_early(struct run *run) {
    const char *signal = gradc_signals_received();
    const char *then = run->options->checkpoint ? "--resume goes on" : "nothing was kept";
    if (run->log.status) {
        return gradc_fail(run->error, "%s; stopped at step %" PRId64 "; %s",
                          run->log.text, run->record.step, then);
    }
    return signal ? gradc_fail(run->error, GRADC_ON_STOP "stopped by %s at step %" PRId64 "; %s",
                               signal, run->record.step, then)
                  : GRADC_OK;
}

static int loop(struct run *run) {
    int status = GRADC_OK;
    report(run);
    if (run->log.status) { /* nothing was done yet that could be lost */
        return gradc_fail(run->error, "%s", run->log.text);
    }
    run->interrupted = gradc_signals_received() != NULL;
    while (!status && !run->interrupted && !is_over(run)) {
        status = advance(run);
    }
    if (!status && (run->interrupted || !run->record.finished)) {
        run->record.finished = !run->interrupted;
        status = write_checkpoint(run);
    }
    return status ? status : end_early(run);
}

/* ---------------------------------------------------------------- all of it */

/* Take the checkpoint's file for this run, and find out before the work is done whether it can be
 * written later. */
static int take_checkpoint(struct run *run) {
    const char *path = run->options->checkpoint;
    struct gradc_writer writer;
    struct stat facts;
    char *target;
    if (!path) {
        if (!run->options->quiet) {
            gradc_fail(run->error, "without --checkpoint nothing is kept");
            gradc_say(run->error);
        }
        return GRADC_OK;
    }
    if (system_stat(path, &facts) == 0 && !S_ISREG(facts.st_mode)) {
        return gradc_fail_at(run->error, path, "not a regular file");
    }
    int status = gradc_writer_target(&target, path, run->error);
    if (!status) {
        status = gradc_lock_take(&run->lock, target, path, run->error);
        free(target);
    }
    if (!status && run->lock.missing) {
        const char *name = gradc_shown(run->error, 0, path);
        errno = run->lock.missing;
        gradc_fail(run->error, "%s: cannot be locked (%m); nothing keeps another process "
                   "from writing it too", name);
        gradc_say(run->error);
    }
    if (!status) {
        status = gradc_writer_open_locked(&writer, path, run->error);
    }
    if (!status) {
        gradc_writer_abandon(&writer);
    }
    return status;
}

GRADC_APART
static int open_data(struct run *run) {
    const struct gradc_options *options = run->options;
    int status =
        gradc_dataset_open(&run->data, options->data, "--data", GRADC_RUN, run->error);
    if (!status && options->validates) {
        status = gradc_dataset_open(&run->validation, options->validation, "--validate",
                                    GRADC_EVALUATE, run->error);
    }
    return status ? status : begin_record(run);
}

static int open_sweeps(struct run *run) {
    const struct gradc_options *options = run->options;
    int status = gradc_sweep_open(&run->training, run->session, GRADC_RUN, &run->data,
                                  run->record.batches.batch_size, options->drop_last, run->error);
    if (!status && options->validates) {
        status = gradc_sweep_open(&run->evaluation, run->session, GRADC_EVALUATE, &run->validation,
                                  gradc_program.batch, false, run->error);
    }
    if (!options->no_shuffle) {
        gradc_dataset_shuffled(&run->data);
    }
    run->training.shuffle = !options->no_shuffle;
    run->training.seed = run->record.seed;
#ifndef GRADC_MONITORS
    run->crosses = !options->validates && !options->patience && !run->training.tail &&
                   (!options->checkpoint || options->every);
#endif
    return status;
}

/* The state, set for the first step; a run without a history gets its columns. */
static int open_state(struct run *run) {
    int status = resume_or_begin(run);
    bool any = false;
    if (!status && run->options->has_rate) {
        gradc_state_set(&gradc_states[gradc_program.rate_state],
                        gradc_session_change(run->session), 0, 1, &run->options->rate);
    }
    for (int64_t k = 0; k < 2 * gradc_program.result_count; k++) {
        any |= run->record.columns[k].present;
    }
    return status || any ? status : reserve_columns(run, 0);
}

static int train(struct run *run) {
    const struct gradc_options *options = run->options;
    int status = gradc_metrics_open(&run->metrics, options->metrics, &run->record,
                                    run->training.steps, options->validates, run->error);
    if (status) {
        return status;
    }
    gradc_progress_open(&run->progress, &run->record, options->epochs, run->training.steps,
                        options->quiet);
    status = loop(run);
    gradc_progress_close(&run->progress, &run->record);
    int closed = gradc_metrics_close(&run->metrics, status ? &run->log : run->error);
    return status ? status : closed;
}

/* All of a run but for what it leaves behind. */
GRADC_APART GRADC_UNGUARDED
static int run_through(struct run *run) {
    int status = open_data(run);
    status = status ? status : take_checkpoint(run);
    status = status ? status : open_state(run);
    status = status ? status : open_sweeps(run);
    status = status ? status : train(run);
    if (!status) {
        struct gradc_text text = {0};
        gradc_describe(&text, &run->record, 6);
        gradc_text_add(&text, "\n");
        status = gradc_print(&text, run->error);
    }
    gradc_lock_release(&run->lock);
    gradc_sweep_close(&run->training);
    gradc_sweep_close(&run->evaluation);
    gradc_record_free(&run->record);
    gradc_dataset_close(&run->data);
    gradc_dataset_close(&run->validation);
    free(run->best);
    return status;
}

int gradc_train(struct gradc_session *session, const struct gradc_options *options,
                struct gradc_error *error) {
    struct run run = {.session = session, .options = options, .error = error};
    return run_through(&run);
}
