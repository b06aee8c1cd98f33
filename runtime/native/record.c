/* The training position as canonical JSON, out and in; see record.h.
 *
 * Out: the bytes that json.dumps writes in runtime/record.py. In: any JSON with these keys; other
 * keys are ignored, as they are there. Whether the checksum holds is checkpoint.c's matter.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"
#include "json.h"
#include "record.h"

/* As in runtime/record.py. Counts from files stay so far below 2^63 that adding never overflows. */
#define COUNT_MAXIMUM ((int64_t)1 << 53)
#define FLOAT_DIGITS 16

enum field_kind { COUNT, INDEX, SEED, BOOLEAN, BEST, SUMS, HISTORY, FORMAT, FINGERPRINT, CHECKSUM };

#define FIELD(name, place, kind) {name, kind, offsetof(struct gradc_record, place)}

/* Every key, sorted. */
static const struct field {
    char name[12];
    uint8_t kind, offset;
} fields[] = {
    FIELD("batch_size", batches.batch_size, COUNT),
    FIELD("best", best, BEST),
    FIELD("best_epoch", best_epoch, INDEX),
    FIELD("checksum", seed, CHECKSUM),
    FIELD("drop_last", batches.drop_last, BOOLEAN),
    FIELD("epoch", epoch, COUNT),
    FIELD("fingerprint", seed, FINGERPRINT),
    FIELD("finished", finished, BOOLEAN),
    FIELD("format", seed, FORMAT),
    FIELD("history", columns, HISTORY),
    FIELD("position", position, COUNT),
    FIELD("rows", rows, COUNT),
    FIELD("samples", batches.samples, COUNT),
    FIELD("seed", seed, SEED),
    FIELD("shuffle", batches.shuffle, BOOLEAN),
    FIELD("step", step, COUNT),
    FIELD("sums", sums, SUMS),
    FIELD("waited", waited, COUNT),
};

#define FIELDS ((int)(sizeof fields / sizeof *fields))

int gradc_record_open(struct gradc_record *record, struct gradc_error *error) {
    size_t results = (size_t)gradc_program.result_count;
    *record = (struct gradc_record){.best_epoch = -1};
    record->sums = calloc((size_t)gradc_program.scalar_count, sizeof *record->sums);
    record->columns = calloc(2 * results, sizeof *record->columns);
    if (!record->sums || !record->columns) {
        gradc_record_free(record);
        return gradc_fail_memory(error);
    }
    return GRADC_OK;
}

void gradc_record_free(struct gradc_record *record) {
    for (int64_t k = 0; record->columns && k < 2 * gradc_program.result_count; k++) {
        free(record->columns[k].values);
    }
    free(record->columns);
    free(record->sums);
    record->columns = NULL;
    record->sums = NULL;
}

const char *gradc_record_check(const struct gradc_record *record) {
    int64_t samples = record->batches.samples, longest = 0;
    for (int64_t k = 0; k < 2 * gradc_program.result_count; k++) {
        int64_t length = record->columns[k].length;
        longest = length > longest ? length : longest;
    }
    for (int i = 0; i < FIELDS; i++) {
        int64_t value;
        memcpy(&value, (const char *)record + fields[i].offset, sizeof value);
        if (fields[i].kind == COUNT && (uint64_t)value > COUNT_MAXIMUM) {
            return fields[i].name;
        }
    }
    return record->best_epoch >= record->epoch                                 ? "best_epoch"
           : !record->has_best != (record->best_epoch < 0)                     ? "best"
           : record->waited > record->epoch                                    ? "waited"
           : record->step < record->epoch || record->step < record->position   ? "step"
           : record->rows < record->position                                   ? "rows"
           : (record->rows > 0) != (record->position > 0)                      ? "rows"
           : samples && record->rows > samples                                 ? "rows"
           : longest > record->epoch                                           ? "history"
                                                                               : NULL;
}

/* ---------------------------------------------------------------- out */

static void write_floats(struct gradc_text *text, const double *values, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        gradc_text_print(text, "%s\"%016" PRIx64 "\"", i ? "," : "", bits);
    }
}

/* How many epochs every column covers; its numbers are in a tensor. */
static void write_history(struct gradc_text *text, const struct gradc_record *record) {
    const char *separator = "";
    for (int64_t i = 0; i < 2 * gradc_program.result_count; i++) {
        int k = gradc_columns_sorted[i];
        const struct gradc_column *column = &record->columns[k];
        if (column->present) {
            gradc_text_print(text, "%s%s:%" PRId64, separator,
                             gradc_string(gradc_column_keys[k]),
                             column->length);
            separator = ",";
        }
    }
}

static void write_value(struct gradc_text *text, const struct gradc_record *record,
                        const struct field *field, const char *checksum) {
    int64_t value;
    memcpy(&value, (const char *)record + field->offset, sizeof value);
    switch (field->kind) {
    case BOOLEAN:
        gradc_text_add(text, value ? "true" : "false");
        break;
    case BEST:
        gradc_text_add(text, record->has_best ? "" : "null");
        write_floats(text, &record->best, record->has_best);
        break;
    case SUMS:
        gradc_text_add(text, "[");
        write_floats(text, record->sums, gradc_program.scalar_count);
        gradc_text_add(text, "]");
        break;
    case HISTORY:
        gradc_text_add(text, "{");
        write_history(text, record);
        gradc_text_add(text, "}");
        break;
    case FINGERPRINT:
    case CHECKSUM:
        gradc_text_print(text, "\"%s\"",
                         field->kind == CHECKSUM ? checksum
                                                   : gradc_string(gradc_program.fingerprint));
        break;
    default:
        gradc_text_print(text, "%" PRId64, field->kind == FORMAT ? GRADC_FORMAT : value);
    }
}

void gradc_record_write(struct gradc_text *text, const struct gradc_record *record,
                        const char *checksum) {
    for (int i = 0; i < FIELDS; i++) {
        if (fields[i].kind != CHECKSUM || checksum) {
            gradc_text_print(text, "%c\"%s\":", i ? ',' : '{', fields[i].name);
            write_value(text, record, &fields[i], checksum);
        }
    }
    gradc_text_add(text, "}");
}

/* ---------------------------------------------------------------- in */

struct record_reader {
    struct gradc_json json;
    struct gradc_text text; /* the string read last */
    struct gradc_record *record;
    struct gradc_seal *seal;
    const struct gradc_tensors *tensors;
};

static bool read_float(struct record_reader *reader, double *value) {
    if (!gradc_json_string(&reader->json, &reader->text) || reader->text.length != FLOAT_DIGITS) {
        return false;
    }
    uint64_t bits = 0;
    for (int i = 0; i < FLOAT_DIGITS; i++) {
        const char *digits = "0123456789abcdef", c = reader->text.data[i];
        const char *digit = c ? strchr(digits, c) : NULL;
        if (!digit) {
            return false;
        }
        bits = bits << 4 | (uint64_t)(digit - digits);
    }
    memcpy(value, &bits, sizeof bits);
    return true;
}

/* All of an array into a column that is empty. */
GRADC_UNGUARDED
static bool read_column(struct record_reader *reader, struct gradc_column *column) {
    bool valid = gradc_json_array(&reader->json);
    while (valid && gradc_json_item(&reader->json)) {
        double value;
        valid = gradc_column_reserve(column, 1) && read_float(reader, &value);
        if (valid) {
            gradc_column_add(column, value);
        }
    }
    return valid;
}

GRADC_APART
const char *gradc_record_result(int64_t k) {
    return gradc_string(gradc_results[k % gradc_program.result_count].name);
}

struct gradc_column *gradc_record_column(const struct gradc_record *record, const char *name,
                                         size_t length) {
    for (int64_t k = 0; k < 2 * gradc_program.result_count; k++) {
        const char *result = gradc_record_result(k);
        size_t prefix = k < gradc_program.result_count ? 0 : strlen(GRADC_VALIDATION);
        if (length == prefix + strlen(result) && memcmp(name, GRADC_VALIDATION, prefix) == 0 &&
            memcmp(name + prefix, result, strlen(result)) == 0) {
            return &record->columns[k];
        }
    }
    return NULL;
}

/* The value of one column: its numbers in format 1; its length since, when a tensor has them. */
static bool read_length(struct record_reader *reader, struct gradc_column *column) {
    struct gradc_seal *seal = reader->seal;
    bool lists = gradc_json_peek(&reader->json) == '[';
    bool valid = lists ? read_column(reader, column)
                       : gradc_json_integer(&reader->json, &column->length) &&
                             column->length >= 0 && column->length <= COUNT_MAXIMUM &&
                             gradc_history_fill(column, reader->tensors, &reader->text);
    seal->lists |= lists;
    seal->lengths |= !lists;
    seal->columns += !lists;
    seal->longest = column->length > seal->longest ? column->length : seal->longest;
    return valid;
}

/* Columns that the program does not have are checked too, and forgotten. */
static bool read_history(struct record_reader *reader) {
    bool valid = gradc_json_object(&reader->json);
    while (valid && gradc_json_key(&reader->json, &reader->text)) {
        struct gradc_column other = {0};
        struct gradc_column *column =
            gradc_record_column(reader->record, reader->text.data, reader->text.length);
        if (!column) {
            reader->seal->unfit = "history";
        }
        valid = !column || !column->present;
        if (valid) {
            valid = read_length(reader, column ? column : &other);
            (column ? column : &other)->present = true;
        }
        free(other.values);
    }
    return valid;
}

static bool read_sums(struct record_reader *reader) {
    struct gradc_column sums = {0};
    int64_t scalars = gradc_program.scalar_count;
    bool valid = read_column(reader, &sums);
    if (valid && sums.length == scalars) {
        memcpy(reader->record->sums, sums.values, (size_t)scalars * sizeof *sums.values);
    } else {
        reader->seal->unfit = "sums";
    }
    free(sums.values);
    return valid;
}

/* The checksum does not cover its own bytes, which are `"checksum":"...",` as a writer writes them.
 * Where they are not, it matches nothing. */
static bool read_checksum(struct gradc_json *json, struct gradc_seal *seal) {
    static const char before[] = "\"checksum\":\"";
    if (!gradc_json_string(json, &seal->checksum)) {
        return false;
    }
    const char *begin = json->at - seal->checksum.length - sizeof before;
    seal->begin = (size_t)(begin - json->begin);
    seal->end = (size_t)(json->at + 1 - json->begin);
    if (*json->at != ',' || memcmp(begin, before, sizeof before - 1) != 0) {
        gradc_text_clear(&seal->checksum);
    }
    return true;
}

GRADC_APART GRADC_UNGUARDED
static bool read_value(struct record_reader *reader, const struct field *field) {
    struct gradc_json *json = &reader->json;
    int64_t number = 0;
    bool truth = false, valid = true;
    switch (field->kind) {
    case BOOLEAN:
        valid = gradc_json_boolean(json, &truth);
        number = truth;
        break;
    case BEST:
        reader->record->has_best = gradc_json_peek(json) != 'n';
        return reader->record->has_best ? read_float(reader, &reader->record->best)
                                        : gradc_json_null(json);
    case SUMS:
        return read_sums(reader);
    case HISTORY:
        return read_history(reader);
    case FORMAT:
        return gradc_json_integer(json, &reader->seal->format);
    case FINGERPRINT:
        return gradc_json_string(json, &reader->seal->fingerprint);
    case CHECKSUM:
        return read_checksum(json, reader->seal);
    default:
        valid = gradc_json_integer(json, &number) &&
                (field->kind == SEED ||
                 (number >= (field->kind == INDEX ? -1 : 0) && number <= COUNT_MAXIMUM));
    }
    if (valid) {
        memcpy((char *)reader->record + field->offset, &number, sizeof number);
    }
    return valid;
}

/* Read the value of field i. One that is wrong, or there again, is skipped. */
static void read_field(struct record_reader *reader, int i, bool again) {
    struct gradc_json begin = reader->json;
    if (again || !read_value(reader, &fields[i])) {
        reader->json = begin;
        gradc_json_skip(&reader->json);
        reader->seal->wrong = fields[i].name;
    }
}

static int read_fields(struct record_reader *reader, struct gradc_error *error) {
    struct gradc_json *json = &reader->json;
    uint32_t seen = 0;
    gradc_json_object(json);
    while (gradc_json_key(json, &reader->text)) {
        int i = 0;
        while (i < FIELDS && !gradc_equal(reader->text.data, fields[i].name)) {
            i++;
        }
        if (reader->text.length != strlen(reader->text.data) || i == FIELDS) {
            gradc_json_skip(json);
        } else {
            read_field(reader, i, seen >> i & 1);
            seen |= 1u << i;
        }
    }
    for (int i = 0; gradc_json_close(json) && i < FIELDS; i++) {
        if (!(seen >> i & 1)) {
            return gradc_fail(error, "'%s' is missing", fields[i].name);
        }
    }
    return json->problem ? gradc_fail(error, "%s", json->problem) : GRADC_OK;
}

/* What the fields say of each other. */
static void check_record(const struct gradc_record *record, struct gradc_seal *seal) {
    bool versions = seal->format == GRADC_FORMAT ? seal->lists : seal->lengths;
    if (!seal->wrong) {
        seal->wrong = versions || seal->longest > record->epoch ? "history"
                                                                : gradc_record_check(record);
    }
}

int gradc_fail_position(const char *field, struct gradc_error *error) {
    return gradc_fail(error, "its training position is wrong: '%s' does not fit",
                      field);
}

int gradc_record_read(struct gradc_record *record, struct gradc_seal *seal,
                      const struct gradc_tensors *tensors, struct gradc_error *error) {
    struct record_reader reader = {.record = record, .seal = seal, .tensors = tensors};
    gradc_json_open(&reader.json, tensors->metadata, tensors->metadata_length);
    int status = read_fields(&reader, error);
    gradc_text_free(&reader.text);
    if (!status) {
        check_record(record, seal);
    }
    return status ? gradc_fail_in(error, "its training position is wrong") : GRADC_OK;
}
