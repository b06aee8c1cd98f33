/* The log of a run as CSV (RFC 4180, with newlines alone); see metrics.h.
 *
 * The rows follow from the training position: a resumed run writes all of them again, and a log
 * never depends on when a run was stopped. A position of very many epochs has not kept the numbers
 * of all (column.h). Then the rows that are in the file stay, which go as far as the checkpoint: a
 * call with so many epochs writes all rows at once.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "log.h"
#include "metrics.h"
#include "system.h"

#define NANOSECONDS_BETWEEN_WRITES 100000000
#define TEXT_BYTES_MAXIMUM 65536

/* In quotes where the name holds a comma, a quote or the end of a line. */
static void add_name(struct gradc_text *text, const char *name) {
    const char *quote = "";
    for (const char *at = name; *at; at++) {
        quote = strchr(",\"\r\n", *at) ? "\"" : quote;
    }
    gradc_text_print(text, ",%s", quote);
    for (; *name; name++) {
        gradc_text_print(text, "%s%c", *name == '"' ? quote : "", *name);
    }
    gradc_text_add(text, quote);
}

/* The shortest of three forms that reads back as the same number. */
static void add_number(struct gradc_text *text, double value) {
    size_t before = text->length;
    int digits = 14;
    value = isnan(value) ? NAN : value; /* C would print the sign of a NaN */
    do {
        text->length = before;
        gradc_text_print(text, ",%.*g", ++digits, value);
    } while (digits < 17 && !text->failed && strtod(text->data + before + 1, NULL) != value);
}

/* Whether the record has the numbers of every epoch. */
static bool is_whole(const struct gradc_record *record) {
    return record->columns[0].count == record->columns[0].length;
}

/* Find the rows of a log that stay: behind the header that `metrics` has as text, whole lines, of
 * epochs that the record has done. Returns their bytes with the header, 0 if it is another log. */
static size_t keep_rows(struct gradc_metrics *metrics, const struct gradc_record *record,
                        bool validates, struct gradc_error *ignored) {
    struct gradc_mapping file;
    size_t header = metrics->text.length, kept = 0, before = header;
    if (gradc_map(&file, metrics->path, ignored)) {
        return 0;
    }
    bool whole = true; /* the last epoch has all of its rows */
    bool same = !metrics->text.failed && file.size >= header &&
                memcmp(file.data, metrics->text.data, header) == 0;
    for (size_t at = header; same && at <= file.size;) {
        const char *line = (const char *)file.data + at;
        size_t length = 0;
        char text[64] = {0}, *rest;
        kept = at;
        while (at + length < file.size && line[length] != '\n') {
            length++;
        }
        if (at + length == file.size) {
            break;
        }
        memcpy(text, line, length < sizeof text ? length : sizeof text - 1);
        int64_t epoch = strtoll(text, &rest, 10);
        const char *split = *rest ? strchr(rest + 1, ',') : NULL;
        bool is_validation = split && gradc_common(split, ",validation,") == 12;
        if (epoch < metrics->epochs || epoch < 1 || epoch > record->epoch) {
            break;
        }
        before = epoch > metrics->epochs ? at : before;
        whole = is_validation || !validates;
        metrics->epochs = epoch;
        at += length + 1;
    }
    if (!whole) {
        metrics->epochs--;
        kept = before;
    }
    gradc_unmap(&file);
    return kept;
}

/* Open the file and leave the rows that stay in it. */
static int open_file(struct gradc_metrics *metrics, size_t kept, struct gradc_error *error) {
    metrics->descriptor = gradc_log_open(metrics->path);
    if (metrics->descriptor < 0 && errno == EINTR) { /* told to stop: the run needs no log now */
        metrics->path = NULL;
        return GRADC_OK;
    }
    if (metrics->descriptor < 0) {
        return gradc_fail_write(error, metrics->path);
    }
    if (!gradc_lock_descriptor(metrics->descriptor)) {
        system_close(metrics->descriptor);
        return gradc_fail_at(error, metrics->path, "%s process is writing this file", "another");
    }
    /* What is no regular file cannot be cut, and has nothing that stays. */
    int ignored = system_truncate(metrics->descriptor, (off_t)kept);
    ignored |= system_seek(metrics->descriptor, (off_t)kept) < 0;
    (void)ignored;
    if (kept) {
        gradc_text_clear(&metrics->text);
    }
    return GRADC_OK;
}

GRADC_APART
int gradc_metrics_open(struct gradc_metrics *metrics, const char *path,
                       const struct gradc_record *record, int64_t steps_per_epoch, bool validates,
                       struct gradc_error *error) {
    int64_t steps;
    bool same = gradc_multiply(record->epoch, steps_per_epoch, &steps) &&
                record->step - record->position == steps;
    *metrics = (struct gradc_metrics){.path = path, .counted = same ? 0 : record->epoch};
    if (!path) {
        return GRADC_OK;
    }
    gradc_text_add(&metrics->text, "epoch,step,split");
    for (int64_t k = 0; k < gradc_program.result_count; k++) {
        add_name(&metrics->text, gradc_string(gradc_results[k].name));
    }
    gradc_text_add(&metrics->text, "\n");
    size_t kept = is_whole(record) ? 0 : keep_rows(metrics, record, validates, error);
    int status = open_file(metrics, kept, error);
    if (status || !metrics->path) {
        gradc_text_free(&metrics->text);
    }
    return status;
}

/* The row of one epoch, out of the columns from `first` on, in which the epoch is the `i`th; none if
 * it was not kept. A step below 0 is unknown. */
static void add_row(struct gradc_text *text, const struct gradc_record *record, int64_t first,
                    int64_t i, int64_t epoch, int64_t step) {
    const struct gradc_column *column = &record->columns[first];
    if (!gradc_column_find(column, i)) {
        return;
    }
    gradc_text_print(text, "%" PRId64 ",", epoch + 1);
    if (step >= 0) {
        gradc_text_print(text, "%" PRId64, step);
    }
    gradc_text_add(text, first ? ",validation" : ",train");
    for (int64_t k = 0; k < gradc_program.result_count; k++, column++) {
        const double *value = gradc_column_find(column, i);
        add_number(text, value ? *value : NAN);
    }
    gradc_text_add(text, "\n");
}

static int flush_log(struct gradc_metrics *metrics, struct gradc_error *error) {
    struct gradc_text *text = &metrics->text;
    int status = GRADC_OK;
    if (text->failed) {
        status = gradc_fail_memory(error);
    } else if (!gradc_log_write(metrics->descriptor, text->data, text->length) && errno != EINTR) {
        status = gradc_fail_write(error, metrics->path);
    }
    gradc_text_clear(text);
    return status;
}

int gradc_metrics_add(struct gradc_metrics *metrics, const struct gradc_record *record,
                      int64_t steps_per_epoch, bool validates, int64_t now,
                      struct gradc_error *error) {
    int64_t results = gradc_program.result_count;
    /* Columns end with the last epoch, but for those of a validation that is no longer done. */
    int64_t before = record->epoch - record->columns[0].length;
    int64_t before_validation = validates ? record->epoch - record->columns[results].length : 0;
    if (!metrics->path) {
        return GRADC_OK;
    }
    for (int64_t epoch = metrics->epochs;; epoch++) {
        int64_t train = before + gradc_column_next(record->columns, epoch - before);
        int64_t other = before_validation + gradc_column_next(&record->columns[results],
                                                              epoch - before_validation);
        epoch = train < other ? train : other;
        if (epoch >= record->epoch) {
            break;
        }
        int64_t later = record->epoch - 1 - epoch;
        int64_t step = epoch < metrics->counted
                           ? -1
                           : record->step - record->position - later * steps_per_epoch;
        add_row(&metrics->text, record, 0, epoch - before, epoch, step);
        add_row(&metrics->text, record, results, epoch - before_validation, epoch, step);
        metrics->epochs = epoch + 1;
        if (metrics->text.length > TEXT_BYTES_MAXIMUM && flush_log(metrics, error)) {
            return GRADC_BAD_FILE;
        }
    }
    bool all_kept = record->columns[0].length <= GRADC_COLUMN_ROWS;
    if (all_kept && now - metrics->written_at < NANOSECONDS_BETWEEN_WRITES) {
        return GRADC_OK;
    }
    metrics->written_at = now;
    return flush_log(metrics, error);
}

int gradc_metrics_close(struct gradc_metrics *metrics, struct gradc_error *error) {
    if (!metrics->path) {
        return GRADC_OK;
    }
    int status = flush_log(metrics, error);
    gradc_text_free(&metrics->text);
    bool closed = system_close(metrics->descriptor) == 0;
    return closed || status ? status : gradc_fail_write(error, metrics->path);
}
