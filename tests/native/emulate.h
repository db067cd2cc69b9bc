/* AVX-512 for machines without it: SIMDe computes each intrinsic in plain C. Stands in for immintrin.h in avx512.c.
 * What SIMDe lacks stands below: 512-bit AES is four rounds of AES-NI, and masked moves are loops. */
#pragma once
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <immintrin.h>
#include <simde/x86/avx512.h>

#define VAES

static inline simde__m512i emulate_aes(simde__m512i s, simde__m512i key, int last)
{
    simde__m128i a[4], k[4];
    memcpy(a, &s, sizeof a);
    memcpy(k, &key, sizeof k);
    for (int i = 0; i < 4; i++) a[i] = last ? _mm_aesenclast_si128(a[i], k[i]) : _mm_aesenc_si128(a[i], k[i]);
    memcpy(&s, a, sizeof a);
    return s;
}

#define _mm512_aesenc_epi128(s, key) emulate_aes(s, key, 0)
#define _mm512_aesenclast_epi128(s, key) emulate_aes(s, key, 1)

static inline void emulate_store(void *to, simde__mmask8 here, simde__m512i s)
{
    for (int i = 0; i < 8; i++)
        if (here >> i & 1) memcpy((char *)to + 8 * i, (char *)&s + 8 * i, 8);
}

static inline simde__m512i emulate_load(simde__mmask8 here, const void *from)
{
    simde__m512i s = simde_mm512_setzero_si512();
    for (int i = 0; i < 8; i++)
        if (here >> i & 1) memcpy((char *)&s + 8 * i, (const char *)from + 8 * i, 8);
    return s;
}

static inline simde__m512i emulate_mask_add(simde__m512i other, simde__mmask8 here, simde__m512i a, simde__m512i b)
{
    return simde_mm512_mask_mov_epi64(other, here, simde_mm512_add_epi64(a, b));
}

static inline void emulate_store_32(void *to, simde__mmask16 here, simde__m512i s)
{
    for (int i = 0; i < 16; i++)
        if (here >> i & 1) memcpy((char *)to + 4 * i, (char *)&s + 4 * i, 4);
}

static inline simde__m512i emulate_load_32(simde__mmask16 here, const void *from)
{
    simde__m512i s = simde_mm512_setzero_si512();
    for (int i = 0; i < 16; i++)
        if (here >> i & 1) memcpy((char *)&s + 4 * i, (const char *)from + 4 * i, 4);
    return s;
}

#undef _mm512_madd_epi16                       /* SIMDe 0.7.4 aliases it with the arguments of the masked form */
#define _mm512_madd_epi16 simde_mm512_madd_epi16
#define _mm512_mask_storeu_epi64 emulate_store
#define _mm512_mask_storeu_epi32 emulate_store_32
#define _mm512_maskz_loadu_epi32 emulate_load_32
#define _mm512_maskz_loadu_epi64 emulate_load
#define _mm512_mask_add_epi64 emulate_mask_add
