/* What every tier file starts from. A tier is one C file: it names itself by TIER(f), turns its instructions on, and
 * compiles the loops of the .inc files again. mpc_fill_<tier> starts from the reference and overwrites, so no entry of
 * the table is ever NULL. LANES is how many words its registers hold. */
#pragma once
#include <stdbool.h>
#include <string.h>
#include "mpc_kernels.h"

#if defined(__x86_64__) && !defined(MPC_NO_X86)
#define MPC_X86 1
#endif

void mpc_fill_ref(mpc_kernels *k);
void mpc_fill_avx2(mpc_kernels *k, bool vaes);
void mpc_fill_avx512(mpc_kernels *k, bool vaes);

/* Elements whose random words are expanded at a time: 4 KB a stream, so a handful of streams stay in L1. */
enum { CHUNK = 512 };
#define IN_L1 __attribute__((aligned(64)))

/* What becomes of random words s: out = s, x + s, x - s, x ^ s; the same on 32-bit halves; x + s and, beside it, s */
typedef enum { PRG_SET, PRG_ADD, PRG_SUB, PRG_XOR, PRG_ADD32, PRG_SUB32, PRG_MASK } prg_use;

/* Words from which on a result bypasses the caches: 8 MB */
enum { LARGE = 1 << 20 };

/* An element of Z_2^128: two words of memory, the lower one first, as this compiler multiplies them */
typedef unsigned __int128 pair __attribute__((aligned(8), may_alias));

typedef uint32_t half_word __attribute__((may_alias));

static inline size_t least(size_t a, size_t b) { return a < b ? a : b; }

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LITTLE(word) __builtin_bswap64(word)
#else
#define LITTLE(word) (word)
#endif

/* The output columns x of a convolution with 0 <= x * stride + at - padding < width are from .. to - 1. */
typedef struct { size_t from, to; } range;

static inline range conv_inside(const mpc_conv2d *s, size_t at)
{
    const size_t step = s->stride[1], begin = s->padding[1], end = begin + s->width, most = s->out[1];
    const size_t from = at < begin ? (begin - at + step - 1) / step : 0, to = at < end ? (end - at + step - 1) / step : 0;
    return (range){least(from, most), least(to, most)};
}

/* Says that iterations are independent: an output may be the very array an input is, but not a shifted view of it. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif
