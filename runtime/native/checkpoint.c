/* Checkpoints: safetensors files that hold the state and the training position; see checkpoint.h.
 *
 * Writing makes no copy of the state: it is hashed and then written in pieces. Reading maps the
 * file and checks all of it before anything is changed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "history.h"
#include "sha256.h"

#define BEST_PREFIX "gradc.best/"
#define BEST_LENGTH (sizeof BEST_PREFIX - 1)
#define RESERVED_PREFIX "gradc."
#define PIECE_BYTES 65536
#define FACTS_SHOWN 8

/* The last part of a name of the tensors below. */
static const char *last_name(size_t n, size_t count) {
    size_t states = (size_t)gradc_program.state_count;
    return n < count ? gradc_string(gradc_states[n % states].name)
                     : gradc_record_result((int64_t)(n - count));
}

/* The program's states as tensors of a file, sorted by name; `count` is once or twice their number,
 * then with the best states under their names. Of a tensor here, `bytes` is the number of the
 * state, plus the number of states for a best one, and `data` is null. They are followed by those
 * of all columns of a history, of which only the names are known yet. Null without memory. */
static struct gradc_tensor *declare(size_t count) {
    size_t states = (size_t)gradc_program.state_count;
    size_t results = (size_t)gradc_program.result_count, all = count + 2 * results, room = 0;
    for (size_t n = 0; n < all; n++) {
        room += sizeof GRADC_HISTORY_PREFIX GRADC_VALIDATION + strlen(last_name(n, count));
    }
    struct gradc_tensor *tensors = calloc(1, all * sizeof *tensors + room);
    char *name = (char *)(tensors + all); /* the names follow the tensors */
    for (size_t n = 0; tensors && n < all; n++) {
        struct gradc_tensor *tensor = &tensors[n];
        const char *prefix = n < states            ? ""
                             : n < count           ? BEST_PREFIX
                             : n - count < results ? GRADC_HISTORY_PREFIX
                                                   : GRADC_HISTORY_PREFIX GRADC_VALIDATION;
        int length = gradc_format(name, room, "%s%s", prefix, last_name(n, count));
        tensor->name = name;
        tensor->name_length = (size_t)length;
        name += length + 1;
        room -= (size_t)length + 1;
        tensor->bytes = n;
        if (n < count) {
            const struct gradc_state_field *field = &gradc_states[n % states];
            tensor->dtype = field->dtype;
            tensor->rank = field->rank;
            memcpy(tensor->shape, gradc_numbers + field->shape,
                   (size_t)field->rank * sizeof *tensor->shape);
        }
    }
    if (tensors) {
        qsort(tensors, count, sizeof *tensors, gradc_tensor_order);
    }
    return tensors;
}

/* Let the columns of the record follow the states, in the order of files for checksums. */
static void add_columns(struct gradc_tensor *tensors, size_t *count,
                        const struct gradc_record *record) {
    const struct gradc_tensor *named = tensors + *count;
    for (int64_t k = 0; k < 2 * gradc_program.result_count; k++) {
        const struct gradc_column *column = &record->columns[k];
        if (column->present) {
            struct gradc_tensor *tensor = &tensors[(*count)++];
            *tensor = named[k];
            tensor->dtype = GRADC_FLOAT64;
            tensor->rank = 1;
            tensor->shape[0] = column->count;
            tensor->data = (const unsigned char *)column->values;
            tensor->bytes = (size_t)column->count * sizeof *column->values;
        }
    }
    qsort(tensors, *count, sizeof *tensors, gradc_tensor_order);
}

/* The line about a tensor that the checksum covers. */
static void hash_line(struct gradc_sha256 *hash, const struct gradc_tensor *tensor) {
    char extents[GRADC_EXTENTS], line[GRADC_EXTENTS + 16];
    int length = gradc_format(line, sizeof line, " %s %s\n", gradc_facts(tensor->dtype)->file_name,
                              gradc_extents(extents, ",", tensor->rank, tensor->shape));
    gradc_sha256_add(hash, tensor->name, tensor->name_length);
    gradc_sha256_add(hash, line, (size_t)length);
}

/* ---------------------------------------------------------------- writing */

struct writing {
    const unsigned char *state, *best;
    struct gradc_tensor *tensors;
    size_t count;
    unsigned char *piece; /* PIECE_BYTES */
    struct gradc_writer writer;
    struct gradc_sha256 hash;
};

/* Give a tensor's bytes to the hash or to the file. */
static void pass_bytes(struct writing *writing, const struct gradc_tensor *tensor, bool to_file) {
    size_t states = (size_t)gradc_program.state_count;
    if (gradc_is_history(tensor)) {
        if (to_file) {
            gradc_writer_add(&writing->writer, tensor->data, tensor->bytes);
        } else {
            gradc_sha256_add(&writing->hash, tensor->data, tensor->bytes);
        }
        return;
    }
    const struct gradc_state_field *field = &gradc_states[tensor->bytes % states];
    const unsigned char *block = tensor->bytes < states ? writing->state : writing->best;
    int64_t size = gradc_size(field->dtype), left = gradc_state_elements(field);
    int64_t together = field->order ? PIECE_BYTES / size : left;
    for (int64_t first = 0; left > 0; first += together, left -= together) {
        int64_t count = left < together ? left : together;
        const unsigned char *data = block + field->offset_bytes;
        if (field->order) {
            gradc_state_get(field, block, first, count, writing->piece);
            data = writing->piece;
        }
        if (to_file) {
            gradc_writer_add(&writing->writer, data, (size_t)(count * size));
        } else {
            gradc_sha256_add(&writing->hash, data, (size_t)(count * size));
        }
    }
}

/* Append all that comes before the tensors' bytes, and sort the tensors as those follow it. */
static void make_header(struct writing *writing, const struct gradc_record *record,
                        struct gradc_text *header) {
    struct gradc_text json = {0};
    char digest[65];
    gradc_record_write(&json, record, NULL);
    gradc_text_add(&json, "\n");
    gradc_sha256_begin(&writing->hash);
    gradc_sha256_add(&writing->hash, json.data, json.failed ? 0 : json.length);
    for (size_t n = 0; n < writing->count; n++) {
        hash_line(&writing->hash, &writing->tensors[n]);
        pass_bytes(writing, &writing->tensors[n], false);
    }
    gradc_sha256_end(&writing->hash, digest);
    gradc_text_clear(&json);
    gradc_record_write(&json, record, digest);
    header->failed = json.failed;
    gradc_safetensors_header(header, writing->tensors, writing->count, json.data, json.length);
    gradc_text_free(&json);
}

/* All that a reader would refuse, before anything is written. */
static int check_writing(const struct gradc_record *record, const struct gradc_text *header,
                         struct gradc_error *error) {
    const char *wrong = gradc_record_check(record);
    for (int64_t k = 0; k < 2 * gradc_program.result_count; k++) {
        const struct gradc_column *column = &record->columns[k];
        wrong = column->count == gradc_column_kept(column->length) ? wrong : "history";
    }
    if (header->failed) {
        return gradc_fail_memory(error);
    }
    if (wrong) {
        gradc_fail_position(wrong, error);
        return gradc_fail_in(error, "cannot be written");
    }
    return header->length - sizeof(uint64_t) <= GRADC_HEADER_BYTES_MAXIMUM
               ? GRADC_OK
               : gradc_fail(error,
                            "cannot be written: its header would have %zu bytes, more than the %d "
                            "that a reader takes",
                            header->length - sizeof(uint64_t), GRADC_HEADER_BYTES_MAXIMUM);
}

static int write_pieces(struct writing *writing, const char *path, const struct gradc_text *header,
                        bool locked, struct gradc_error *error) {
    int status = (locked ? gradc_writer_open_locked : gradc_writer_open)(&writing->writer, path,
                                                                        error);
    if (!status) {
        gradc_writer_add(&writing->writer, header->data, header->length);
        for (size_t n = 0; n < writing->count; n++) {
            pass_bytes(writing, &writing->tensors[n], true);
        }
        status = gradc_writer_commit(&writing->writer, true);
    }
    return status;
}

int gradc_checkpoint_write(const char *path, bool locked, const unsigned char *state,
                           const unsigned char *best, const struct gradc_record *record,
                           struct gradc_error *error) {
    struct gradc_text header = {.failed = true};
    struct writing writing = {.state = state, .best = best};
    writing.count = (size_t)gradc_program.state_count * (best ? 2 : 1);
    writing.tensors = declare(writing.count);
    writing.piece = calloc(1, PIECE_BYTES);
    if (writing.tensors && writing.piece) {
        add_columns(writing.tensors, &writing.count, record);
        make_header(&writing, record, &header);
    }
    int status = check_writing(record, &header, error);
    status = status ? gradc_fail_in(error, path)
                    : write_pieces(&writing, path, &header, locked, error);
    gradc_text_free(&header);
    free(writing.piece);
    free(writing.tensors);
    return status;
}

/* ---------------------------------------------------------------- comparing */

/* The name of a tensor in a file, for a message. */
static const char *readable(const struct gradc_tensor *tensor, struct gradc_error *error) {
    gradc_readable(error->shown[0], GRADC_NAME_TEXT, tensor->name, tensor->name_length);
    return error->shown[0];
}

/* Say how a declared tensor and the file's differ: by name, if one of them is null. */
static void add_difference(struct gradc_text *text, const struct gradc_tensor *declared,
                           const struct gradc_tensor *given, struct gradc_error *error) {
    char was[GRADC_EXTENTS], wanted[GRADC_EXTENTS];
    if (!declared || !given) {
        gradc_text_print(text, "\n  %s tensor '%s'", given ? "unexpected" : "missing",
                         given ? readable(given, error) : declared->name);
        return;
    }
    gradc_text_print(text, "\n  tensor '%s' is %s[%s] in the file, %s[%s] in the program",
                     declared->name,
                     gradc_facts(given->dtype)->name,
                     gradc_extents(was, ", ", given->rank, given->shape),
                     gradc_facts(declared->dtype)->name,
                     gradc_extents(wanted, ", ", declared->rank, declared->shape));
}

/* Walk the declared tensors and the file's, both sorted by name, side by side. Take over the data
 * of those that are the same, and describe the differences. Returns their number. */
static int64_t compare(struct gradc_checkpoint *checkpoint, struct gradc_text *text,
                       struct gradc_error *error) {
    struct gradc_tensor *declared = checkpoint->declared, *end = declared + checkpoint->count;
    const struct gradc_tensor *item = checkpoint->tensors.items;
    const struct gradc_tensor *items_end = item + checkpoint->tensors.count;
    bool others_allowed = checkpoint->full && checkpoint->purpose == GRADC_TRAINED;
    bool all_required = checkpoint->full && !others_allowed;
    size_t states = (size_t)gradc_program.state_count;
    int64_t found = 0;
    while (declared < end || item < items_end) {
        int order = declared == end ? 1 : item == items_end ? -1 : gradc_tensor_order(declared, item);
        bool differs = false;
        if (order < 0) {
            size_t state = declared->bytes;
            differs = all_required ||
                      (state < states && gradc_states[state].trained);
        } else if (order > 0) { /* columns are checked with the record */
            differs = !others_allowed && !(checkpoint->full && gradc_is_history(item));
        } else {
            declared->data = item->data;
            differs = declared->dtype != item->dtype || declared->rank != item->rank ||
                      memcmp(declared->shape, item->shape, sizeof item->shape) != 0;
        }
        if (differs && found++ < FACTS_SHOWN) {
            add_difference(text, order > 0 ? NULL : declared, order < 0 ? NULL : item, error);
        }
        declared += order <= 0;
        item += order >= 0;
    }
    return found;
}

/* ---------------------------------------------------------------- reading */

static bool checksum_matches(const struct gradc_checkpoint *checkpoint) {
    const struct gradc_tensors *tensors = &checkpoint->tensors;
    size_t begin = checkpoint->seal.begin, end = checkpoint->seal.end;
    struct gradc_sha256 hash;
    char digest[65];
    gradc_sha256_begin(&hash);
    gradc_sha256_add(&hash, tensors->metadata, begin);
    gradc_sha256_add(&hash, tensors->metadata + end, tensors->metadata_length - end);
    gradc_sha256_add(&hash, "\n", 1);
    for (size_t n = 0; n < tensors->count; n++) {
        hash_line(&hash, &tensors->items[n]);
        gradc_sha256_add(&hash, tensors->items[n].data, tensors->items[n].bytes);
    }
    gradc_sha256_end(&hash, digest);
    return checkpoint->seal.checksum.data && gradc_equal(checkpoint->seal.checksum.data, digest);
}

/* Columns have what is kept of them, also those of format 1; and no tensor is one of another. */
static int check_history(const struct gradc_checkpoint *checkpoint, struct gradc_error *error) {
    const struct gradc_tensors *tensors = &checkpoint->tensors;
    size_t columns = 0;
    for (int64_t k = 0; k < 2 * gradc_program.result_count; k++) {
        gradc_column_thin(&checkpoint->record.columns[k]);
    }
    for (size_t n = 0; n < tensors->count; n++) {
        columns += gradc_is_history(&tensors->items[n]);
    }
    return columns == checkpoint->seal.columns ? GRADC_OK : gradc_fail_position("history", error);
}

/* The header has to be, byte for byte, what a writer makes of the tensors and the record: so no
 * byte of a checkpoint can change without notice. */
static int check_header(const struct gradc_checkpoint *checkpoint, struct gradc_error *error) {
    const struct gradc_tensors *tensors = &checkpoint->tensors;
    struct gradc_text header = {0};
    struct gradc_tensor *items = calloc(tensors->count + 1, sizeof *items);
    if (items) {
        if (tensors->count) {
            memcpy(items, tensors->items, tensors->count * sizeof *items);
        }
        gradc_safetensors_header(&header, items, tensors->count, tensors->metadata,
                                 tensors->metadata_length);
    }
    bool failed = !items || header.failed;
    bool same = !failed && header.length <= checkpoint->file.size &&
                memcmp(header.data, checkpoint->file.data, header.length) == 0;
    free(items);
    gradc_text_free(&header);
    return same     ? GRADC_OK
           : failed ? gradc_fail_memory(error)
                    : gradc_fail(error,
                                 "its header is not as a checkpoint's is written");
}

/* The training position, but for what a run needs of it. */
static int check_position(struct gradc_checkpoint *checkpoint, struct gradc_error *error) {
    int status = gradc_record_read(&checkpoint->record, &checkpoint->seal, &checkpoint->tensors,
                                   error);
    int64_t format = checkpoint->seal.format;
    if (status) {
        return status;
    }
    if (format != GRADC_FORMAT && format != GRADC_OLD_FORMAT) {
        return gradc_fail(error, "its format version is %" PRId64 ", not %d",
                          format, GRADC_FORMAT);
    }
    if (!checksum_matches(checkpoint)) {
        return gradc_fail(error, "its checksum does not match its contents");
    }
    if (checkpoint->seal.wrong) {
        return gradc_fail_position(checkpoint->seal.wrong, error);
    }
    status = check_history(checkpoint, error);
    return status ? status : check_header(checkpoint, error);
}

/* Parameters alone; a checkpoint that lost its position still has tensors of its own. */
static int check_alone(struct gradc_checkpoint *checkpoint, struct gradc_error *error) {
    for (size_t n = 0; n < checkpoint->tensors.count; n++) {
        const struct gradc_tensor *item = &checkpoint->tensors.items[n];
        if (gradc_begins(item, RESERVED_PREFIX)) {
            return gradc_fail(error, "it has the tensor '%s' of a checkpoint, but no position",
                              readable(item, error));
        }
    }
    return checkpoint->purpose != GRADC_RESUME
               ? GRADC_OK
               : gradc_fail(error, "it holds parameters alone; a run cannot go on from it");
}

static int check_tensors(struct gradc_checkpoint *checkpoint, struct gradc_error *error) {
    struct gradc_text text = {0};
    checkpoint->count = (size_t)gradc_program.state_count;
    for (size_t n = 0; checkpoint->full && n < checkpoint->tensors.count; n++) {
        const struct gradc_tensor *item = &checkpoint->tensors.items[n];
        if (item->name_length > BEST_LENGTH && gradc_begins(item, BEST_PREFIX)) {
            checkpoint->count *= 2;
            break;
        }
    }
    checkpoint->declared = declare(checkpoint->count);
    if (!checkpoint->declared) {
        return gradc_fail_memory(error);
    }
    int64_t found = compare(checkpoint, &text, error);
    if (found > FACTS_SHOWN) {
        gradc_text_print(&text, "\n  and %" PRId64 " more", found - FACTS_SHOWN);
    }
    if (found) {
        gradc_fail(error, "its tensors do not fit this program%s",
                   text.failed ? "" : text.data);
    }
    gradc_text_free(&text);
    return found ? GRADC_BAD_FILE : GRADC_OK;
}

/* What differs where another program wrote it, or null. A fingerprint is digests: MODEL-STEP. */
static const char *difference(const struct gradc_checkpoint *checkpoint) {
    const struct gradc_text *fingerprint = &checkpoint->seal.fingerprint;
    const char *own = gradc_string(gradc_program.fingerprint);
    const char *other = fingerprint->data ? fingerprint->data : "";
    size_t same = gradc_common(own, other);
    if (!own[same] && fingerprint->length == same) { /* it may hold zeros */
        return NULL;
    }
    return strchr(own + same, '-') ? "model computes something else (layers, loss or metrics)"
                                   : "training step differs (optimizer, its options or schedule)";
}

/* Whether a run can go on from it. */
static int check_run(const struct gradc_checkpoint *checkpoint, struct gradc_error *error) {
    const char *differs = difference(checkpoint), *unfit = checkpoint->seal.unfit;
    if (differs) {
        return gradc_fail(error, "it was written by another program: its %s", differs);
    }
    return unfit ? gradc_fail_position(unfit, error) : GRADC_OK;
}

static int check_checkpoint(struct gradc_checkpoint *checkpoint, struct gradc_error *error) {
    struct gradc_tensors *tensors = &checkpoint->tensors;
    int status = gradc_safetensors_parse(checkpoint->file.data, checkpoint->file.size, tensors,
                                         error);
    if (status) {
        return status;
    }
    checkpoint->full = tensors->metadata != NULL;
    status = (checkpoint->full ? check_position : check_alone)(checkpoint, error);
    if (!status) {
        status = check_tensors(checkpoint, error);
    }
    bool resumes = checkpoint->purpose == GRADC_RESUME;
    return !status && resumes ? check_run(checkpoint, error) : status;
}

/* Name the file in a message, and the file before it where there is one. */
static void name_file(struct gradc_error *error, const char *path) {
    char *previous = gradc_path_previous(path);
    gradc_fail_in(error, path);
    if (previous && gradc_file_exists(previous)) {
        size_t used = strlen(error->text);
        gradc_clean(previous, false);
        gradc_format(error->text + used, sizeof error->text - used,
                 "\n  hint: the file before it is %s", previous);
    }
    free(previous);
}

int gradc_checkpoint_open(struct gradc_checkpoint *checkpoint, const char *path,
                          enum gradc_purpose purpose,
                          struct gradc_error *error) {
    *checkpoint = (struct gradc_checkpoint){.purpose = purpose};
    int status = gradc_map(&checkpoint->file, path, error);
    if (status) {
        return status;
    }
    status = gradc_record_open(&checkpoint->record, error);
    if (!status) {
        status = check_checkpoint(checkpoint, error);
    }
    if (status) {
        name_file(error, path);
        gradc_checkpoint_close(checkpoint);
    }
    return status;
}

void gradc_checkpoint_close(struct gradc_checkpoint *checkpoint) {
    gradc_record_free(&checkpoint->record);
    gradc_text_free(&checkpoint->seal.fingerprint);
    gradc_text_free(&checkpoint->seal.checksum);
    free(checkpoint->declared);
    gradc_tensors_free(&checkpoint->tensors);
    gradc_unmap(&checkpoint->file);
}

/* ---------------------------------------------------------------- taking over */

bool gradc_checkpoint_has_best(const struct gradc_checkpoint *checkpoint) {
    return checkpoint->count > (size_t)gradc_program.state_count;
}

void gradc_checkpoint_take(const struct gradc_checkpoint *checkpoint, bool best,
                           unsigned char *block) {
    size_t states = (size_t)gradc_program.state_count;
    for (size_t n = 0; n < checkpoint->count; n++) {
        const struct gradc_tensor *tensor = &checkpoint->declared[n];
        const struct gradc_state_field *field = &gradc_states[tensor->bytes % states];
        bool wanted = (tensor->bytes >= states) == best &&
                      (field->trained || !checkpoint->full || checkpoint->purpose != GRADC_TRAINED);
        if (wanted && tensor->data) {
            gradc_state_set(field, block, 0, gradc_state_elements(field), tensor->data);
        }
    }
}

GRADC_UNGUARDED
int gradc_checkpoint_load(struct gradc_session *session, const char *path, int64_t seed,
                          bool trained_only, struct gradc_record *record,
                          struct gradc_error *error) {
    struct gradc_checkpoint checkpoint;
    enum gradc_purpose purpose = trained_only ? GRADC_TRAINED : GRADC_STATE;
    int status = gradc_checkpoint_open(&checkpoint, path, purpose, error);
    if (!status) {
        if (!checkpoint.full || trained_only) {
            gradc_session_initialize(session, seed);
        }
        bool best = checkpoint.record.finished && gradc_checkpoint_has_best(&checkpoint);
        gradc_checkpoint_take(&checkpoint, best, gradc_session_change(session));
        /* The position of another program's run is none of this one's: it begins anew. */
        if (record && checkpoint.full && !trained_only && !difference(&checkpoint) &&
            !checkpoint.seal.unfit) {
            struct gradc_record before = *record;
            *record = checkpoint.record;
            checkpoint.record = before; /* freed with the checkpoint */
        }
        gradc_checkpoint_close(&checkpoint);
    }
    return status;
}
