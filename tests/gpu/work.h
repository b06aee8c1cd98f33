/* Pieces of work on streams and in graphs. */
#ifndef STAND_IN_WORK_H
#define STAND_IN_WORK_H

#include "stand_in.h"

#define CLOCKS 1024 /* pieces of work between two events whose distance is asked for, at most */

enum work_kind { KERNEL, COPY, FILL, GRAPH };

struct work {
    enum work_kind kind;
    /* KERNEL */
    struct function *function;
    unsigned grid[3], block[3];
    unsigned char *values; /* the parameters, copied when the launch was made */
    /* COPY: host addresses as they were given; `staged` holds what was in pageable memory then */
    uint64_t to, from;
    size_t size;
    unsigned char *staged;
    /* FILL: `size` elements of `width` bytes at `to` */
    unsigned value;
    int width;
    /* GRAPH */
    struct list *graph;
};

struct list {
    size_t count, room;
    struct work *work;
};

struct stream {
    struct list waiting;
    size_t done; /* pieces of work that have run */
    struct list *captured; /* null: no capture */
    bool spoilt;           /* something was done that cannot be captured */
    long long clocks_ns[CLOCKS]; /* what the clock said after each of the last pieces */
};

int work_add(struct list *list, struct work work);
void list_free(struct list *list);
struct list *list_copy(const struct list *list);
/* Run the first pieces of work that wait on a stream; all of them where there are fewer. */
int stream_flush(struct stream *stream, size_t count);
/* What the clock said when so many pieces of a stream's work had run. */
long long clock_after(const struct stream *stream, size_t count);
/* The parameters of a launch, copied as the driver copies them. */
unsigned char *work_copy_values(const struct function *function, void *const *parameters);
/* Run what stands for the kernel. */
int work_call(const struct work *work);

extern stand_in_kernel *stand_in_handler;

#endif
