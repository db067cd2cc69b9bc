/* The reference: portable C, which the other tiers must equal bit for bit. AES is bit-sliced, so there is no table. */
#define TIER(f) f##_ref
#define LANES 2
#include "tier.h"

#include "transpose.inc"

/* ---- AES-128 (FIPS 197), 64 blocks at a time ----
 *
 * state[bit][byte]: bit `bit` of byte `byte` of the state, one block in each bit of the word. Bytes in the order of
 * FIPS 197: byte 4 c + r is row r of column c. */
typedef uint64_t aes_state[8][16];

enum { BATCH = 64 };

/* SubBytes: the circuit of Boyar and Peralta (ePrint 2011/332), 113 gates; their names, x0 and s0 the top bits. */
static void sub_bytes(aes_state p)
{
    INDEPENDENT
    for (int i = 0; i < 16; i++) {
        const uint64_t x0 = p[7][i], x1 = p[6][i], x2 = p[5][i], x3 = p[4][i];
        const uint64_t x4 = p[3][i], x5 = p[2][i], x6 = p[1][i], x7 = p[0][i];

        const uint64_t y14 = x3 ^ x5, y13 = x0 ^ x6, y9 = x0 ^ x3, y8 = x0 ^ x5, t0 = x1 ^ x2, y1 = t0 ^ x7;
        const uint64_t y4 = y1 ^ x3, y12 = y13 ^ y14, y2 = y1 ^ x0, y5 = y1 ^ x6, y3 = y5 ^ y8, t1 = x4 ^ y12;
        const uint64_t y15 = t1 ^ x5, y20 = t1 ^ x1, y6 = y15 ^ x7, y10 = y15 ^ t0, y11 = y20 ^ y9, y7 = x7 ^ y11;
        const uint64_t y17 = y10 ^ y11, y19 = y10 ^ y8, y16 = t0 ^ y11, y21 = y13 ^ y16, y18 = x0 ^ y16;

        const uint64_t t2 = y12 & y15, t4 = (y3 & y6) ^ t2, t6 = (y4 & x7) ^ t2, t7 = y13 & y16;
        const uint64_t t9 = (y5 & y1) ^ t7, t11 = (y2 & y7) ^ t7, t12 = y9 & y11, t14 = (y14 & y17) ^ t12;
        const uint64_t t16 = (y8 & y10) ^ t12, t21 = t4 ^ t14 ^ y20, t22 = t6 ^ t16 ^ y19, t23 = t9 ^ t14 ^ y21;
        const uint64_t t24 = t11 ^ t16 ^ y18, t25 = t21 ^ t22, t26 = t21 & t23, t27 = t24 ^ t26;
        const uint64_t t29 = (t25 & t27) ^ t22, t30 = t23 ^ t24, t31 = t22 ^ t26, t33 = (t31 & t30) ^ t24;
        const uint64_t t34 = t23 ^ t33, t35 = t27 ^ t33, t36 = t24 & t35, t37 = t36 ^ t34, t38 = t27 ^ t36;
        const uint64_t t40 = t25 ^ (t29 & t38), t41 = t40 ^ t37, t42 = t29 ^ t33, t43 = t29 ^ t40, t44 = t33 ^ t37;
        const uint64_t t45 = t42 ^ t41;

        const uint64_t z0 = t44 & y15, z1 = t37 & y6, z2 = t33 & x7, z3 = t43 & y16, z4 = t40 & y1, z5 = t29 & y7;
        const uint64_t z6 = t42 & y11, z7 = t45 & y17, z8 = t41 & y10, z9 = t44 & y12, z10 = t37 & y3, z11 = t33 & y4;
        const uint64_t z12 = t43 & y13, z13 = t40 & y5, z14 = t29 & y2, z15 = t42 & y9, z16 = t45 & y14, z17 = t41 & y8;

        const uint64_t t46 = z15 ^ z16, t47 = z10 ^ z11, t48 = z5 ^ z13, t49 = z9 ^ z10, t50 = z2 ^ z12, t51 = z2 ^ z5;
        const uint64_t t52 = z7 ^ z8, t53 = z0 ^ z3, t54 = z6 ^ z7, t55 = z16 ^ z17, t56 = z12 ^ t48, t57 = t50 ^ t53;
        const uint64_t t58 = z4 ^ t46, t59 = z3 ^ t54, t60 = t46 ^ t57, t61 = z14 ^ t57, t62 = t52 ^ t58;
        const uint64_t t63 = t49 ^ t58, t64 = z4 ^ t59, t65 = t61 ^ t62, t66 = z1 ^ t63, t67 = t64 ^ t65;
        const uint64_t s3 = t53 ^ t66;

        p[7][i] = t59 ^ t63;
        p[6][i] = t64 ^ ~s3;
        p[5][i] = t55 ^ ~t67;
        p[4][i] = s3;
        p[3][i] = t51 ^ t66;
        p[2][i] = t47 ^ t65;
        p[1][i] = t56 ^ ~t62;
        p[0][i] = t48 ^ ~t60;
    }
}

/* Row r moves r columns to the left. */
static void shift_rows(aes_state p)
{
    for (int bit = 0; bit < 8; bit++) {
        uint64_t was[16];
        memcpy(was, p[bit], sizeof was);
        for (int i = 0; i < 16; i++) p[bit][i] = was[(i + 4 * (i % 4)) % 16];
    }
}

/* In a column, b_r = 2 (a_r + a_{r+1}) + a_{r+1} + a_{r+2} + a_{r+3}; doubling shifts the planes and folds the top one into
 * the bits of 0x1b. */
static void mix_columns(aes_state p)
{
    aes_state d;                                              /* a_r + a_{r+1} */
    for (int bit = 0; bit < 8; bit++)
        for (int i = 0; i < 16; i++) d[bit][i] = p[bit][i] ^ p[bit][(i & 12) | ((i + 1) & 3)];
    for (int bit = 0; bit < 8; bit++) {
        uint64_t b[16];
        for (int i = 0; i < 16; i++) {
            b[i] = p[bit][(i & 12) | ((i + 1) & 3)] ^ d[bit][(i & 12) | ((i + 2) & 3)];
            if (bit > 0) b[i] ^= d[bit - 1][i];
            if (0x1b >> bit & 1) b[i] ^= d[7][i];
        }
        memcpy(p[bit], b, sizeof b);
    }
}

static void add_round_key(aes_state p, const uint8_t *key)
{
    for (int bit = 0; bit < 8; bit++)
        for (int i = 0; i < 16; i++) p[bit][i] ^= -(uint64_t)(key[i] >> bit & 1);       /* bit == 0 ? 0 : -1 */
}

static void encrypt(aes_state p, const uint8_t *rk)
{
    add_round_key(p, rk);
    for (int r = 1; r < 10; r++) {
        sub_bytes(p);
        shift_rows(p);
        mix_columns(p);
        add_round_key(p, rk + 16 * r);
    }
    sub_bytes(p);
    shift_rows(p);
    add_round_key(p, rk + 160);
}

static void aes_key_ref(uint8_t *rk, const uint8_t *key)
{
    aes_state p;
    uint8_t rcon = 1;
    memcpy(rk, key, 16);
    memset(p, 0, sizeof p);
    for (int w = 4; w < 44; w++) {
        const uint8_t *before = rk + 4 * (w - 1);
        uint8_t t[4] = {before[0], before[1], before[2], before[3]};
        if (w % 4 == 0) {
            for (int i = 0; i < 4; i++)
                for (int bit = 0; bit < 8; bit++) p[bit][i] = before[(i + 1) % 4] >> bit & 1;
            sub_bytes(p);
            memset(t, 0, sizeof t);
            for (int i = 0; i < 4; i++)
                for (int bit = 0; bit < 8; bit++) t[i] = (uint8_t)(t[i] | (p[bit][i] & 1) << bit);
            t[0] ^= rcon;
            rcon = (uint8_t)(rcon << 1 ^ (rcon >> 7) * 0x1b);
        }
        for (int i = 0; i < 4; i++) rk[4 * w + i] = rk[4 * (w - 4) + i] ^ t[i];
    }
}

/* ---- random words ---- */

static void prg_into_ref(void *out, const void *x, void *kept, size_t n, prg_use use, const uint8_t *rk, uint64_t name,
                         uint64_t at)
{
    aes_state p;
    uint64_t half[2][BATCH];
    for (size_t done = 0; done < n; done += 2 * BATCH) {
        for (size_t b = 0; b < BATCH; b++) half[0][b] = (at + done) / 2 + b;
        transpose_64x64(half[0]);
        for (int bit = 0; bit < 64; bit++) {
            p[bit % 8][bit / 8] = half[0][bit];
            p[bit % 8][8 + bit / 8] = -(name >> bit & 1);
        }
        encrypt(p, rk);
        for (int h = 0; h < 2; h++) {
            for (int bit = 0; bit < 64; bit++) half[h][bit] = p[bit % 8][8 * h + bit / 8];
            transpose_64x64(half[h]);
        }
        for (size_t i = 0; i < least(2 * BATCH, n - done); i++) {
            const uint64_t word = half[i % 2][i / 2], place = 8 * (done + i);
            if (use == PRG_ADD32 || use == PRG_SUB32) {
                uint32_t v[2];
                memcpy(v, (const uint8_t *)x + place, 8);
                for (int h = 0; h < 2; h++) v[h] += (use == PRG_ADD32 ? 1 : -1u) * (uint32_t)(word >> 32 * h);
                memcpy((uint8_t *)out + place, v, 8);
            } else {
                uint64_t v = 0;
                if (use != PRG_SET) memcpy(&v, (const uint8_t *)x + place, 8);
                v = use == PRG_XOR ? v ^ word : use == PRG_SUB ? v - word : v + word;
                memcpy((uint8_t *)out + place, &v, 8);
                if (use == PRG_MASK) memcpy((uint8_t *)kept + place, &word, 8);
            }
        }
    }
}

#include "prg.inc"
#include "ring.inc"

/* ---- matrix product: for every ring the same plain loops, tile.inc ---- */

#define GEMM(f) f##_u64_ref
#define WORD uint64_t
#define ELEMENT uint64_t
#include "tile.inc"
#include "gemm.inc"

#define GEMM(f) f##_u32_ref
#define WORD uint32_t
#define ELEMENT uint32_t
#include "tile.inc"
#include "gemm.inc"

#define GEMM(f) f##_u128_ref
#define WORD uint64_t
#define ELEMENT pair
#include "tile.inc"
#include "gemm.inc"

#include "compare.inc"
#include "lookup.inc"
#include "spline.inc"
#include "bits.inc"
#include "digits.inc"
#include "wide.inc"
#include "field.inc"

void mpc_fill_ref(mpc_kernels *k)
{
    *k = (mpc_kernels){.name = "ref", .aes_key = TIER(aes_key)};
    FILL_PRG(k);
    FILL_RING(k);
    FILL_GEMM(k, ref);
    FILL_COMPARE(k);
    FILL_LOOKUP(k);
    FILL_SPLINE(k);
    FILL_BITS(k);
    FILL_DIGITS(k);
    FILL_WIDE(k);
    FILL_FIELD(k);
}
