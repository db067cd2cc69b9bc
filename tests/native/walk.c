/* Walks through every kernel of a tier on fixed inputs, in blocks of exactly the size the kernel was told, and prints a
 * checksum of all it writes. Three uses:
 *
 *   make cross      another processor must print the same lines
 *   make sanitize   built with ASan and UBSan
 *   make ct         under valgrind: keys, shares, masks and opened words are undefined memory, and memcheck reports every
 *                   branch and every address that depends on them (after ctgrind; Monocypher, tests/ctgrind.c). Defined are
 *                   sizes, positions, names and what a kernel may index by: the opened index of a lookup, and the table.
 *
 * walk          the tiers, one a line
 * walk TIER     checksums
 * walk TIER branch|index     what `make ct` must see: a secret decides a branch, an address */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mpc_kernels.h"

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_UNDEFINED(p, n) ((void)(p), (void)(n))
#define VALGRIND_MAKE_MEM_DEFINED(p, n) ((void)(p), (void)(n))
#endif

enum { A = 5, B = 6, C = 7, D = 8, COLUMNS = 5 };      /* names of streams, columns of a lookup */

static const mpc_kernels *k;
static uint64_t state;

/* a block for a kernel to write, 64-byte aligned, not a byte longer than it says */
static void *room(size_t bytes)
{
    void *p = NULL;
    if (posix_memalign(&p, 64, bytes ? bytes : 1)) abort();
    memset(p, 0xa5, bytes);
    VALGRIND_MAKE_MEM_UNDEFINED(p, bytes);
    return p;
}

static void *uniform(size_t bytes)
{
    uint8_t *p = room(bytes);
    VALGRIND_MAKE_MEM_DEFINED(p, bytes);
    for (size_t i = 0; i < bytes; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(state >> 56);
    }
    return p;
}

static void *secret(size_t bytes)
{
    void *p = uniform(bytes);
    VALGRIND_MAKE_MEM_UNDEFINED(p, bytes);
    return p;
}

/* prints a checksum (FNV-1a) of a block, and frees it */
static void show(const char *name, size_t n, void *p, size_t bytes)
{
    uint64_t sum = 0xcbf29ce484222325;
    VALGRIND_MAKE_MEM_DEFINED(p, bytes);
    for (size_t i = 0; i < bytes; i++) sum = (sum ^ ((uint8_t *)p)[i]) * 0x100000001b3;
    printf("%-18s %5zu %016llx\n", name, n, (unsigned long long)sum);
    free(p);
}

static void free_all(void **p, int count)
{
    for (int i = 0; i < count; i++) free(p[i]);
}

static void *expanded(size_t count)
{
    uint8_t *rks = room(176 * count);
    for (size_t i = 0; i < count; i++) {
        uint8_t *key = secret(16);
        k->aes_key(rks + 176 * i, key);
        free(key);
    }
    return rks;
}

static void words(size_t n)
{
    uint8_t *rks = expanded(3);
    uint64_t *x = secret(8 * n), *out = room(8 * n), *r;
    k->prg_u64(out, n, rks, 1, A, 512), show("prg_u64", n, out, 8 * n);
    out = room(8 * n), k->prg_u64(out, n, rks, 2, A, 512), show("prg_u64 of two", n, out, 8 * n);
    for (size_t count = 0; count <= 3; count += 3)
        for (int sign = -1; sign <= 1; sign += 2) {
            out = room(8 * n), k->prg_add_u64(out, x, n, sign, rks, count, A, 512), show("prg_add_u64", n, out, 8 * n);
            uint32_t *half = room(4 * n);
            k->prg_add_u32(half, (const uint32_t *)x, n, sign, rks, count, A, 512), show("prg_add_u32", n, half, 4 * n);
        }
    out = room(8 * n), k->prg_xor_u64(out, x, n, rks, 3, A, 512), show("prg_xor_u64", n, out, 8 * n);
    out = room(8 * n), r = room(8 * n), k->mask_u64(out, r, x, n, rks, A, 512);
    show("mask_u64", n, out, 8 * n), show("mask_u64 r", n, r, 8 * n);
    free(x), free(rks);
}

static void ring(size_t n)
{
    uint8_t *rks = expanded(2);
    void *in[6];
    for (int i = 0; i < 6; i++) in[i] = secret(8 * n);
    const uint64_t *x = in[0], *r = in[1], *y = in[2], *s = in[3], *t = in[4], *b = in[5];
    uint64_t *z = room(8 * n), *w;
    k->mul_pair_u64(z, x, r, y, s, n, 99, rks, A, 512), show("mul_pair_u64", n, z, 8 * n);
    for (int first = 0; first < 2; first++) {
        z = room(8 * n), k->mul_beaver_u64(z, x, r, y, s, n, first, 99, first ? t : NULL, rks, A, 512);
        show("mul_beaver_u64", n, z, 8 * n);
    }
    z = room(8 * n), k->operand_u64(z, x, r, n), show("operand_u64", n, z, 8 * n);
    z = secret(8 * n), k->mul_pair_deal_u64(z, x, r, y, s, n), show("mul_pair_deal_u64", n, z, 8 * n);
    for (int f = 16; f <= 48; f += 32) {
        const size_t top = f <= 32 ? 4 : 8;
        z = room(8 * n), k->trunc_u64(z, x, r, n, f, 1, NULL, NULL, rks, A, B, 512), show("trunc_u64", n, z, 8 * n);
        z = room(8 * n), k->trunc_u64(z, x, NULL, n, f, 0, y, s, rks, A, B, 512), show("trunc_u64 dealt", n, z, 8 * n);
        z = room(8 * n), w = room(top * n), k->trunc_deal_u64(z, w, x, n, f, rks, 2, A, B, 512);
        show("trunc_deal_u64", n, z, 8 * n), show("trunc_deal top", n, w, top * n);
    }
    z = room(8 * n), k->select_u64(z, x, r, b, n, NULL, NULL, rks, A, B, 512), show("select_u64", n, z, 8 * n);
    z = room(8 * n), k->select_u64(z, x, r, b, n, y, s, rks, A, B, 512), show("select_u64 dealt", n, z, 8 * n);
    z = room(8 * n), w = room(8 * n), k->select_deal_u64(z, w, r, b, n, rks, 2, A, B, 512);
    show("select_deal_u64", n, z, 8 * n), show("select_deal R", n, w, 8 * n);
    free_all(in, 6), free(rks);
}

/* (m, k) @ (k, p), a by rows and by columns */
#define GEMM(ring, type, words, m, depth, p) \
    for (int turned = 0; turned < 2; turned++) { \
        const size_t bytes = sizeof(type) * words, row = turned ? 1 : depth, col = turned ? m : 1; \
        type *a = secret(bytes * m * depth), *b = secret(bytes * depth * p), *c = secret(bytes * m * p); \
        type *packed = room(sizeof(type) * k->gemm_packed_##ring(depth, p)), *work = room(sizeof(type) * k->gemm_work_##ring()); \
        k->gemm_pack_##ring(packed, depth, p, b, turned ? 1 : p, turned ? depth : 1); \
        k->gemm_##ring(c, p, m, p, depth, a, row, col, packed, work); \
        free(a), free(b), free(packed), free(work), show("gemm_" #ring, m, c, bytes * m * p); \
    }
#define CONV(ring, type, words, ...) \
    { \
        const mpc_conv2d s = __VA_ARGS__; \
        const size_t bytes = sizeof(type) * words, size = s.images * s.filters * s.out[0] * s.out[1] * bytes; \
        type *x = secret(bytes * s.images * s.channels * s.height * s.width), *z = secret(size); \
        type *y = secret(bytes * s.filters * (s.channels / s.groups) * s.kernel[0] * s.kernel[1]); \
        type *work = room(sizeof(type) * k->conv2d_work_##ring()); \
        k->conv2d_##ring(z, x, y, &s, 0, k->conv2d_strips_##ring(&s), work); \
        free(x), free(y), free(work), show("conv2d_" #ring, s.groups, z, size); \
    }
#define PRODUCTS(ring, type, words) \
    GEMM(ring, type, words, (size_t)13, (size_t)300, (size_t)27) GEMM(ring, type, words, (size_t)70, (size_t)9, (size_t)1) \
    GEMM(ring, type, words, (size_t)1, (size_t)33, (size_t)50) \
    CONV(ring, type, words, {2, 4, 9, 8, 6, {3, 2}, {7, 4}, {1, 2}, {1, 0}, {2, 1}, 2}) \
    CONV(ring, type, words, {1, 3, 14, 13, 3, {3, 3}, {14, 13}, {1, 1}, {1, 1}, {1, 1}, 3})

static void products(void)
{
    PRODUCTS(u64, uint64_t, 1)
    PRODUCTS(u32, uint32_t, 1)
    PRODUCTS(u128, uint64_t, 2)
}

static void compare(size_t n, int bits, int shift, int equal, int shape)
{
    uint32_t counts[10];                               /* hot, mask, ands, levels, then open and local of each level */
    const size_t words = (n + 63) / 64;
    uint8_t *rks = expanded(2);
    uint64_t *x = secret(8 * n), *r = secret(8 * n), *local[2], *open[2];
    k->compare_counts(counts, bits, equal, shape);
    const size_t hots = 8 * words * counts[0], dealt = 8 * words * counts[2];
    uint64_t *hot = room(hots), *ands = room(dealt), *again = room(dealt);
    k->compare_deal(hot, ands, r, n, bits, shift, equal, shape, rks, 2, A, B, C, 512);
    for (int i = 0; i < 2; i++) {
        local[i] = room(8 * words * counts[5]), open[i] = room(8 * words * counts[4]);
        k->compare_leaves(local[i], open[i], x, n, bits, shift, equal, shape, i == 0, i ? hot : NULL, rks + 176 * i, A, B, 512);
    }
    for (int level = 1; level <= (int)counts[3]; level++) {
        const int last = level == (int)counts[3];
        uint64_t *kept[2], *next[2];
        for (int i = 0; i < 2; i++) {
            const uint32_t *above = counts + 4 + 2 * (last ? 0 : level);
            kept[i] = room(8 * words * (last ? 1 : above[1])), next[i] = last ? NULL : room(8 * words * above[0]);
            k->compare_level(kept[i], next[i], local[i], open[i], open[1 - i], n, level, bits, equal, shape, i == 0,
                             i ? ands : NULL, rks + 176 * i, C, B, 512);
        }
        for (int i = 0; i < 2; i++) free(local[i]), free(open[i]), local[i] = kept[i], open[i] = next[i];
    }
    for (int i = 0; i < 2; i++) show("compare", n, local[i], 8 * words);
    k->compare_deal(NULL, again, r, n, bits, shift, equal, shape, rks, 2, A, B, C, 512), show("compare_deal again", n, again, dealt);
    show("compare_deal", n, hot, hots), show("compare_deal", n, ands, dealt);
    uint64_t *plane = room(8 * words);
    k->bit_plane(plane, x, n, 63), show("bit_plane", n, plane, 8 * words);
    free(x), free(r), free(rks);
}

static void lookup(size_t n, int width)
{
    const size_t size = (size_t)1 << width, row = size < 64 ? 1 : size / 64;
    uint8_t *rk = expanded(1);
    uint64_t *table = uniform(8 * COLUMNS * size), *v = uniform(8 * n), *r = secret(8 * n), *e = room(8 * n * row);
    uint64_t *s = room(8 * n), *out = room(8 * COLUMNS * n);
    k->lookup_deal_u64(e, s, r, n, width, rk, A, 512);
    k->lookup_u64(out, table, COLUMNS, width, e, v, n, -1, 0), show("lookup_u64", n, out, 8 * COLUMNS * n);
    out = room(8 * COLUMNS * n);
    k->lookup_u64(out, table, COLUMNS, width, e, v, n, 1, 1), show("lookup_u64 exclusive", n, out, 8 * COLUMNS * n);
    show("lookup_deal_u64", n, e, 8 * n * row), show("lookup_deal s", n, s, 8 * n);
    free(table), free(v), free(r), free(rk);
}

static void spline(size_t n, int degree)
{
    const size_t rows = (size_t)((degree + 1) * (degree + 4) / 2), columns = (size_t)degree + 1;
    uint8_t *rks = expanded(2);
    uint64_t *r = secret(8 * n), *sign = secret(8 * n), *low = secret(8 * n), *opened = secret(8 * n * columns);
    uint64_t *dealt = room(8 * n * rows), *y = room(8 * n);
    k->spline_deal_u64(dealt, r, sign, n, degree, rks, A, A + 64, 512);
    k->spline_u64(y, low, opened, NULL, n, degree, rks, A, 512), show("spline_u64", n, y, 8 * n);
    y = room(8 * n), k->spline_u64(y, low, opened, dealt, n, degree, rks, A, 512), show("spline_u64 dealt", n, y, 8 * n);
    show("spline_deal_u64", n, dealt, 8 * n * rows);
    uint64_t *words = secret(8 * n * 3);
    y = room(8 * n), k->settled_u64(y, r, low, sign, n, 16, NULL, rks, A, B, C, 512), show("settled_u64", n, y, 8 * n);
    y = room(8 * n), k->settled_u64(y, r, low, sign, n, 16, words, rks, A, B, C, 512), show("settled_u64", n, y, 8 * n);
    y = room(8 * n), k->chain_u64(y, r, low, sign, words, n, 16, 7, NULL, rks, A, B, 512), show("chain_u64", n, y, 8 * n);
    uint32_t *wrap = room(4 * n);
    y = room(8 * n), k->chain_deal_u64(wrap, y, r, low, n, 16, rks, 2, A, B, 512), show("chain_deal_u64", n, y, 8 * n);
    y = room(8 * n), k->chain_u64(y, r, low, sign, words, n, 16, 7, wrap, rks, A, B, 512), show("chain_u64", n, y, 8 * n);
    show("chain_deal_u64", n, wrap, 4 * n);
    y = room(8 * n), k->bit_words_u64(y, low, n, 1, NULL, rks, A, 512), show("bit_words_u64", n, y, 8 * n);
    y = room(8 * n), k->bit_words_u64(y, low, n, 0, r, rks, A, 512), show("bit_words_u64", n, y, 8 * n);
    free(words), free(r), free(sign), free(low), free(opened), free(rks);
}

static void digits(size_t n)
{
    for (int b = 1; b <= 4; b++) {
        const size_t entries = n * ((1u << b) - 1);
        uint8_t *c = uniform(n);
        uint32_t *x = secret(4 * entries), *r = secret(4 * entries), *z = room(4 * entries);
        for (size_t i = 0; i < n; i++) c[i] &= (uint8_t)((1 << b) - 1);
        k->digit_choose_u32(z, x, c, n, b, 1), show("digit_choose_u32", n, z, 4 * entries);
        z = room(4 * n), k->digit_ranks_u32(z, x, r, 1, n, b, 1, 1), show("digit_ranks_u32", n, z, 4 * n);
        z = room(4 * n), k->digit_ranks_u32(z, x, NULL, n, 1, b, 0, 0), show("digit_ranks_u32", n, z, 4 * n);
        free(c), free(x), free(r);
    }
}

static void bits(size_t n)
{
    uint8_t *rks = expanded(2);
    void *in[5];
    for (int i = 0; i < 5; i++) in[i] = secret(8 * n);
    uint64_t *z = room(8 * n);
    k->and_bits(z, in[0], in[1], in[2], in[3], n, 1, in[4], rks, A, B, C, 8), show("and_bits", n, z, 8 * n);
    z = room(8 * n), k->and_bits(z, in[0], NULL, in[2], NULL, n, 0, NULL, rks, A, B, C, 8), show("and_bits", n, z, 8 * n);
    z = room(8 * n), k->and_deal_bits(z, n, rks, 2, A, B, C, 8), show("and_deal_bits", n, z, 8 * n);
    z = room(8 * n), k->transpose_bits(z, in[0], n / 64), show("transpose_bits", n, z, n / 64 * 512);
    const size_t packed = (n + 63) / 64 * 8;
    z = room(packed), k->pack_bits(z, in[0], n), show("pack_bits", n, z, packed);
    uint8_t *raw = room(n);
    k->unpack_bits(raw, in[0], n), show("unpack_bits", n, raw, n);
    z = room((n / 3 + 63) / 64 * 8), k->parity_bits(z, in[0], n / 3, 3), show("parity_bits", n, z, (n / 3 + 63) / 64 * 8);
    double *number = room(8 * n);
    k->decode_f64(number, in[1], n, 16), show("decode_f64", n, number, 8 * n);
    z = room(8 * n), k->exp_u64(z, in[1], n, 16, -1, 30), show("exp_u64", n, z, 8 * n);
    uint64_t *errors = room(16);
    z = room(8 * n), k->encode_f64(z, errors, in[0], n, 16), show("encode_f64", n, z, 8 * n), show("encode_f64 errors", n, errors, 16);
    free_all(in, 5), free(rks);
}

static void wide(size_t n)
{
    uint8_t *rks = expanded(2);
    const size_t bytes = 16 * n;
    uint64_t *x = secret(bytes), *y = secret(bytes), *z = room(bytes), *errors = room(16);
    k->add_u128(z, x, y, n), show("add_u128", n, z, bytes);
    z = room(bytes), k->sub_u128(z, x, y, n), show("sub_u128", n, z, bytes);
    z = room(bytes), k->mul_u128(z, x, y, n), show("mul_u128", n, z, bytes);
    z = room(bytes), k->shift_u128(z, x, n, 3, 70), show("shift_u128", n, z, bytes);
    z = room(16), k->sum_u128(z, x, 1, n, 1, 0), show("sum_u128", n, z, 16);
    z = room(bytes), k->sum_u128(z, x, 1, n, 1, 1), show("sum_u128 running", n, z, bytes);
    for (int sign = -1; sign <= 1; sign += 2)
        z = room(bytes), k->prg_add_u128(z, x, n, sign, rks, 2, A, 64), show("prg_add_u128", n, z, bytes);
    z = room(bytes), k->encode_f64_u128(z, errors, (double *)x, n, 40), show("encode_f64_u128", n, z, bytes);
    show("encode_f64_u128 errors", n, errors, 16);
    double *number = room(8 * n);
    k->decode_f64_u128(number, x, n, 40), show("decode_f64_u128", n, number, 8 * n);
    free(x), free(y), free(rks);
}

static void residues(size_t n)
{
    const mpc_field fields[] = {{(UINT64_C(1) << 61) - 1, 3, 8}, {UINT64_C(9223372036854775783), 1, 50}};
    uint8_t *rks = expanded(2);
    for (size_t count = 1; count <= 2; count++)
        for (const mpc_field *f = fields; f < fields + 3 - count; f++) {
            const size_t bytes = 8 * n * count;
            uint64_t *x = secret(bytes), *y = secret(bytes), *z = room(bytes);
            k->field_add_u64(z, x, y, n, f, count), show("field_add_u64", n, z, bytes);
            z = room(bytes), k->field_sub_u64(z, x, y, n, f, count), show("field_sub_u64", n, z, bytes);
            z = room(bytes), k->field_mul_u64(z, x, y, n, f, count), show("field_mul_u64", n, z, bytes);
            z = room(bytes), k->field_encode_i64(z, (int64_t *)x, n, f, count), show("field_encode_i64", n, z, bytes);
            z = room(8 * count), k->field_sum_u64(z, x, 1, n, f, count), show("field_sum_u64", n, z, 8 * count);
            z = room(bytes), k->field_cumsum_u64(z, x, 1, n, f, count), show("field_cumsum_u64", n, z, bytes);
            z = room(bytes), k->field_prg_add_u64(z, x, n, -1, rks, 2, A, 64, f, count), show("field_prg_add_u64", n, z, bytes);
            z = secret(8 * count), k->field_matmul_u64(z, x, y, 1, 1, n, f, count), show("field_matmul_u64", n, z, 8 * count);
            free(x), free(y);
        }
    free(rks);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        for (const char *const *name = mpc_tiers(); *name; name++) puts(*name);
        return 0;
    }
    if (!(k = mpc_tier(argv[1]))) return fprintf(stderr, "this machine has no tier %s\n", argv[1]), 1;
    if (argc > 2) {
        volatile uint64_t table[2] = {1, 2}, *word = secret(8), got = 0;
        if (!strcmp(argv[2], "branch") && *word & 1) got = table[0];
        if (!strcmp(argv[2], "index")) got = table[*word & 1];
        return got == 3;
    }
    const size_t lengths[] = {1, 67, 1100};
    for (int i = 0; i < 3; i++) {
        words(lengths[i]);
        ring(lengths[i]);
        bits(lengths[i]);
        digits(lengths[i]);
        wide(lengths[i]);
        residues(lengths[i]);
        compare(lengths[i], 63, 0, 0, 0), compare(lengths[i], 21, 5, 1, 0), compare(lengths[i], 7, 16, 0, 0);
        compare(lengths[i], 63, 0, 0, 1), compare(lengths[i], 64, 0, 1, 1), compare(lengths[i], 21, 5, 0, 1);
        compare(lengths[i], 63, 0, 0, 2), compare(lengths[i], 64, 0, 1, 2), compare(lengths[i], 21, 5, 0, 2);
        for (int width = 1; width <= 8; width += 2) lookup(lengths[i], width);
        for (int degree = 1; degree <= 3; degree++) spline(lengths[i], degree);
    }
    products();
    return 0;
}
