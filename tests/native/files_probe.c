/* The file layer of the native runtime, driven by the tests through pipes (native_files.py).
 *
 *     request    LENGTH COMMAND [ARGUMENTS]\n      then LENGTH bytes
 *     reply      LENGTH\n                          then LENGTH bytes of JSON
 *
 *     npy, safetensors, json, sha256    read the bytes of the request
 *     npy_header DTYPE EXTENT...        what numpy.save would write
 *     safetensors_header                the bytes: [[[name, dtype, [extent...]]...], metadata]
 *     map PATH                          size and digest of a file
 *     write FLAG PATH                   replace a file by the bytes; 1 keeps the previous one
 *     abandon PATH                      the same, given up before it is complete
 *     limit BYTES                       of files written from now on; SIGXFSZ is ignored
 *
 * One process answers any number of requests. The bytes of each are in memory of exactly their
 * size, so that the address sanitizer sees a read of one byte more.
 */
#include "file.h"
#include "json.h"
#include "npy.h"
#include "safetensors.h"
#include "sha256.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define MAX_TENSORS 64

struct request {
    char command[32];
    char *arguments;
    unsigned char *data;
    size_t size;
};

static void add_error(struct gradc_text *reply, const struct gradc_error *error) {
    gradc_text_print(reply, "\"status\":%d", error->status);
    if (error->status) {
        gradc_text_add(reply, ",\"error\":");
        gradc_text_json(reply, error->text, strlen(error->text));
    }
}

static void add_shape(struct gradc_text *reply, int rank, const int64_t *shape) {
    gradc_text_add(reply, ",\"shape\":[");
    for (int axis = 0; axis < rank; axis++)
        gradc_text_print(reply, axis ? ",%" PRId64 : "%" PRId64, shape[axis]);
    gradc_text_add(reply, "]");
}

static void add_hexadecimal(struct gradc_text *reply, const char *key, const void *data,
                            size_t size) {
    const unsigned char *bytes = data;
    gradc_text_print(reply, ",\"%s\":\"", key);
    for (size_t i = 0; i < size; i++)
        gradc_text_print(reply, "%02x", bytes[i]);
    gradc_text_add(reply, "\"");
}

static void answer_npy(struct gradc_text *reply, const struct request *request) {
    struct gradc_error error = {0};
    struct gradc_npy npy;
    gradc_npy_parse(request->data, request->size, &npy, &error);
    add_error(reply, &error);
    if (error.status)
        return;
    gradc_text_print(reply, ",\"dtype\":\"%s%s\",\"swapped\":%d", npy.is_uint ? "u" : "",
                     gradc_dtypes[npy.dtype].name, npy.swapped);
    gradc_text_print(reply, ",\"offset\":%zu,\"elements\":%" PRId64, npy.offset, npy.elements);
    add_shape(reply, npy.rank, npy.shape);
}

static void answer_safetensors(struct gradc_text *reply, const struct request *request) {
    struct gradc_error error = {0};
    struct gradc_tensors tensors;
    gradc_safetensors_parse(request->data, request->size, &tensors, &error);
    add_error(reply, &error);
    if (tensors.metadata) {
        gradc_text_add(reply, ",\"metadata\":");
        gradc_text_json(reply, tensors.metadata, tensors.metadata_length);
    }
    gradc_text_add(reply, ",\"tensors\":[");
    for (size_t i = 0; i < tensors.count; i++) {
        const struct gradc_tensor *tensor = &tensors.items[i];
        gradc_text_add(reply, i ? ",{\"name\":" : "{\"name\":");
        gradc_text_json(reply, tensor->name, tensor->name_length);
        gradc_text_print(reply, ",\"dtype\":\"%s\"", gradc_dtypes[tensor->dtype].file_name);
        add_shape(reply, tensor->rank, tensor->shape);
        add_hexadecimal(reply, "data", tensor->data, tensor->bytes);
        gradc_text_add(reply, "}");
    }
    gradc_text_add(reply, "]");
    gradc_tensors_free(&tensors);
}

/* Write the value that comes in a plain form. Numbers that are no 64-bit integers become the text
 * "number". */
static void copy_value(struct gradc_text *out, struct gradc_json *json) {
    struct gradc_text text = {0};
    struct gradc_json before = *json;
    char kind = gradc_json_peek(json);
    int64_t integer;
    bool truth, more = false;
    switch (kind) {
    case '{':
        gradc_text_add(out, "{");
        for (gradc_json_object(json); gradc_json_key(json, &text); more = true) {
            gradc_text_add(out, more ? "," : "");
            gradc_text_json(out, text.data, text.length);
            gradc_text_add(out, ":");
            copy_value(out, json);
        }
        gradc_text_add(out, "}");
        break;
    case '[':
        gradc_text_add(out, "[");
        for (gradc_json_array(json); gradc_json_item(json); more = true) {
            gradc_text_add(out, more ? "," : "");
            copy_value(out, json);
        }
        gradc_text_add(out, "]");
        break;
    case '"':
        if (gradc_json_string(json, &text))
            gradc_text_json(out, text.data, text.length);
        break;
    case '0':
        if (gradc_json_integer(json, &integer)) {
            gradc_text_print(out, "%" PRId64, integer);
            break;
        }
        *json = before;
        gradc_json_skip(json);
        gradc_text_add(out, "\"number\"");
        break;
    case 't':
        if (gradc_json_boolean(json, &truth))
            gradc_text_add(out, truth ? "true" : "false");
        break;
    case 'n':
        gradc_json_null(json);
        gradc_text_add(out, "null");
        break;
    }
    gradc_text_free(&text);
}

static void answer_json(struct gradc_text *reply, const struct request *request) {
    const char *data = (const char *)request->data;
    struct gradc_text value = {0};
    struct gradc_json json, skipped;
    gradc_json_open(&json, data, request->size);
    copy_value(&value, &json);
    bool valid = gradc_json_close(&json);
    gradc_json_open(&skipped, data, request->size);
    gradc_json_skip(&skipped);
    bool skipped_too = gradc_json_close(&skipped);
    gradc_text_print(reply, "\"status\":%d,\"agree\":%d", !valid, valid == skipped_too);
    if (valid)
        gradc_text_print(reply, ",\"value\":%s", value.data);
    else
        gradc_text_print(reply, ",\"error\":\"%s\",\"at\":%td", json.problem, json.at - json.begin);
    gradc_text_free(&value);
}

static void answer_sha256(struct gradc_text *reply, const struct request *request) {
    struct gradc_sha256 hash;
    char digest[65];
    size_t done = 0, part = 1;
    gradc_sha256_begin(&hash);
    for (; done < request->size; done += part, part = part * 3 % 200 + 1) {
        size_t rest = request->size - done;
        part = part < rest ? part : rest;
        gradc_sha256_add(&hash, request->data + done, part);
    }
    gradc_sha256_end(&hash, digest);
    gradc_text_print(reply, "\"status\":0,\"digest\":\"%s\"", digest);
}

static enum gradc_dtype find_dtype(const char *name) {
    int dtype = 0;
    while (dtype < GRADC_DTYPES && strcmp(gradc_dtypes[dtype].name, name) != 0)
        dtype++;
    if (dtype == GRADC_DTYPES)
        abort();
    return (enum gradc_dtype)dtype;
}

static void answer_npy_header(struct gradc_text *reply, const struct request *request) {
    char *rest = NULL;
    struct gradc_text header = {0};
    int64_t shape[GRADC_MAX_RANK];
    int rank = 0;
    enum gradc_dtype dtype = find_dtype(strtok_r(request->arguments, " ", &rest));
    for (char *word; (word = strtok_r(NULL, " ", &rest)) != NULL;)
        shape[rank++] = strtoll(word, NULL, 10);
    gradc_npy_header(&header, dtype, rank, shape);
    gradc_text_add(reply, "\"status\":0");
    add_hexadecimal(reply, "header", header.data, header.length);
    gradc_text_free(&header);
}

static void answer_safetensors_header(struct gradc_text *reply, const struct request *request) {
    struct gradc_tensor tensors[MAX_TENSORS] = {0};
    struct gradc_text dtype = {0}, metadata = {0}, header = {0};
    struct gradc_json json;
    size_t count = 0;
    gradc_json_open(&json, (const char *)request->data, request->size);
    gradc_json_array(&json);
    gradc_json_item(&json);
    for (gradc_json_array(&json); gradc_json_item(&json); count++) {
        struct gradc_tensor *tensor = &tensors[count];
        struct gradc_text name = {0};
        gradc_json_array(&json);
        gradc_json_item(&json);
        gradc_json_string(&json, &name);
        tensor->name = name.data;
        tensor->name_length = name.length;
        gradc_json_item(&json);
        gradc_json_string(&json, &dtype);
        tensor->dtype = find_dtype(dtype.data);
        gradc_json_item(&json);
        for (gradc_json_array(&json); gradc_json_item(&json);)
            gradc_json_integer(&json, &tensor->shape[tensor->rank++]);
        gradc_json_item(&json);
    }
    gradc_json_item(&json);
    bool absent = gradc_json_peek(&json) == 'n';
    if (absent)
        gradc_json_null(&json);
    else
        gradc_json_string(&json, &metadata);
    gradc_json_item(&json);
    if (!gradc_json_close(&json))
        abort();
    gradc_text_add(&header, "before"); /* the header is appended */
    gradc_safetensors_header(&header, tensors, count, absent ? NULL : metadata.data,
                             metadata.length);
    gradc_text_print(reply, "\"status\":%d", header.failed);
    if (!header.failed)
        add_hexadecimal(reply, "header", header.data + 6, header.length - 6);
    gradc_text_add(reply, ",\"order\":[");
    for (size_t i = 0; i < count; i++) {
        gradc_text_add(reply, i ? "," : "");
        gradc_text_json(reply, tensors[i].name, tensors[i].name_length);
        free(tensors[i].name);
    }
    gradc_text_add(reply, "]");
    gradc_text_free(&dtype);
    gradc_text_free(&metadata);
    gradc_text_free(&header);
}

static void answer_map(struct gradc_text *reply, const struct request *request) {
    struct gradc_error error = {0};
    struct gradc_mapping mapping;
    struct gradc_sha256 hash;
    char digest[65];
    gradc_map(&mapping, request->arguments, &error);
    gradc_sha256_begin(&hash);
    gradc_sha256_add(&hash, mapping.data, mapping.size);
    gradc_sha256_end(&hash, digest);
    add_error(reply, &error);
    gradc_text_print(reply, ",\"size\":%zu,\"digest\":\"%s\",\"exists\":%d,\"null\":%d",
                     mapping.size, digest, gradc_file_exists(request->arguments), !mapping.data);
    gradc_unmap(&mapping);
}

static void answer_write(struct gradc_text *reply, const struct request *request, bool complete) {
    struct gradc_error error = {0};
    struct gradc_writer writer;
    bool keep = complete && request->arguments[0] == '1';
    gradc_writer_open(&writer, request->arguments + (complete ? 2 : 0), &error);
    for (size_t done = 0, part = 1; done < request->size; done += part, part = part * 7 % 99999) {
        size_t rest = request->size - done;
        part = part < rest ? part : rest;
        gradc_writer_add(&writer, request->data + done, part);
    }
    if (complete && gradc_writer_commit(&writer, keep) != error.status)
        abort();
    gradc_writer_abandon(&writer); /* allowed at any time */
    add_error(reply, &error);
}

static void answer_limit(struct gradc_text *reply, const struct request *request) {
    rlim_t bytes = strtoull(request->arguments, NULL, 10);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){bytes, RLIM_INFINITY});
    gradc_text_add(reply, "\"status\":0");
}

static void answer(struct gradc_text *reply, const struct request *request) {
    const char *command = request->command;
    if (strcmp(command, "npy") == 0)
        answer_npy(reply, request);
    else if (strcmp(command, "safetensors") == 0)
        answer_safetensors(reply, request);
    else if (strcmp(command, "json") == 0)
        answer_json(reply, request);
    else if (strcmp(command, "sha256") == 0)
        answer_sha256(reply, request);
    else if (strcmp(command, "npy_header") == 0)
        answer_npy_header(reply, request);
    else if (strcmp(command, "safetensors_header") == 0)
        answer_safetensors_header(reply, request);
    else if (strcmp(command, "map") == 0)
        answer_map(reply, request);
    else if (strcmp(command, "write") == 0 || strcmp(command, "abandon") == 0)
        answer_write(reply, request, command[0] == 'w');
    else if (strcmp(command, "limit") == 0)
        answer_limit(reply, request);
    else
        abort();
}

int main(void) {
    char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        struct request request = {0};
        int begin = 0;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%zu %31s %n", &request.size, request.command, &begin) != 2)
            abort();
        request.arguments = line + begin;
        request.data = malloc(request.size);
        if (request.size && fread(request.data, request.size, 1, stdin) != 1)
            abort();
        struct gradc_text reply = {0};
        gradc_text_add(&reply, "{");
        answer(&reply, &request);
        gradc_text_add(&reply, "}");
        if (reply.failed)
            abort();
        printf("%zu\n", reply.length);
        fwrite(reply.data, reply.length, 1, stdout);
        fflush(stdout);
        gradc_text_free(&reply);
        free(request.data);
    }
    return 0;
}
