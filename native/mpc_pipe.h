/* Byte pipes in memory that two processes share, and the bell that wakes a process up (net/shared.py).
 *
 * A pipe has one writer and one reader. Its block is PIPE_HEAD bytes of bookkeeping and then a buffer of a power of two.
 * A process waits on its own bell alone, for whatever it lacks: bytes that come, or room for bytes that leave.
 */

#include <stddef.h>
#include <stdint.h>

/* 0 where this system has no futex: then nothing below may be called */
int mpc_pipe_supported(void);
/* Copies up to n bytes into the pipe and tells the reader; returns how many fit. */
size_t mpc_pipe_put(void *pipe, size_t capacity, void *reader_bell, const void *data, size_t n);
/* Copies up to n bytes out of the pipe and tells a writer that lacked room; waits up to `wait` milliseconds while it is
 * empty. Returns how many came: fewer than n after a wake-up or at the end of the time. */
size_t mpc_pipe_get(void *pipe, size_t capacity, void *writer_bell, void *my_bell, void *data, size_t n, int wait);
/* Waits until a quarter is free, up to `wait` milliseconds or a wake-up for another reason. */
void mpc_pipe_await_room(void *pipe, size_t capacity, void *reader_bell, void *my_bell, int wait);
/* Whether the writer waits for room. */
int mpc_pipe_full(const void *pipe);
/* Whether the owner of a bell waits. */
int mpc_pipe_waits(const void *bell);
