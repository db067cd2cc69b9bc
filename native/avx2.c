/* AVX2, BMI2 and AES-NI; VAES where the processor has it. */
#include "tier.h"

#ifdef MPC_X86
#include <immintrin.h>
#define TIER(f) f##_avx2
#define LANES 4
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi2,aes"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,bmi2,aes")
#endif

/* ---- random words ---- */

#define CTR(f) aesni_##f##_avx2
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

#define CTR(f) vaes_##f##_avx2
#define CTR_TARGET __attribute__((target("avx2,bmi2,aes,vaes")))
#define V __m256i
#define BLOCKS 2
#define V_KEY(p) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(p)))
#define V_COUNT(name, i) _mm256_set_epi64x((long long)(name), (long long)(i) + 1, (long long)(name), (long long)(i))
#define V_ALL(i) _mm256_set_epi64x(0, i, 0, i)
#define V_ADD _mm256_add_epi64
#define V_SUB _mm256_sub_epi64
#define V_ADD32 _mm256_add_epi32
#define V_SUB32 _mm256_sub_epi32
#define V_XOR _mm256_xor_si256
#define V_ENC _mm256_aesenc_epi128
#define V_LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define V_LAST _mm256_aesenclast_epi128
#define V_STORE(p, v) _mm256_storeu_si256((__m256i *)(p), v)
#include "ctr.inc"

static bool has_vaes;                          /* written when the table is filled, before any kernel runs */

static void TIER(prg_into)(void *out, const void *x, void *kept, size_t n, prg_use use, const uint8_t *rk, uint64_t name,
                           uint64_t at)
{
    if (has_vaes) vaes_into_avx2(out, x, kept, n, use, rk, name, at);
    else aesni_into_avx2(out, x, kept, n, use, rk, name, at);
}

#include "transpose.inc"
#include "prg.inc"
#include "ring.inc"

/* ---- matrix product ----
 *
 * With words a = a0 + 2^32 a1, b = b0 + 2^32 b1:  ab = a0 b0 + 2^32 (a0 b1 + a1 b0) mod 2^64, the bracket mod 2^32.
 * One vpmuludq gives a0 b0; one vpmulld of b with the halves of a exchanged gives a1 b0 | a0 b1 side by side, each mod
 * 2^32. Both sums run over all of k and are joined once at the end: two products and two additions for four elements,
 * where the usual three vpmuludq need three and three. a is packed as itself and exchanged, so the loop has no shuffle.
 *
 * 3 x 8: 12 accumulators, 2 registers of b, one of a, one product: all 16. */
#define GEMM(f) f##_u64_avx2
#define WORD uint64_t
#define ELEMENT uint64_t
#define MR 3
#define NR 8
#define VEC 4
#define KC 256                                 /* panel of b 16 KB, of a 12 KB */
#define MC 48                                  /* block of a 192 KB */
#define A_WORDS 2
#define B_WORDS 1

/* Each word and, beside it, the word with its halves exchanged */
static inline __attribute__((always_inline)) void GEMM(put_a)(uint64_t *to, size_t stride, const uint64_t *a, size_t n)
{
    size_t l = 0;
    for (; l + 4 <= n; l += 4, to += 4 * stride) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(a + l)), w = _mm256_shuffle_epi32(v, 0xb1);
        const __m256i even = _mm256_unpacklo_epi64(v, w), odd = _mm256_unpackhi_epi64(v, w);
        _mm_store_si128((__m128i *)to, _mm256_castsi256_si128(even));
        _mm_store_si128((__m128i *)(to + stride), _mm256_castsi256_si128(odd));
        _mm_store_si128((__m128i *)(to + 2 * stride), _mm256_extracti128_si256(even, 1));
        _mm_store_si128((__m128i *)(to + 3 * stride), _mm256_extracti128_si256(odd, 1));
    }
    if (l + 2 <= n) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(a + l)), w = _mm_shuffle_epi32(v, 0xb1);
        _mm_store_si128((__m128i *)to, _mm_unpacklo_epi64(v, w));
        _mm_store_si128((__m128i *)(to + stride), _mm_unpackhi_epi64(v, w));
        l += 2, to += 2 * stride;
    }
    for (; l < n; l++, to += stride) {
        to[0] = a[l];
        to[1] = a[l] << 32 | a[l] >> 32;
    }
}

static inline __attribute__((always_inline)) void GEMM(put_b)(uint64_t *to, const uint64_t *b, size_t col, size_t cols,
                                                              size_t width)
{
    for (size_t j = 0; j < cols; j++) to[j] = b[j * col];
    for (size_t j = cols; j < width; j++) to[j] = 0;
}

/* low += the 64-bit products, cross += the 32-bit ones, of one element of a (two words) with four words of b */
static inline __attribute__((always_inline)) void GEMM(step_4)(__m256i *low, __m256i *cross, const uint64_t *a, __m256i b)
{
    *low = _mm256_add_epi64(*low, _mm256_mul_epu32(_mm256_set1_epi64x((long long)a[0]), b));
    *cross = _mm256_add_epi32(*cross, _mm256_mullo_epi32(_mm256_set1_epi64x((long long)a[1]), b));
}

/* The same with eight. By hand, because with all 16 registers in use gcc spills an accumulator, which makes the loop wait
 * for a store and a load in every step and halves its speed; products and sums in pairs keep the four pipes of Zen busy. */
static inline __attribute__((always_inline)) void GEMM(step_8)(__m256i *low, __m256i *cross, const uint64_t *a,
                                                               const __m256i *b)
{
    __m256i x, y;
    __asm__("vpbroadcastq %[a0], %[x]\n\t"
            "vpmuludq %[b0], %[x], %[y]\n\t"
            "vpmuludq %[b1], %[x], %[x]\n\t"
            "vpaddq %[y], %[low0], %[low0]\n\t"
            "vpaddq %[x], %[low1], %[low1]\n\t"
            "vpbroadcastq %[a1], %[x]\n\t"
            "vpmulld %[b0], %[x], %[y]\n\t"
            "vpmulld %[b1], %[x], %[x]\n\t"
            "vpaddd %[y], %[cross0], %[cross0]\n\t"
            "vpaddd %[x], %[cross1], %[cross1]"
            : [low0] "+x"(low[0]), [low1] "+x"(low[1]), [cross0] "+x"(cross[0]), [cross1] "+x"(cross[1]), [x] "=&x"(x), [y] "=&x"(y)
            : [a0] "m"(a[0]), [a1] "m"(a[1]), [b0] "x"(b[0]), [b1] "x"(b[1]));
}

static inline __attribute__((always_inline)) void GEMM(tile_of)(uint64_t *c, size_t ldc, size_t cols, const uint64_t *a,
                                                                const uint64_t *b, size_t k, const size_t rows,
                                                                const size_t vecs)
{
    __m256i low[MR][2], cross[MR][2];
#pragma GCC unroll 3
    for (size_t i = 0; i < rows; i++) {
        _mm_prefetch((const char *)(c + i * ldc), _MM_HINT_T0);
        _mm_prefetch((const char *)(c + i * ldc + cols - 1), _MM_HINT_T0);
#pragma GCC unroll 2
        for (size_t h = 0; h < vecs; h++) low[i][h] = cross[i][h] = _mm256_setzero_si256();
    }
    for (size_t l = 0; l < k; l++, a += rows * A_WORDS, b += vecs * VEC) {
        const __m256i *from = (const __m256i *)b, v[2] = {_mm256_load_si256(from), _mm256_load_si256(from + vecs - 1)};
#pragma GCC unroll 3
        for (size_t i = 0; i < rows; i++) {
            if (vecs == 1) GEMM(step_4)(low[i], cross[i], a + A_WORDS * i, v[0]);
            else GEMM(step_8)(low[i], cross[i], a + A_WORDS * i, v);
        }
    }
#pragma GCC unroll 3
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (size_t h = 0; h < vecs; h++) {
            const __m256i upper = _mm256_set1_epi64x((long long)0xffffffff00000000), s = cross[i][h];
            const __m256i sum = _mm256_add_epi64(low[i][h], _mm256_add_epi64(_mm256_and_si256(s, upper), _mm256_slli_epi64(s, 32)));
            const __m256i place = _mm256_add_epi64(_mm256_set_epi64x(3, 2, 1, 0), _mm256_set1_epi64x((long long)(VEC * h)));
            const __m256i here = _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)cols), place);
            long long *to = (long long *)(c + i * ldc + VEC * h);
            _mm256_maskstore_epi64(to, here, _mm256_add_epi64(_mm256_maskload_epi64(to, here), sum));
        }
}

static void GEMM(tile)(uint64_t *c, size_t ldc, size_t rows, size_t cols, const uint64_t *a, const uint64_t *b, size_t k)
{
#define TILE(r, v) case 4 * (r) + (v): GEMM(tile_of)(c, ldc, cols, a, b, k, r, v); break
    switch (4 * rows + (cols + VEC - 1) / VEC) {
        TILE(1, 1); TILE(1, 2); TILE(2, 1); TILE(2, 2); TILE(3, 1); TILE(3, 2);
    }
#undef TILE
}

#include "gemm.inc"

/* mod 2^32: vpmulld. 6 x 16: 12 accumulators, 2 registers of b, one of a, one product: all 16. */
#define GEMM(f) f##_u32_avx2
#define WORD uint32_t
#define ELEMENT uint32_t
#define MR 6
#define NR 16
#define VEC 8
#define KC 256                                 /* panel of b 16 KB, of a 6 KB */
#define MC 120                                 /* block of a 120 KB */
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

/* sum += one element of a times sixteen of b, by hand for the same reason */
static inline __attribute__((always_inline)) void GEMM(step_16)(__m256i *sum, const uint32_t *a, const __m256i *b)
{
    __m256i x, y;
    __asm__("vpbroadcastd %[a], %[x]\n\t"
            "vpmulld %[b0], %[x], %[y]\n\t"
            "vpmulld %[b1], %[x], %[x]\n\t"
            "vpaddd %[y], %[s0], %[s0]\n\t"
            "vpaddd %[x], %[s1], %[s1]"
            : [s0] "+x"(sum[0]), [s1] "+x"(sum[1]), [x] "=&x"(x), [y] "=&x"(y)
            : [a] "m"(*a), [b0] "x"(b[0]), [b1] "x"(b[1]));
}

static inline __attribute__((always_inline)) void GEMM(tile_of)(uint32_t *c, size_t ldc, size_t cols, const uint32_t *a,
                                                                const uint32_t *b, size_t k, const size_t rows,
                                                                const size_t vecs)
{
    __m256i sum[MR][2];
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++) {
        _mm_prefetch((const char *)(c + i * ldc), _MM_HINT_T0);
        _mm_prefetch((const char *)(c + i * ldc + cols - 1), _MM_HINT_T0);
#pragma GCC unroll 2
        for (size_t h = 0; h < vecs; h++) sum[i][h] = _mm256_setzero_si256();
    }
    for (size_t l = 0; l < k; l++, a += rows, b += vecs * VEC) {
        const __m256i v[2] = {_mm256_load_si256((const __m256i *)b), _mm256_load_si256((const __m256i *)b + vecs - 1)};
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            if (vecs == 1) sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_mullo_epi32(_mm256_set1_epi32((int)a[i]), v[0]));
            else GEMM(step_16)(sum[i], a + i, v);
        }
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (size_t h = 0; h < vecs; h++) {
            const __m256i place = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32((int)(VEC * h)));
            const __m256i here = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)cols), place);
            int *to = (int *)(c + i * ldc + VEC * h);
            _mm256_maskstore_epi32(to, here, _mm256_add_epi32(_mm256_maskload_epi32(to, here), sum[i][h]));
        }
}

static void GEMM(tile)(uint32_t *c, size_t ldc, size_t rows, size_t cols, const uint32_t *a, const uint32_t *b, size_t k)
{
#define TILE(r, v) case 4 * (r) + (v): GEMM(tile_of)(c, ldc, cols, a, b, k, r, v); break
    switch (4 * rows + (cols + VEC - 1) / VEC) {
        TILE(1, 1); TILE(1, 2); TILE(2, 1); TILE(2, 2); TILE(4, 1); TILE(4, 2); TILE(6, 1); TILE(6, 2);
    }
#undef TILE
}

#include "gemm.inc"

/* mod 2^128. 2 x 4: 10 accumulators, 4 registers of b, one of a, one product: all 16. */
#define GEMM(f) f##_u128_avx2
#define WORD uint64_t
#define ELEMENT pair
#define MR 2
#define NR 4
#define VEC 4
#define KC 128                                 /* panel of b 16 KB, of a 10 KB */
#define MC 32                                  /* block of a 160 KB */
#define A_WORDS 5
#define B_WORDS 4
#define V __m256i
#define V_LOAD(p) _mm256_load_si256((const __m256i *)(p))
#define V_ALL(word) _mm256_set1_epi64x((long long)(word))
#define V_MUL _mm256_mul_epu32
#define V_MUL32 _mm256_mullo_epi32
#define V_MADD _mm256_madd_epi16
#define V_ADD _mm256_add_epi64
#define V_ADD32 _mm256_add_epi32
#define V_ZERO _mm256_setzero_si256()
#define V_STORE(p, v) _mm256_store_si256((__m256i *)(p), v)
#include "pair.inc"

static void GEMM(tile)(pair *c, size_t ldc, size_t rows, size_t cols, const uint64_t *a, const uint64_t *b, size_t k)
{
    if (rows == 2) GEMM(tile_of)(c, ldc, cols, a, b, k, 2);
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

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

void mpc_fill_avx2(mpc_kernels *k, bool vaes)
{
    mpc_fill_ref(k);
    has_vaes = vaes;
    k->name = "avx2";
    FILL_PRG(k);
    FILL_RING(k);
    FILL_GEMM(k, avx2);
    FILL_COMPARE(k);
    FILL_LOOKUP(k);
    FILL_SPLINE(k);
    FILL_BITS(k);
    FILL_DIGITS(k);
    FILL_WIDE(k);
    FILL_FIELD(k);
}
#endif
