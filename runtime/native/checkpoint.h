/* Checkpoints: one file with the state, the best state and the training position.
 *
 * The format is that of docs/checkpoint_format.md; equal states give the bytes that Python writes.
 */
#ifndef GRADC_CHECKPOINT_H
#define GRADC_CHECKPOINT_H

#include "file.h"
#include "record.h"
#include "safetensors.h"
#include "session.h"

/* Write the state block, the best one (null: there is none) and the record, whose columns are thin.
 * Atomic: on failure the file that was there is as it was. What no reader would take is not
 * written. locked: the caller holds the lock on the file. */
int gradc_checkpoint_write(const char *path, bool locked, const unsigned char *state,
                           const unsigned char *best, const struct gradc_record *record,
                           struct gradc_error *error);

/* What a file is read for. */
enum gradc_purpose {
    GRADC_RESUME, /* to go on: a full checkpoint of this very program */
    GRADC_STATE,  /* the state, or the parameters of a file of parameters alone */
    GRADC_TRAINED /* the parameters and, of a full checkpoint, nothing else */
};

/* A file that was read, undamaged and fit for the purpose. */
struct gradc_checkpoint {
    enum gradc_purpose purpose;
    struct gradc_mapping file;
    struct gradc_tensors tensors;
    struct gradc_tensor *declared; /* the program's states, with the file's data */
    size_t count;                  /* of them, best ones included */
    bool full;                     /* with a training position */
    struct gradc_record record;    /* of a full one */
    struct gradc_seal seal;
};

/* Nothing is left to close after a failure. Messages name the file, and the one before it. */
int gradc_checkpoint_open(struct gradc_checkpoint *checkpoint, const char *path,
                          enum gradc_purpose purpose,
                          struct gradc_error *error);
void gradc_checkpoint_close(struct gradc_checkpoint *checkpoint);

/* Whether it holds a best state. */
bool gradc_checkpoint_has_best(const struct gradc_checkpoint *checkpoint);
/* Its state, or its best state, into a block. */
void gradc_checkpoint_take(const struct gradc_checkpoint *checkpoint, bool best,
                           unsigned char *block);

/* As Trainer.load in Python: all of the state from a full checkpoint (the best state of a finished
 * run), or the parameters from a file of them alone, all else made anew from the seed.
 * trained_only: parameters and nothing else from a full one too, whatever else it holds.
 * record: takes that of a full one, else is left; may be null. On failure nothing has changed. */
int gradc_checkpoint_load(struct gradc_session *session, const char *path, int64_t seed,
                          bool trained_only, struct gradc_record *record,
                          struct gradc_error *error);

#endif
