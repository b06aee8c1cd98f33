/* The log of a run: a CSV file with the loss and the metrics of every epoch. */
#ifndef GRADC_METRICS_H
#define GRADC_METRICS_H

#include "record.h"

struct gradc_metrics {
    const char *path; /* null: no log is kept, and nothing here does anything */
    int descriptor;
    struct gradc_text text; /* not written yet */
    int64_t epochs;         /* whose rows are done */
    int64_t counted;        /* the first epoch whose steps are known; before, data was another */
    int64_t written_at;
};

/* Begin the file anew, with the header. But of a record that has not kept every epoch, the rows that
 * are in the file already stay, up to its epoch. `record` is at the beginning of this run. */
int gradc_metrics_open(struct gradc_metrics *metrics, const char *path,
                       const struct gradc_record *record, int64_t steps_per_epoch, bool validates,
                       struct gradc_error *error);
/* Rows of the record's complete epochs that have none yet, if they were kept. Short epochs are
 * written together. */
int gradc_metrics_add(struct gradc_metrics *metrics, const struct gradc_record *record,
                      int64_t steps_per_epoch, bool validates, int64_t now,
                      struct gradc_error *error);
/* Write what is left, and close the file. */
int gradc_metrics_close(struct gradc_metrics *metrics, struct gradc_error *error);

#endif
