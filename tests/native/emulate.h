/* AVX-512 for machines without it: SIMDe computes each intrinsic in plain C. Stands in for immintrin.h in avx512.c.
 * What SIMDe lacks stands below: 512-bit AES is four rounds of AES-NI, and two masked moves are loops. */
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

#define _mm512_mask_storeu_epi64 emulate_store
#define _mm512_maskz_loadu_epi64 emulate_load
