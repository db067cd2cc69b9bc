/* "Dude, is my code constant time?" (Reparaz, Balasch, Verbauwhede, DATE 2017) for a few kernels of every tier.
 *
 * Each kernel is timed on two classes of secret input, one fixed and one random, in random order; Welch's t compares the
 * means, also with the slow tail cropped, where interrupts live. Below 4.5 passes, up to 10 is measured again (three times),
 * above 10 leaks. It can prove a leak, never its absence: `make ct` pairs it with memcheck, which is deterministic.
 *
 * dudect [samples]     exit 0 if every kernel passes and the planted leak is seen */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "mpc_kernels.h"

#if defined(__x86_64__)
#include <x86intrin.h>

enum { N = 64, A = 5, B = 6, WIDTH = 6, SIDE = 8 };

static const mpc_kernels *k;
static uint64_t secret[N] __attribute__((aligned(64)));        /* the input of the class whose turn it is */
static uint64_t other[N], out[64 * N], more[64 * N], table[1 << WIDTH], packed[4096] __attribute__((aligned(64)));
static uint64_t *work;
static uint8_t rk[176];

static void leak(void)
{
    for (size_t i = 0; i < N; i++)
        for (uint64_t v = secret[i]; v; v >>= 1) out[i] += v & 1;              /* as long as the highest set bit */
}
static void key(void) { k->aes_key(rk, (const uint8_t *)secret); }
static void prg(void)                                                          /* the secret words are the round keys */
{
    k->prg_u64(out, N, (const uint8_t *)secret, 1, A, 0);
}
static void trunc_(void) { k->trunc_u64(out, secret, other, N, 16, 1, NULL, NULL, rk, A, B, 0); }
static void select_(void) { k->select_u64(out, secret, other, secret, N, NULL, NULL, rk, A, B, 0); }
static void leaves(void) { k->compare_leaves(out, more, secret, N, 63, 0, 0, 0, 1, NULL, rk, A, B, 0); }
static void lookup(void) { k->lookup_u64(out, table, 1, WIDTH, secret, other, N, 1, 0); }
static void gemm(void)
{
    k->gemm_pack_u64(packed, SIDE, SIDE, secret, SIDE, 1);
    k->gemm_u64(out, SIDE, SIDE, SIDE, SIDE, secret, SIDE, 1, packed, work);
}
static void and_(void) { k->and_bits(out, secret, other, other, secret, N, 1, NULL, rk, A, B, A + B, 0); }
static void encode(void)
{
    k->encode_f64(out, more, (const double *)secret, N, 16);
}

static void exponential(void) { k->exp_u64(out, secret, N, 16, -1, 30); }

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Welch's t between the classes, without samples above `cut` and the first hundredth, where caches warm up */
static double welch(const double *cycles, const uint8_t *class, size_t samples, double cut)
{
    double n[2] = {0}, mean[2] = {0}, m2[2] = {0};
    for (size_t i = samples / 100; i < samples; i++) {
        if (cycles[i] > cut) continue;
        const int c = class[i];
        const double d = cycles[i] - mean[c];
        mean[c] += d / ++n[c];
        m2[c] += d * (cycles[i] - mean[c]);
    }
    if (n[0] < 10 || n[1] < 10) return 0;
    const double v = m2[0] / (n[0] - 1) / n[0] + m2[1] / (n[1] - 1) / n[1];
    return v > 0 ? (mean[0] - mean[1]) / sqrt(v) : 0;
}

static double max_t(void (*kernel)(void), size_t samples)
{
    double *cycles = malloc(sizeof(double) * samples), *sorted = malloc(sizeof(double) * samples), worst = 0;
    uint8_t *class = malloc(samples);
    uint64_t state;
    if (!cycles || !sorted || !class || getrandom(&state, sizeof state, 0) != sizeof state) exit(2);
    for (size_t i = 0; i < samples; i++) {
        uint64_t turn = 0;
        for (size_t j = 0; j <= N; j++) {                                      /* both classes cost the same to prepare */
            state = state * 6364136223846793005u + 1442695040888963407u;
            const uint64_t word = state ^ state >> 29;
            if (j == 0) turn = word >> 63;
            else secret[j - 1] = (word & (0 - turn)) | (3 & (turn - 1));       /* class 0: every word is 3 */
        }
        class[i] = (uint8_t)turn;
        unsigned aux;
        _mm_lfence();
        const uint64_t start = __rdtsc();
        _mm_lfence();
        kernel();
        const uint64_t stop = __rdtscp(&aux);
        _mm_lfence();
        cycles[i] = (double)(stop - start);
    }
    memcpy(sorted, cycles, sizeof(double) * samples);
    qsort(sorted, samples, sizeof *sorted, by_value);
    const double crop[] = {0.5, 0.75, 0.9, 0.99, 1.0};
    for (size_t i = 0; i < sizeof crop / sizeof *crop; i++) {
        const double t = fabs(welch(cycles, class, samples, sorted[(size_t)((double)(samples - 1) * crop[i])]));
        if (t > worst) worst = t;
    }
    free(cycles), free(sorted), free(class);
    return worst;
}

int main(int argc, char **argv)
{
    const size_t samples = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    const struct { const char *name; void (*kernel)(void); } kernels[] = {
        {"aes_key", key}, {"prg_u64", prg}, {"trunc_u64", trunc_}, {"select_u64", select_}, {"compare_leaves", leaves},
        {"lookup_u64", lookup}, {"gemm_u64", gemm}, {"and_bits", and_}, {"encode_f64", encode}, {"exp_u64", exponential},
    };
    int failed = 0;
    for (size_t i = 0; i < N; i++) other[i] = table[i] = 0x9e3779b97f4a7c15 * (i + 1);
    for (const char *const *tier = mpc_tiers(); *tier; tier++) {
        k = mpc_tier(*tier);
        void *room;
        if (posix_memalign(&room, 64, 8 * k->gemm_work_u64())) exit(2);
        work = room;
        for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
            double t = max_t(kernels[i].kernel, samples);
            for (int again = 0; t >= 4.5 && t <= 10 && again < 3; again++) t = max_t(kernels[i].kernel, samples);
            printf("%-8s %-16s max|t| = %6.2f%s\n", *tier, kernels[i].name, t, t < 4.5 ? "" : "  LEAKS");
            failed |= t >= 4.5;
        }
        free(room);
    }
    const double t = max_t(leak, samples / 10);
    printf("planted leak             max|t| = %6.0f%s\n", t, t > 10 ? "" : "  NOT SEEN");
    return failed || t <= 10;
}
#else
int main(void) { return puts("dudect needs the time stamp counter of x86-64: left out"), 0; }
#endif
