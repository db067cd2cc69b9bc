/* AVX-512 F, DQ, BW, VL and what AVX2 has; 512-bit VAES where the processor has it. */
#include "tier.h"

#ifdef MPC_X86
#define TIER(f) f##_avx512
#ifdef MPC_EMULATE                             /* the tests: plain C in place of the instructions */
#include "emulate.h"
#else
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,bmi2,aes"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,bmi2,aes,prefer-vector-width=512")
#endif
#define VAES __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,bmi2,aes,vaes")))
#endif

/* ---- random words ---- */

#define CTR(f) aesni_##f##_avx512
#define CTR_TARGET
#define V __m128i
#define BLOCKS 1
#define V_KEY(p) _mm_loadu_si128((const __m128i *)(p))
#define V_COUNT(name, i) _mm_set_epi64x((long long)(name), (long long)(i))
#define V_ALL(i) _mm_set_epi64x(0, i)
#define V_ADD _mm_add_epi64
#define V_XOR _mm_xor_si128
#define V_ENC _mm_aesenc_si128
#define V_LAST _mm_aesenclast_si128
#define V_STORE(p, v) _mm_storeu_si128((__m128i *)(p), v)
#include "ctr.inc"

#define CTR(f) vaes_##f##_avx512
#define CTR_TARGET VAES
#define V __m512i
#define BLOCKS 4
#define V_KEY(p) _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(p)))
#define V_COUNT(name, i) \
    _mm512_add_epi64(_mm512_maskz_set1_epi64(0xaa, (long long)(name)), \
                     _mm512_maskz_add_epi64(0x55, _mm512_set1_epi64((long long)(i)), _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0)))
#define V_ALL(i) _mm512_maskz_set1_epi64(0x55, i)
#define V_ADD _mm512_add_epi64
#define V_XOR _mm512_xor_si512
#define V_ENC _mm512_aesenc_epi128
#define V_LAST _mm512_aesenclast_epi128
#define V_STORE(p, v) _mm512_storeu_si512(p, v)
#include "ctr.inc"

static bool has_vaes;                          /* written when the table is filled, before any kernel runs */

static void TIER(prg_u64)(uint64_t *out, size_t n, const uint8_t *rk, uint64_t name, uint64_t at)
{
    if (has_vaes) vaes_words_avx512(out, n, rk, name, at);
    else aesni_words_avx512(out, n, rk, name, at);
}

#include "prg.inc"
#include "ring.inc"

/* ---- matrix product: vpmullq, tile 8 x 24: 24 accumulators, 3 registers of b, one of a, products ---- */

enum { MR = 8, NR = 24, VEC = 8, KC = 256, MC = 64, COPIES = 1 };      /* panel of b 48 KB, block of a 128 KB */

static inline void TIER(put)(uint64_t *to, size_t stride, const uint64_t *a, size_t n)
{
    for (size_t l = 0; l < n; l++) to[l * stride] = a[l];
}

static inline __attribute__((always_inline)) void TIER(tile_of)(uint64_t *c, size_t ldc, size_t cols, const uint64_t *a,
                                                                const uint64_t *b, size_t k, const size_t rows,
                                                                const size_t vecs)
{
    __m512i sum[MR][3];
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++) {
        _mm_prefetch((const char *)(c + i * ldc), _MM_HINT_T0);
        _mm_prefetch((const char *)(c + i * ldc + cols - 1), _MM_HINT_T0);
#pragma GCC unroll 3
        for (size_t h = 0; h < vecs; h++) sum[i][h] = _mm512_setzero_si512();
    }
    for (size_t l = 0; l < k; l++, a += rows, b += vecs * VEC) {
        __m512i v[3];
#pragma GCC unroll 3
        for (size_t h = 0; h < vecs; h++) v[h] = _mm512_load_si512(b + VEC * h);
        _mm_prefetch((const char *)(a + 16 * rows), _MM_HINT_T0);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
            const __m512i x = _mm512_set1_epi64((long long)a[i]);
#pragma GCC unroll 3
            for (size_t h = 0; h < vecs; h++) sum[i][h] = _mm512_add_epi64(sum[i][h], _mm512_mullo_epi64(x, v[h]));
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (size_t h = 0; h < vecs; h++) {
            const size_t left = cols - VEC * h;
            const __mmask8 here = (__mmask8)(left < VEC ? (1u << left) - 1 : 0xff);
            uint64_t *to = c + i * ldc + VEC * h;
            _mm512_mask_storeu_epi64(to, here, _mm512_add_epi64(sum[i][h], _mm512_maskz_loadu_epi64(here, to)));
        }
}

static void TIER(tile)(uint64_t *c, size_t ldc, size_t rows, size_t cols, const uint64_t *a, const uint64_t *b, size_t k)
{
#define TILE(r, v) case 4 * (r) + (v): TIER(tile_of)(c, ldc, cols, a, b, k, r, v); break
    switch (4 * rows + (cols + VEC - 1) / VEC) {
        TILE(1, 1); TILE(1, 2); TILE(1, 3);
        TILE(2, 1); TILE(2, 2); TILE(2, 3);
        TILE(4, 1); TILE(4, 2); TILE(4, 3);
        TILE(8, 1); TILE(8, 2); TILE(8, 3);
    }
#undef TILE
}

#include "gemm.inc"
#include "compare.inc"
#include "lookup.inc"

#ifndef MPC_EMULATE
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

void mpc_fill_avx512(mpc_kernels *k, bool vaes)
{
    mpc_fill_ref(k);
    has_vaes = vaes;
    k->name = "avx512";
    FILL_PRG(k);
    FILL_RING(k);
    FILL_GEMM(k);
    FILL_COMPARE(k);
    FILL_LOOKUP(k);
}
#endif
