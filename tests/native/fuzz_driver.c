/* A small coverage-guided fuzzer for compilers without libFuzzer.
 *
 *     driver [--seconds N] [--runs N] [--seed N] [--crash FILE] [--save FOLDER] FILE|FOLDER...
 *
 * The code under test is compiled with sanitizers and -fsanitize-coverage=trace-pc, this file with
 * neither. Every file of the corpus is run as it is, then mutations of what reached something new,
 * until the time or the number of runs is up. An input that reaches a new edge, or an edge more
 * often than any before, is kept, and written to FOLDER. When the program ends in a crash, a
 * sanitizer's report or a run of more than RUN_SECONDS, the input is in the crash file. Equal
 * seeds, files and numbers of runs give equal runs.
 *
 * The method is that of AFL (lcamtuf.coredump.cx/afl/technical_details.txt): edges are pairs of
 * places, hashed into a map of counters whose logarithm counts.
 */
#include "fuzz_driver.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAP_SIZE 16384u
#define INPUT_BYTES 4096u
#define MAX_KEPT 65536u
#define RUN_SECONDS 10
#define REPORT_SECONDS 10

struct input {
    uint8_t *data;
    size_t size;
};

struct fuzzer {
    struct input *kept;
    size_t count;
    uint64_t random, runs;
    const char *save;
    uint8_t seen[MAP_SIZE]; /* one bit per logarithm of the count */
};

/* Used by instrumented code and by handlers of signals, to which nothing can be passed. */
static uint8_t counters[MAP_SIZE];
static uintptr_t place_before;
static struct input current;
static const char *crash_file = "crash-input";

void __sanitizer_cov_trace_pc(void);
void __sanitizer_set_death_callback(void (*callback)(void));

void __sanitizer_cov_trace_pc(void) {
    /* Relative, so that it does not depend on where the program was loaded. */
    uintptr_t place = (uintptr_t)__builtin_return_address(0) - (uintptr_t)LLVMFuzzerTestOneInput;
    place = (place >> 2 ^ place << 7) * 0x9e3779b1u;
    uint8_t *counter = &counters[(place ^ place_before) % MAP_SIZE];
    *counter += *counter < 255;
    place_before = place >> 1;
}

static void write_file(const char *path, const struct input *input) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (descriptor >= 0 && write(descriptor, input->data, input->size) >= 0)
        close(descriptor);
}

static void save_crash(void) {
    static const char message[] = "\nthe input that did this is in the crash file\n";
    write_file(crash_file, &current);
    if (write(STDERR_FILENO, message, sizeof message - 1) < 0)
        _exit(1);
}

static void save_and_exit(int signal_number) {
    static const char slow[] = "\na run took too long\n";
    if (signal_number == SIGALRM && write(STDERR_FILENO, slow, sizeof slow - 1) < 0)
        _exit(1);
    save_crash();
    _exit(1);
}

/* xorshift64* (Vigna, 2016); below `limit`. */
static size_t random_below(struct fuzzer *fuzzer, size_t limit) {
    fuzzer->random ^= fuzzer->random >> 12;
    fuzzer->random ^= fuzzer->random << 25;
    fuzzer->random ^= fuzzer->random >> 27;
    return (size_t)((fuzzer->random * 0x2545f4914f6cdd1dull) >> 33) % limit;
}

/* Whether some edge was taken a number of times of an order that was not seen before. */
static bool is_new(struct fuzzer *fuzzer) {
    bool found = false;
    for (size_t i = 0; i < MAP_SIZE; i++) {
        while (i % 8 == 0 && i < MAP_SIZE && memcmp(counters + i, "\0\0\0\0\0\0\0", 8) == 0)
            i += 8;
        if (i == MAP_SIZE || !counters[i])
            continue;
        uint8_t bit = (uint8_t)(1u << (31 - __builtin_clz(counters[i])));
        found |= !(fuzzer->seen[i] & bit);
        fuzzer->seen[i] |= bit;
    }
    return found;
}

/* Write an input under the name of its FNV-1a hash: one file for equal inputs. */
static void save_input(const char *folder, const struct input *input) {
    uint64_t hash = 0xcbf29ce484222325ull;
    char path[4096];
    for (size_t i = 0; i < input->size; i++)
        hash = (hash ^ input->data[i]) * 0x100000001b3ull;
    snprintf(path, sizeof path, "%s/%016llx", folder, (unsigned long long)hash);
    write_file(path, input);
}

/* Run an input, given away, and keep it if it is of use. */
static void run(struct fuzzer *fuzzer, struct input input) {
    current = input;
    memset(counters, 0, sizeof counters);
    place_before = 0;
    alarm(RUN_SECONDS);
    LLVMFuzzerTestOneInput(input.data, input.size);
    fuzzer->runs++;
    bool useful = is_new(fuzzer) || fuzzer->count == 0;
    if (!useful || fuzzer->count == MAX_KEPT) {
        free(input.data);
        return;
    }
    fuzzer->kept[fuzzer->count++] = input;
    if (fuzzer->save)
        save_input(fuzzer->save, &input);
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Put `size` bytes in the place of `removed` bytes at `at`. */
static void replace(struct input *input, size_t at, size_t removed, const void *bytes,
                    size_t size) {
    size = smaller(size, INPUT_BYTES - (input->size - removed));
    memmove(input->data + at + size, input->data + at + removed, input->size - at - removed);
    memcpy(input->data + at, bytes, size);
    input->size += size - removed;
}

/* One small change; `buffer` has room for INPUT_BYTES bytes. */
static void mutate(struct fuzzer *fuzzer, struct input *input, uint8_t *buffer) {
    static const uint8_t bytes[] = {0, 1, 7, 8, 16, 32, 64, 0x7f, 0x80, 0xff, '"', '\\', '0', '9'};
    size_t at = random_below(fuzzer, input->size + 1), rest = input->size - at, words = 0;
    size_t length = smaller(rest, 1 + random_below(fuzzer, random_below(fuzzer, 4) ? 8 : 200));
    switch (random_below(fuzzer, 8)) {
    case 0: /* a bit */
        if (rest)
            input->data[at] ^= (uint8_t)(1u << random_below(fuzzer, 8));
        break;
    case 1: /* a byte of special meaning */
        if (rest)
            input->data[at] = bytes[random_below(fuzzer, sizeof bytes)];
        break;
    case 2: /* a little more or less */
        if (rest)
            input->data[at] = (uint8_t)(input->data[at] + random_below(fuzzer, 17) - 8);
        break;
    case 3: /* bytes less */
        replace(input, at, length, buffer, 0);
        break;
    case 4: /* the same bytes once more, there or elsewhere */
        memcpy(buffer, input->data + at, length);
        replace(input, random_below(fuzzer, input->size + 1), 0, buffer, length);
        break;
    case 5: /* random bytes */
        for (size_t i = 0; i < length; i++)
            input->data[at + i] = (uint8_t)random_below(fuzzer, 256);
        break;
    case 6: { /* a word, inserted or over what is there */
        while (fuzz_words[words])
            words++;
        const char *word = fuzz_words[random_below(fuzzer, words)];
        replace(input, at, random_below(fuzzer, 2) ? smaller(rest, strlen(word)) : 0, word,
                strlen(word));
        break;
    }
    case 7: { /* a part of another input */
        const struct input *other = &fuzzer->kept[random_below(fuzzer, fuzzer->count)];
        size_t from = random_below(fuzzer, other->size + 1);
        size_t part = smaller(other->size - from, 1 + random_below(fuzzer, 200));
        replace(input, at, random_below(fuzzer, 2) ? length : 0, other->data + from, part);
        break;
    }
    }
}

/* The memory of an input has exactly its size, so that a read of one byte more is seen. */
static struct input copy(const uint8_t *data, size_t size) {
    struct input input = {malloc(size), size};
    if (size)
        memcpy(input.data, data, size);
    return input;
}

static void run_mutation(struct fuzzer *fuzzer, uint8_t *work, uint8_t *buffer) {
    /* Half of the time one of the last that were kept: they are the furthest. */
    size_t window = random_below(fuzzer, 2) ? smaller(fuzzer->count, 16) : fuzzer->count;
    const struct input *parent = &fuzzer->kept[fuzzer->count - 1 - random_below(fuzzer, window)];
    struct input input = {work, parent->size};
    memcpy(work, parent->data, parent->size);
    for (size_t changes = (size_t)1 << random_below(fuzzer, 5); changes > 0; changes--)
        mutate(fuzzer, &input, buffer);
    run(fuzzer, copy(input.data, input.size));
}

static void run_file(struct fuzzer *fuzzer, const char *path) {
    uint8_t data[INPUT_BYTES];
    int descriptor = open(path, O_RDONLY);
    ssize_t size = descriptor < 0 ? -1 : read(descriptor, data, sizeof data);
    if (size < 0) {
        perror(path);
        exit(2);
    }
    close(descriptor);
    run(fuzzer, copy(data, (size_t)size));
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A file, or all files of a folder in the order of their names. */
static void run_corpus(struct fuzzer *fuzzer, const char *path) {
    DIR *folder = opendir(path);
    if (!folder) {
        run_file(fuzzer, path);
        return;
    }
    char **paths = calloc(MAX_KEPT, sizeof *paths);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && count < MAX_KEPT;)
        if (entry->d_name[0] != '.' && asprintf(&paths[count], "%s/%s", path, entry->d_name) > 0)
            count++;
    closedir(folder);
    qsort(paths, count, sizeof *paths, compare_names);
    for (size_t i = 0; i < count; i++) {
        run_file(fuzzer, paths[i]);
        free(paths[i]);
    }
    free(paths);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void report(const struct fuzzer *fuzzer, double seconds) {
    size_t edges = 0;
    for (size_t i = 0; i < MAP_SIZE; i++)
        edges += fuzzer->seen[i] != 0;
    printf("%llu executions, %.0f/s, %zu edges, %zu inputs kept\n",
           (unsigned long long)fuzzer->runs, (double)fuzzer->runs / (seconds + 1e-9), edges,
           fuzzer->count);
    fflush(stdout);
}

static void fuzz(struct fuzzer *fuzzer, uint64_t runs, double seconds) {
    static uint8_t work[INPUT_BYTES], buffer[INPUT_BYTES];
    double started = now(), reported = started, time = started;
    uint64_t given = fuzzer->runs;
    while (runs ? fuzzer->runs - given < runs : time - started < seconds) {
        run_mutation(fuzzer, work, buffer);
        time = now();
        if (time - reported >= REPORT_SECONDS) {
            reported = time;
            report(fuzzer, time - started);
        }
    }
    report(fuzzer, time - started);
}

int main(int argc, char **argv) {
    static struct fuzzer fuzzer;
    double seconds = 0;
    uint64_t runs = 0, seed = 1;
    int i = 1;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--seconds") == 0)
            seconds = strtod(value, NULL);
        else if (strcmp(argv[i], "--runs") == 0)
            runs = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--crash") == 0)
            crash_file = value;
        else if (strcmp(argv[i], "--save") == 0)
            fuzzer.save = value;
        else
            break;
    }
    fuzzer.kept = calloc(MAX_KEPT, sizeof *fuzzer.kept);
    fuzzer.random = seed * 0x9e3779b97f4a7c15ull + 1;
    __sanitizer_set_death_callback(save_crash);
    signal(SIGABRT, save_and_exit);
    signal(SIGALRM, save_and_exit);
    run(&fuzzer, copy(NULL, 0)); /* so that there is something to mutate */
    for (; i < argc; i++)
        run_corpus(&fuzzer, argv[i]);
    fuzz(&fuzzer, runs, seconds);
    return 0;
}
