/* See mpc_pipe.h. Linux only: a futex is what wakes another process without a file descriptor between them. */
#define _GNU_SOURCE 1                          /* sched_getcpu */
#include "mpc_pipe.h"

#ifdef __linux__

#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Positions only grow; position p lies at p % capacity. Each side writes a cache line of its own. */
typedef struct pipe_head {
    _Alignas(64) _Atomic uint64_t written;
    _Atomic uint32_t core; /* on which the writer last wrote */
    _Alignas(64) _Atomic uint64_t read;
    _Alignas(64) _Atomic uint32_t full; /* the writer waits for room */
} pipe_head;

typedef struct bell {
    _Atomic uint32_t rung, waiting;
    uint32_t beside; /* times in a row that its owner was woken on the core of who woke it */
} bell;

enum { PIPE_HEAD = 192 };
_Static_assert(sizeof(pipe_head) == PIPE_HEAD, "the layout is part of the interface");

int mpc_pipe_supported(void) { return 1; }

/* What was published before this call is seen by whoever it wakes: a waiter sets `waiting` first and looks again then,
 * so of the two one sees the other's store. */
static void ring(bell *b)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&b->waiting, memory_order_relaxed)) return;
    atomic_fetch_add(&b->rung, 1);
    syscall(SYS_futex, &b->rung, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void await(bell *b, uint32_t seen, int wait)
{
    const struct timespec limit = {wait / 1000, (wait % 1000) * 1000000L};
    syscall(SYS_futex, &b->rung, FUTEX_WAIT, seen, &limit, NULL, 0);
}

/* Two who wait for each other ten times a millisecond can stay on one core for long while another is idle: the kernel
 * looks for an idle one only where there is time for it. Who finds itself there again and again moves away, and may be moved
 * back at any time. */
static void part(bell *mine, const pipe_head *p)
{
    enum { PATIENCE = 4 };
    cpu_set_t all, others;
    const int core = sched_getcpu();
    if (core < 0 || (uint32_t)core != atomic_load_explicit(&p->core, memory_order_relaxed)) mine->beside = 0;
    else if (++mine->beside >= PATIENCE && sched_getaffinity(0, sizeof all, &all) == 0) {
        mine->beside = 0;
        others = all;
        CPU_CLR((size_t)core, &others);
        if (CPU_COUNT(&others) && sched_setaffinity(0, sizeof others, &others) == 0) sched_setaffinity(0, sizeof all, &all);
    }
}

/* The lines of a pipe are in another core's cache, or in none: asked for ahead of time they come at 13 to 17 GB/s, one by one, as
 * memcpy does, at 8. A line is SOON bytes ahead; where that is outside, asking for it does nothing. */
static void copy(uint8_t *to, const uint8_t *from, size_t n)
{
    enum { BLOCK = 64, SOON = 1024 };
    for (; n >= BLOCK; n -= BLOCK, to += BLOCK, from += BLOCK) {
        __builtin_prefetch((const void *)((uintptr_t)to + SOON), 1); /* not a pointer: it may be outside */
        __builtin_prefetch((const void *)((uintptr_t)from + SOON), 0);
        memcpy(to, from, BLOCK);
    }
    memcpy(to, from, n);
}

/* Copies between a run of positions and plain memory. */
static void copy_in(uint8_t *buffer, size_t capacity, uint64_t at, const uint8_t *data, size_t n)
{
    const size_t start = at & (capacity - 1), head = n < capacity - start ? n : capacity - start;
    copy(buffer + start, data, head);
    copy(buffer, data + head, n - head);
}

static void copy_out(const uint8_t *buffer, size_t capacity, uint64_t at, uint8_t *data, size_t n)
{
    const size_t start = at & (capacity - 1), head = n < capacity - start ? n : capacity - start;
    copy(data, buffer + start, head);
    copy(data + head, buffer, n - head);
}

/* A writer that lacked room sleeps until a quarter of the buffer is free: not once for every message that is read. */
static bool roomy(size_t room, size_t capacity) { return room >= capacity / 4; }

static size_t room(pipe_head *p, size_t capacity)
{
    const uint64_t used = atomic_load_explicit(&p->written, memory_order_relaxed) - atomic_load(&p->read);
    return used < capacity ? capacity - used : 0; /* the peer's count is not trusted */
}

size_t mpc_pipe_put(void *pipe, size_t capacity, void *reader_bell, const void *data, size_t n)
{
    pipe_head *p = pipe;
    const size_t fits = room(p, capacity), take = n < fits ? n : fits;
    if (!take) return 0;
    const uint64_t at = atomic_load_explicit(&p->written, memory_order_relaxed);
    copy_in((uint8_t *)pipe + PIPE_HEAD, capacity, at, data, take);
    atomic_store_explicit(&p->core, (uint32_t)sched_getcpu(), memory_order_relaxed);
    atomic_store_explicit(&p->written, at + take, memory_order_release);
    ring(reader_bell);
    return take;
}

static size_t available(pipe_head *p, size_t capacity)
{
    const uint64_t n = atomic_load(&p->written) - atomic_load_explicit(&p->read, memory_order_relaxed);
    return n < capacity ? n : capacity;
}

size_t mpc_pipe_get(void *pipe, size_t capacity, void *writer_bell, void *my_bell, void *data, size_t n, int wait)
{
    pipe_head *p = pipe;
    bell *mine = my_bell;
    size_t there = available(p, capacity);
    if (!there && wait > 0) {
        const uint32_t seen = atomic_load(&mine->rung);
        atomic_store(&mine->waiting, 1);
        atomic_thread_fence(memory_order_seq_cst);
        there = available(p, capacity);
        if (!there) await(mine, seen, wait);
        atomic_store(&mine->waiting, 0);
        there = available(p, capacity);
        if (there) part(mine, p);
    }
    const size_t take = n < there ? n : there;
    if (!take) return 0;
    const uint64_t at = atomic_load_explicit(&p->read, memory_order_relaxed);
    copy_out((const uint8_t *)pipe + PIPE_HEAD, capacity, at, data, take);
    atomic_store_explicit(&p->read, at + take, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&p->full, memory_order_relaxed) && roomy(room(p, capacity), capacity)) {
        atomic_store(&p->full, 0);
        ring(writer_bell);
    }
    return take;
}

void mpc_pipe_await_room(void *pipe, size_t capacity, void *reader_bell, void *my_bell, int wait)
{
    pipe_head *p = pipe;
    bell *mine = my_bell;
    const uint32_t seen = atomic_load(&mine->rung);
    atomic_store(&mine->waiting, 1);
    atomic_store(&p->full, 1);
    ring(reader_bell); /* who waits for something else can take what is in the way */
    if (!roomy(room(p, capacity), capacity)) await(mine, seen, wait);
    atomic_store(&mine->waiting, 0);
    atomic_store(&p->full, 0);
}

int mpc_pipe_full(const void *pipe) { return (int)atomic_load(&((pipe_head *)(uintptr_t)pipe)->full); }

int mpc_pipe_waits(const void *his) { return (int)atomic_load(&((bell *)(uintptr_t)his)->waiting); }

#else

int mpc_pipe_supported(void) { return 0; }
size_t mpc_pipe_put(void *pipe, size_t capacity, void *reader_bell, const void *data, size_t n)
{
    (void)pipe, (void)capacity, (void)reader_bell, (void)data, (void)n;
    return 0;
}
size_t mpc_pipe_get(void *pipe, size_t capacity, void *writer_bell, void *my_bell, void *data, size_t n, int wait)
{
    (void)pipe, (void)capacity, (void)writer_bell, (void)my_bell, (void)data, (void)n, (void)wait;
    return 0;
}
void mpc_pipe_await_room(void *pipe, size_t capacity, void *reader_bell, void *my_bell, int wait)
{
    (void)pipe, (void)capacity, (void)reader_bell, (void)my_bell, (void)wait;
}
int mpc_pipe_full(const void *pipe) { return (void)pipe, 0; }
int mpc_pipe_waits(const void *bell) { return (void)bell, 0; }

#endif
