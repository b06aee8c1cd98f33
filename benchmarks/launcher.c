/* Run a command some times; for each run print its seconds and its peak resident memory in KiB.
 *
 *     launcher RUNS COMMAND [ARGUMENT...]
 *
 * A small process of its own: what a child of Python reports as its peak begins with Python's.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
    for (int run = 0; argc > 2 && run < atoi(argv[1]); run++) {
        double begin = now();
        pid_t child = fork();
        if (child == 0) {
            dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
            execv(argv[2], argv + 2);
            _exit(127);
        }
        int status;
        struct rusage usage;
        wait4(child, &status, 0, &usage);
        double seconds = now() - begin;
        if (!WIFEXITED(status) || WEXITSTATUS(status)) {
            return 1;
        }
        printf("%.9f %ld\n", seconds, usage.ru_maxrss);
    }
    return 0;
}
