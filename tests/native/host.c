/* A program around a library: one case per name, each a thing that programs do to their threads.
 *
 * Usage: host CASE FOLDER. Ends with 0 if the library kept its promises, else it says what failed.
 * The model is called `guest`: inputs x float[rows, IN] and y float[rows], output z float[rows].
 */
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"

#define ROWS GRADC_GUEST_BATCH
#define SOME (ROWS - 3)

static float x[ROWS * IN], y[ROWS];
static char path[4096];

#define CHECK(condition)                                                           \
    do {                                                                           \
        if (!(condition)) {                                                        \
            fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
            _exit(1);                                                              \
        }                                                                          \
    } while (0)

/* Everything that a session computes, as bytes to be compared. */
struct life {
    double steps[6], evaluated;
    float z[ROWS];
};

static gradc_guest *begin(int64_t threads) {
    gradc_guest *session;
    CHECK(gradc_guest_init(&session, 7, threads) == 0);
    return session;
}

static void go_on(gradc_guest *session, struct life *life) {
    for (int n = 0; n < 6; n++) {
        CHECK(gradc_guest_step(session, n % 2 ? SOME : ROWS, x, y, &life->steps[n]) == 0);
    }
    CHECK(gradc_guest_evaluate(session, ROWS, x, y, &life->evaluated) == 0);
    CHECK(gradc_guest_predict(session, ROWS, x, life->z) == 0);
}

static struct life whole_life(int64_t threads) {
    struct life life;
    memset(&life, 0, sizeof life);
    gradc_guest *session = begin(threads);
    go_on(session, &life);
    CHECK(gradc_guest_save(session, path) == 0);
    CHECK(gradc_guest_load(session, path) == 0);
    gradc_guest_free(session);
    return life;
}

static bool same(struct life a, struct life b) {
    return memcmp(&a, &b, sizeof a) == 0;
}

static void wait_for(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---------------------------------------------------------------- fork */

static void a_child_goes_on(void) {
    struct life expected, life;
    gradc_guest *reference = begin(1), *session = begin(2);
    go_on(reference, &expected);
    go_on(reference, &expected); /* from the second time on */
    go_on(session, &life);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        go_on(session, &life);
        CHECK(same(life, expected));
        CHECK(gradc_guest_save(session, path) == 0);
        gradc_guest_free(session);
        CHECK(same(whole_life(2), whole_life(1))); /* with threads of its own */
        _exit(0);
    }
    wait_for(child);
    go_on(session, &life);
    CHECK(same(life, expected));
    gradc_guest_free(session);
    gradc_guest_free(reference);
}

/* ---------------------------------------------------------------- floating point */

#if defined(__x86_64__)
static unsigned control(void) {
    return __builtin_ia32_stmxcsr();
}
static void set_control(unsigned value) {
    __builtin_ia32_ldmxcsr(value);
}
#define FLUSHING 0x8040u
#else
static unsigned control(void) {
    unsigned long value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return (unsigned)value;
}
static void set_control(unsigned value) {
    __asm__ volatile("msr fpcr, %0" : : "r"((unsigned long)value));
}
#define FLUSHING (1u << 24)
#endif

static void arithmetic_is_ours(void) {
    const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    y[0] = 1e-39f; /* below the normal numbers: flushing shows */
    struct life expected = whole_life(1);
    for (int threads = 1; threads <= 2; threads++) {
        for (int mode = 0; mode < 4; mode++) {
            for (int more = 0; more < 3; more++) {
                fesetround(modes[mode]);
                unsigned set = control() | (more == 1 ? FLUSHING : 0);
                set_control(set);
                if (more == 2) {
                    feenableexcept(FE_ALL_EXCEPT);
                    set = control();
                }
                struct life life = whole_life(threads);
                unsigned left = control();
                fedisableexcept(FE_ALL_EXCEPT);
                fesetenv(FE_DFL_ENV);
                CHECK(left == set);
                CHECK(same(life, expected));
            }
        }
    }
}

/* ---------------------------------------------------------------- threads and stacks */

static volatile bool done;

static void *live(void *result) {
    *(struct life *)result = whole_life(2);
    return NULL;
}

static void a_small_stack_is_enough(void) {
    struct life expected = whole_life(1), life;
    pthread_attr_t attributes;
    pthread_t thread;
    long least = sysconf(_SC_THREAD_STACK_MIN);
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, least > STACK ? (size_t)least : STACK) == 0);
    CHECK(pthread_create(&thread, &attributes, live, &life) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(same(life, expected));
}

static gradc_guest *shared;

static void *keep_stepping(void *unused) {
    double loss;
    while (!done) {
        int status = gradc_guest_step(shared, ROWS, x, y, &loss);
        CHECK(status == 0 || status == GRADC_GUEST_BAD_ARGUMENT);
    }
    return unused;
}

static void calls_at_once_are_refused(void) {
    pthread_t thread;
    double loss;
    shared = begin(1);
    CHECK(pthread_create(&thread, NULL, keep_stepping, NULL) == 0);
    while (gradc_guest_step(shared, ROWS, x, y, &loss) == 0) {
    }
    CHECK(strcmp(gradc_guest_error(shared), "another call on this session has not ended") == 0 ||
          !gradc_guest_error(shared)[0]); /* the other's next call has begun */
    done = true;
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(gradc_guest_step(shared, ROWS, x, y, &loss) == 0);
    gradc_guest_free(shared);
}

static void *step_until_cancelled(void *unused) {
    double loss;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &(int){0});
    for (;;) {
        CHECK(gradc_guest_step(shared, ROWS, x, y, &loss) == 0);
        CHECK(gradc_guest_save(shared, path) == 0);
        pthread_testcancel();
    }
    return unused;
}

static void a_cancelled_thread_ends_its_call_first(void) {
    for (int n = 0; n < 20; n++) {
        pthread_t thread;
        double loss;
        shared = begin(2);
        CHECK(gradc_guest_save(shared, path) == 0);
        CHECK(pthread_create(&thread, NULL, step_until_cancelled, NULL) == 0);
        usleep(1000 * (unsigned)n);
        CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, NULL) == 0);
        CHECK(gradc_guest_step(shared, ROWS, x, y, &loss) == 0);
        CHECK(gradc_guest_load(shared, path) == 0);
        gradc_guest_free(shared);
    }
}

/* ---------------------------------------------------------------- signals and files */

static volatile sig_atomic_t arrived;

static void count(int number) {
    (void)number;
    arrived++;
}

static void a_limit_on_files_is_an_error(void) {
    const struct rlimit limit = {100, RLIM_INFINITY};
    sigset_t pending, set;
    gradc_guest *session = begin(1);
    CHECK(gradc_guest_save(session, path) == 0);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(gradc_guest_save(session, path) == GRADC_GUEST_BAD_FILE); /* its action is to kill */
    CHECK(strstr(gradc_guest_error(session), "cannot be written: File too large"));
    signal(SIGXFSZ, count);
    CHECK(gradc_guest_save(session, path) == GRADC_GUEST_BAD_FILE);
    CHECK(arrived == 0 && sigpending(&pending) == 0 && !sigismember(&pending, SIGXFSZ));
    sigemptyset(&set); /* one that was on its way before stays */
    sigaddset(&set, SIGXFSZ);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pthread_kill(pthread_self(), SIGXFSZ);
    CHECK(gradc_guest_save(session, path) == GRADC_GUEST_BAD_FILE);
    CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGXFSZ));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    CHECK(arrived == 1);
    CHECK(gradc_guest_load(session, path) == 0); /* what was saved first is still there */
    gradc_guest_free(session);
}

/* A thread that prints all the time, as one that logs does. */
static void *keep_printing(void *unused) {
    while (!done) {
        for (int descriptor = 0; descriptor < 3; descriptor++) {
            ssize_t ignored = write(descriptor, "noise", 5);
            (void)ignored;
        }
    }
    return unused;
}

static void closed_descriptors_are_not_taken(void) {
    struct life expected = whole_life(1);
    pthread_t thread;
    for (int descriptor = 0; descriptor < 3; descriptor++) {
        close(descriptor);
    }
    CHECK(pthread_create(&thread, NULL, keep_printing, NULL) == 0);
    for (int n = 0; n < 50; n++) {
        CHECK(same(whole_life(2), expected)); /* what was saved is whole, or it does not load */
    }
    done = true;
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) < 0 && fcntl(2, F_GETFD) < 0);
}

static void the_locale_changes_nothing(void) {
    struct life expected = whole_life(1);
    CHECK(setlocale(LC_ALL, "de_DE.UTF-8") && localeconv()->decimal_point[0] == ',');
    CHECK(same(whole_life(1), expected));
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"fork", a_child_goes_on},
    {"arithmetic", arithmetic_is_ours},
    {"stack", a_small_stack_is_enough},
    {"at-once", calls_at_once_are_refused},
    {"cancel", a_cancelled_thread_ends_its_call_first},
    {"file-limit", a_limit_on_files_is_an_error},
    {"closed", closed_descriptors_are_not_taken},
    {"locale", the_locale_changes_nothing},
};

int main(int argc, char **argv) {
    for (int n = 0; n < ROWS * IN; n++) {
        x[n] = (float)(n % 89) / 89 - 0.4f;
        y[n % ROWS] = (float)(n % 7) / 7;
    }
    for (size_t n = 0; argc == 3 && n < sizeof cases / sizeof *cases; n++) {
        if (strcmp(argv[1], cases[n].name) == 0) {
            snprintf(path, sizeof path, "%s/%s.safetensors", argv[2], argv[1]);
            cases[n].run();
            return 0;
        }
    }
    return 2;
}
