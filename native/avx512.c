/* AVX-512 F, DQ, BW, VL and what AVX2 has; 512-bit VAES where the processor has it. */
#include "tier.h"

#ifdef MPC_X86
#define TIER(f) f##_avx512
#define LANES 8
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
#define V_SUB _mm_sub_epi64
#define V_ADD32 _mm_add_epi32
#define V_SUB32 _mm_sub_epi32
#define V_XOR _mm_xor_si128
#define V_ENC _mm_aesenc_si128
#define V_LOAD(p) _mm_loadu_si128((const __m128i *)(p))
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
#define V_SUB _mm512_sub_epi64
#define V_ADD32 _mm512_add_epi32
#define V_SUB32 _mm512_sub_epi32
#define V_XOR _mm512_xor_si512
#define V_ENC _mm512_aesenc_epi128
#define V_LOAD(p) _mm512_loadu_si512(p)
#define V_LAST _mm512_aesenclast_epi128
#define V_STORE(p, v) _mm512_storeu_si512(p, v)
#include "ctr.inc"

static bool has_vaes;                          /* written when the table is filled, before any kernel runs */

static void TIER(prg_into)(void *out, const void *x, void *kept, size_t n, prg_use use, const uint8_t *rk, uint64_t name,
                           uint64_t at)
{
    if (has_vaes) vaes_into_avx512(out, x, kept, n, use, rk, name, at);
    else aesni_into_avx512(out, x, kept, n, use, rk, name, at);
}

#include "transpose.inc"
#include "prg.inc"
#include "ring.inc"

/* ---- matrix product: vpmullq, tile 8 x 24: 24 accumulators, 3 registers of b, one of a, products ---- */

#define GEMM(f) f##_u64_avx512
#define WORD uint64_t
#define ELEMENT uint64_t
#define MR 8
#define NR 24
#define VEC 8
#define KC 256                                 /* panel of b 48 KB */
#define MC 64                                  /* block of a 128 KB */
#define A_WORDS 1
#define B_WORDS 1

static inline void GEMM(put_a)(uint64_t *to, size_t stride, const uint64_t *a, size_t n)
{
    for (size_t l = 0; l < n; l++) to[l * stride] = a[l];
}

static inline __attribute__((always_inline)) void GEMM(put_b)(uint64_t *to, const uint64_t *b, size_t col, size_t cols,
                                                              size_t width)
{
    for (size_t j = 0; j < cols; j++) to[j] = b[j * col];
    for (size_t j = cols; j < width; j++) to[j] = 0;
}

static inline __attribute__((always_inline)) void GEMM(tile_of)(uint64_t *c, size_t ldc, size_t cols, const uint64_t *a,
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

static void GEMM(tile)(uint64_t *c, size_t ldc, size_t rows, size_t cols, const uint64_t *a, const uint64_t *b, size_t k)
{
#define TILE(r, v) case 4 * (r) + (v): GEMM(tile_of)(c, ldc, cols, a, b, k, r, v); break
    switch (4 * rows + (cols + VEC - 1) / VEC) {
        TILE(1, 1); TILE(1, 2); TILE(1, 3);
        TILE(2, 1); TILE(2, 2); TILE(2, 3);
        TILE(4, 1); TILE(4, 2); TILE(4, 3);
        TILE(8, 1); TILE(8, 2); TILE(8, 3);
    }
#undef TILE
}

#include "gemm.inc"

/* mod 2^32: vpmulld, tile 8 x 48 */
#define GEMM(f) f##_u32_avx512
#define WORD uint32_t
#define ELEMENT uint32_t
#define MR 8
#define NR 48
#define VEC 16
#define KC 256                                 /* panel of b 48 KB */
#define MC 128                                 /* block of a 128 KB */
#define A_WORDS 1
#define B_WORDS 1

static inline void GEMM(put_a)(uint32_t *to, size_t stride, const uint32_t *a, size_t n)
{
    for (size_t l = 0; l < n; l++) to[l * stride] = a[l];
}

static inline __attribute__((always_inline)) void GEMM(put_b)(uint32_t *to, const uint32_t *b, size_t col, size_t cols,
                                                              size_t width)
{
    for (size_t j = 0; j < cols; j++) to[j] = b[j * col];
    for (size_t j = cols; j < width; j++) to[j] = 0;
}

static inline __attribute__((always_inline)) void GEMM(tile_of)(uint32_t *c, size_t ldc, size_t cols, const uint32_t *a,
                                                                const uint32_t *b, size_t k, const size_t rows,
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
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
            const __m512i x = _mm512_set1_epi32((int)a[i]);
#pragma GCC unroll 3
            for (size_t h = 0; h < vecs; h++) sum[i][h] = _mm512_add_epi32(sum[i][h], _mm512_mullo_epi32(x, v[h]));
        }
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 3
        for (size_t h = 0; h < vecs; h++) {
            const size_t left = cols - VEC * h;
            const __mmask16 here = (__mmask16)(left < VEC ? (1u << left) - 1 : 0xffff);
            uint32_t *to = c + i * ldc + VEC * h;
            _mm512_mask_storeu_epi32(to, here, _mm512_add_epi32(sum[i][h], _mm512_maskz_loadu_epi32(here, to)));
        }
}

static void GEMM(tile)(uint32_t *c, size_t ldc, size_t rows, size_t cols, const uint32_t *a, const uint32_t *b, size_t k)
{
#define TILE(r, v) case 4 * (r) + (v): GEMM(tile_of)(c, ldc, cols, a, b, k, r, v); break
    switch (4 * rows + (cols + VEC - 1) / VEC) {
        TILE(1, 1); TILE(1, 2); TILE(1, 3);
        TILE(2, 1); TILE(2, 2); TILE(2, 3);
        TILE(4, 1); TILE(4, 2); TILE(4, 3);
        TILE(8, 1); TILE(8, 2); TILE(8, 3);
    }
#undef TILE
}

#include "gemm.inc"

/* mod 2^128, tile 4 x 8: 20 accumulators, 4 registers of b */
#define GEMM(f) f##_u128_avx512
#define WORD uint64_t
#define ELEMENT pair
#define MR 4
#define NR 8
#define VEC 8
#define KC 128                                 /* panel of b 32 KB, of a 20 KB */
#define MC 32                                  /* block of a 160 KB */
#define A_WORDS 5
#define B_WORDS 4
#define V __m512i
#define V_LOAD(p) _mm512_load_si512(p)
#define V_ALL(word) _mm512_set1_epi64((long long)(word))
#define V_MUL _mm512_mul_epu32
#define V_MUL32 _mm512_mullo_epi32
#define V_MADD _mm512_madd_epi16
#define V_ADD _mm512_add_epi64
#define V_ADD32 _mm512_add_epi32
#define V_ZERO _mm512_setzero_si512()
#define V_STORE(p, v) _mm512_store_si512(p, v)
#include "pair.inc"

static void GEMM(tile)(pair *c, size_t ldc, size_t rows, size_t cols, const uint64_t *a, const uint64_t *b, size_t k)
{
    if (rows == 4) GEMM(tile_of)(c, ldc, cols, a, b, k, 4);
    else if (rows == 2) GEMM(tile_of)(c, ldc, cols, a, b, k, 2);
    else GEMM(tile_of)(c, ldc, cols, a, b, k, 1);
}

#include "gemm.inc"

#include "compare.inc"
#include "lookup.inc"
#include "spline.inc"
#include "bits.inc"
#include "digits.inc"
#include "wide.inc"
#include "field.inc"

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
    FILL_GEMM(k, avx512);
    FILL_COMPARE(k);
    FILL_LOOKUP(k);
    FILL_SPLINE(k);
    FILL_BITS(k);
    FILL_DIGITS(k);
    FILL_WIDE(k);
    FILL_FIELD(k);
}
#endif
