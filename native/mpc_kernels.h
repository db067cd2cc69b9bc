/* Every kernel, declared once: the C compiler and cffi read this text.
 *
 * Conventions. Outputs come first. `n` counts elements. Words are uint64_t, ring elements of Z_2^64; bits are packed,
 * element i in bit i % 64 of word i / 64. Kernels allocate nothing, cannot fail (shapes are checked in Python) and take
 * no branch and no index that depends on a secret.
 *
 * Random words have names. Word i of the stream `name` under an expanded AES-128 key `rk` (176 bytes) is half i % 2 of
 * AES(rk, i / 2 | name << 64) (both halves little-endian): a pure function of key, name and position, so all parties
 * stay in step without a message. `at` is the position of the first element; it is a multiple of 512. `rks` are `count`
 * expanded keys one after another.
 *
 * A dealt value v (known to the dealer) is split so: evaluators 0 .. e-2 expand their word from their own stream, the
 * last one receives the correction v - (their sum) (XOR for bits). So a `NULL` correction means "expand my word from
 * `rk`"; a pointer means "this is my word".
 *
 * Bit planes come in groups of 512 elements. A block of P planes over n elements takes P * ceil(n / 64) words: group
 * after group, in a group plane after plane, a plane of a full group 8 words, of the last group ceil(n % 512 / 64).
 * The stream of a P-plane field keeps 8 words for every plane: word k of plane p of group g is word
 * ((at / 512 + g) * P + p) * 8 + k. Bits beyond n in a plane are arbitrary but always masked when they travel.
 */

#include <stddef.h>
#include <stdint.h>

/* The sizes of a convolution, all public; pairs are (vertical, horizontal). */
typedef struct mpc_conv2d {
    size_t images, channels, height, width, filters, kernel[2], out[2], stride[2], padding[2], dilation[2], groups;
} mpc_conv2d;

/* A prime p, 2^31 <= p < 2^63; shift = 64 - its bits; reciprocal = floor((2^128 - 1) / (p << shift)) - 2^64. */
typedef struct mpc_field {
    uint64_t p, shift, reciprocal;
} mpc_field;

typedef struct mpc_kernels {
    const char *name;

    /* ---- random words (prg.inc) ---- */
    /* expands a 16-byte key */
    void (*aes_key)(uint8_t *rk, const uint8_t *key);
    /* out = n words of the stream; of several keys the sum of theirs */
    void (*prg_u64)(uint64_t *out, size_t n, const uint8_t *rks, size_t count, uint64_t name, uint64_t at);
    /* out = x + sign * (the sum over `count` keys of their streams); sign is +1 or -1; x may be out */
    void (*prg_add_u64)(uint64_t *out, const uint64_t *x, size_t n, int sign, const uint8_t *rks, size_t count,
                        uint64_t name, uint64_t at);
    /* the same on 32-bit words: element i is half i % 2 (low half first) of stream word i / 2 */
    void (*prg_add_u32)(uint32_t *out, const uint32_t *x, size_t n, int sign, const uint8_t *rks, size_t count,
                        uint64_t name, uint64_t at);
    /* out = x ^ (the xor of the streams), n words of packed bits; `at` counts words and is a multiple of 8 */
    void (*prg_xor_u64)(uint64_t *out, const uint64_t *x, size_t n, const uint8_t *rks, size_t count, uint64_t name,
                        uint64_t at);
    /* r = stream, m = x + r: opens x under a fresh mask and keeps the mask */
    void (*mask_u64)(uint64_t *m, uint64_t *r, const uint64_t *x, size_t n, const uint8_t *rk, uint64_t name, uint64_t at);

    /* ---- fused ring arithmetic (ring.inc) ---- */
    /* one product per party (two evaluators): z = (x - 2r)(y - 2s) + stream + offset, x and y opened, r and s own masks */
    void (*mul_pair_u64)(uint64_t *z, const uint64_t *x, const uint64_t *r, const uint64_t *y, const uint64_t *s, size_t n,
                         uint64_t offset, const uint8_t *rk, uint64_t name, uint64_t at);
    /* Beaver: z = first * x y - x s - r y + t + offset; t = correction, or the stream where t is NULL */
    void (*mul_beaver_u64)(uint64_t *z, const uint64_t *x, const uint64_t *r, const uint64_t *y, const uint64_t *s, size_t n,
                           int first, uint64_t offset, const uint64_t *t, const uint8_t *rk, uint64_t name, uint64_t at);
    /* out = x - 2r */
    void (*operand_u64)(uint64_t *out, const uint64_t *x, const uint64_t *r, size_t n);
    /* Dealer of mul_pair: r = r + 2 (a0 - a1)(b0 - b1) */
    void (*mul_pair_deal_u64)(uint64_t *r, const uint64_t *a0, const uint64_t *a1, const uint64_t *b0, const uint64_t *b1,
                              size_t n);
    /* Truncation by f bits of the opened c = z + z_peer = x + 2^62 + r (z_peer may be NULL: z is c already):
     *     t = first * ((c >> f) - 2^(62-f)) - hi + (c's top bit == 0 ? top << (64 - f) : 0)
     * hi: shares of r >> f, words. top: shares of r >> 63, 32-bit words if f <= 32, else 64-bit words. Both NULL: expand
     * from rk under name_hi and name_top (prg_u64; top as prg_add_u32 reads it, or prg_u64). */
    void (*trunc_u64)(uint64_t *t, const uint64_t *z, const uint64_t *z_peer, size_t n, int f, int first,
                      const uint64_t *hi, const void *top, const uint8_t *rk, uint64_t name_hi, uint64_t name_top,
                      uint64_t at);
    /* Dealer: hi = (r >> f) - (the sum of the streams), top likewise of r >> 63, `count` = evaluators - 1 */
    void (*trunc_deal_u64)(uint64_t *hi, void *top, const uint64_t *r, size_t n, int f, const uint8_t *rks, size_t count,
                           uint64_t name_hi, uint64_t name_top, uint64_t at);
    /* Share of t y + rho for a t that was truncated by f <= 32 bits from the opened c (masked by r), and an opened y with my
     * share q of its mask: z = t y - ((c >> f) - 2^(62-f)) q - (c's top bit == 0 ? d << (64 - f) : 0) + rho + offset,
     * rho the stream name_rho; d my share of (r >> 63) q, NULL: the stream name_d, as prg_add_u32 reads it */
    void (*chain_u64)(uint64_t *z, const uint64_t *c, const uint64_t *t, const uint64_t *y, const uint64_t *q, size_t n,
                      int f, uint64_t offset, const uint32_t *d, const uint8_t *rk, uint64_t name_d, uint64_t name_rho,
                      uint64_t at);
    /* Dealer: d = (r >> 63) q - the first parties - 1 streams name_d; hidden = the mask of the sum of all z:
     * the sum of all streams name_rho - (r >> f) q */
    void (*chain_deal_u64)(uint32_t *d, uint64_t *hidden, const uint64_t *r, const uint64_t *q, size_t n, int f,
                           const uint8_t *rks, size_t parties, uint64_t name_d, uint64_t name_rho, uint64_t at);
    /* y = b ? xb : x - xb, xb = xhat * B - R: share of x (1 - bit), b the opened (bit ^ beta), B and R shares of beta and of
     * r * beta (xhat = x + r opened); B and R both NULL: expand from rk */
    void (*select_u64)(uint64_t *y, const uint64_t *x, const uint64_t *xhat, const uint64_t *b, size_t n, const uint64_t *B,
                       const uint64_t *R, const uint8_t *rk, uint64_t name_b, uint64_t name_r, uint64_t at);
    /* y = first * bit + (1 - 2 bit) w: share of bit ^ beta, w my share of beta, or the stream where NULL; bit packed */
    void (*bit_words_u64)(uint64_t *y, const uint64_t *bit, size_t n, int first, const uint64_t *w, const uint8_t *rk,
                          uint64_t name, uint64_t at);
    /* Dealer: B = beta - streams, R = r * beta - streams, beta packed bits */
    void (*select_deal_u64)(uint64_t *B, uint64_t *R, const uint64_t *r, const uint64_t *beta, size_t n, const uint8_t *rks,
                            size_t count, uint64_t name_b, uint64_t name_r, uint64_t at);

    /* ---- matrix product (gemm.inc) ---- */
    /* c += a @ b mod 2^64, (m, k) @ (k, p). Strides in elements, so a transposed operand needs no copy. b is packed first
     * into gemm_packed_u64(k, p) words; `work` has gemm_work_u64() words; both 64-byte aligned. */
    size_t (*gemm_packed_u64)(size_t k, size_t p);
    size_t (*gemm_work_u64)(void);
    void (*gemm_pack_u64)(uint64_t *packed, size_t k, size_t p, const uint64_t *b, size_t row, size_t col);
    void (*gemm_u64)(uint64_t *c, size_t ldc, size_t m, size_t p, size_t k, const uint64_t *a, size_t row, size_t col,
                     const uint64_t *packed, uint64_t *work);
    /* the same mod 2^32 */
    size_t (*gemm_packed_u32)(size_t k, size_t p);
    size_t (*gemm_work_u32)(void);
    void (*gemm_pack_u32)(uint32_t *packed, size_t k, size_t p, const uint32_t *b, size_t row, size_t col);
    void (*gemm_u32)(uint32_t *c, size_t ldc, size_t m, size_t p, size_t k, const uint32_t *a, size_t row, size_t col,
                     const uint32_t *packed, uint32_t *work);
    /* the same mod 2^128: an element is two words, the lower one first */
    size_t (*gemm_packed_u128)(size_t k, size_t p);
    size_t (*gemm_work_u128)(void);
    void (*gemm_pack_u128)(uint64_t *packed, size_t k, size_t p, const uint64_t *b, size_t row, size_t col);
    void (*gemm_u128)(uint64_t *c, size_t ldc, size_t m, size_t p, size_t k, const uint64_t *a, size_t row, size_t col,
                      const uint64_t *packed, uint64_t *work);
    /* z += conv2d(x, y): images (images, channels, height, width) and filters (filters, channels / groups, kernel) to
     * (images, filters, out), all contiguous. The work is cut into conv2d_strips_u64(shape) strips, of which one call does
     * from .. to - 1; `work` has conv2d_work_u64() words, 64-byte aligned. */
    size_t (*conv2d_strips_u64)(const mpc_conv2d *shape);
    size_t (*conv2d_work_u64)(void);
    void (*conv2d_u64)(uint64_t *z, const uint64_t *x, const uint64_t *y, const mpc_conv2d *shape, size_t from, size_t to, uint64_t *work);
    size_t (*conv2d_strips_u32)(const mpc_conv2d *shape);
    size_t (*conv2d_work_u32)(void);
    void (*conv2d_u32)(uint32_t *z, const uint32_t *x, const uint32_t *y, const mpc_conv2d *shape, size_t from, size_t to, uint32_t *work);
    size_t (*conv2d_strips_u128)(const mpc_conv2d *shape);
    size_t (*conv2d_work_u128)(void);
    void (*conv2d_u128)(uint64_t *z, const uint64_t *x, const uint64_t *y, const mpc_conv2d *shape, size_t from, size_t to, uint64_t *work);

    /* ---- comparison by one-hot digits (compare.inc, compare_tree.inc) ---- */
    /* Sizes in planes for a window of `bits` (1..64) bits: counts = {hot, mask, ands, levels, then open and local of three levels}
     * (0 for levels that are not there: windows of at most 16 bits have one). equal: test equality instead of `<`.
     * shape: of the tree: 0 narrow, two levels; 1 wide, one level for any window, with more dealt; 2 deep, three, with less. */
    void (*compare_counts)(uint32_t *counts, int bits, int equal, int shape);
    /* Level 0: one-hot leaves. x: opened words, window = bits shift .. shift + bits - 1. hot: own shares of the one-hot
     * planes of the mask's digits (entry 0 is not dealt: parity, party `first` takes 1 ^ xor of its others), or NULL.
     * local: kept; open: the factors of level 1, each masked by its plane of the stream name_mask. */
    void (*compare_leaves)(uint64_t *local, uint64_t *open, const uint64_t *x, size_t n, int bits, int shift, int equal,
                           int shape, int first, const uint64_t *hot, const uint8_t *rk, uint64_t name_hot,
                           uint64_t name_mask, uint64_t at);
    /* A level, from 1: from the opened factors (mine ^ peer; peer may be NULL) and the shares of the mask products `ands` of all
     * levels (or NULL): the next level's local and open, or, at the last level, local = the result: packed shares of [x < r] (or
     * [x == r]) on the window, one plane. */
    void (*compare_level)(uint64_t *next_local, uint64_t *next_open, const uint64_t *local, const uint64_t *mine,
                          const uint64_t *peer, size_t n, int level, int bits, int equal, int shape, int first,
                          const uint64_t *ands, const uint8_t *rk, uint64_t name_and, uint64_t name_mask, uint64_t at);
    /* Dealer: hot and ands = what the last of `parties` evaluators receives for the mask r.
     * hot NULL: not dealt (a further comparison, at another public offset, uses the one-hots of the first). */
    void (*compare_deal)(uint64_t *hot, uint64_t *ands, const uint64_t *r, size_t n, int bits, int shift, int equal, int shape,
                         const uint8_t *rks, size_t parties, uint64_t name_hot, uint64_t name_mask, uint64_t name_and,
                         uint64_t at);
    /* out = packed bits: bit `bit` of every word */
    void (*bit_plane)(uint64_t *out, const uint64_t *x, size_t n, int bit);

    /* ---- one-hot lookup (lookup.inc) ---- */
    /* out[j * n + i] = sign * sum over w of table[j * K + (v_i - w) mod K] * e_i[w], K = 2^k, 1 <= k <= 9: `columns` tables,
     * e_i: K bits in max(1, K / 64) words per element, v_i public. exclusive: v_i mod K ^ w in place of v_i - w, k <= 7. */
    void (*lookup_u64)(uint64_t *out, const uint64_t *table, size_t columns, int k, const uint64_t *e, const uint64_t *v,
                       size_t n, int sign, int exclusive);
    /* Dealer: e = onehot(r mod K) ^ e0 with e0 the stream (`max(1, K/64)` words per element) under P0's rk, only the low K
     * bits kept; s = 2 e0[r] - 1 as a ring element */
    void (*lookup_deal_u64)(uint64_t *e, uint64_t *s, const uint64_t *r, size_t n, int k, const uint8_t *rk, uint64_t name,
                            uint64_t at);

    /* ---- spline gate (spline.inc), degree 1..3; w = (degree + 1)(degree + 4) / 2 rows of n words, see there ---- */
    /* My share of sum_j T_j (low - r)^j: low and the rows opened_j = s T_j + rho_j are public; words: my shares of the w rows
     * s r^m, then rho_j s r^m; NULL: row k is the stream name + k */
    void (*spline_u64)(uint64_t *y, const uint64_t *low, const uint64_t *opened, const uint64_t *words, size_t n, int degree,
                       const uint8_t *rk, uint64_t name, uint64_t at);
    /* Dealer: those rows less P0's streams. rks: P0's key, P1's key; rho_j = the sum of both streams name_column + j */
    void (*spline_deal_u64)(uint64_t *words, const uint64_t *r, const uint64_t *sign, size_t n, int degree,
                            const uint8_t *rks, uint64_t name, uint64_t name_column, uint64_t at);
    /* Share of t (1 - bit), where t was truncated by f bits from the opened c, and b = bit ^ beta is open, packed:
     *     y = b ? p : t - p,  p = ((c >> f) - 2^(62-f)) B - H + (c's top bit == 0 ? T << (64 - f) : 0)
     * words: rows B, H, T, shares of beta, beta (r >> f), beta (r >> 63); NULL: expand from rk */
    void (*settled_u64)(uint64_t *y, const uint64_t *t, const uint64_t *c, const uint64_t *b, size_t n, int f,
                        const uint64_t *words, const uint8_t *rk, uint64_t name_b, uint64_t name_h, uint64_t name_t,
                        uint64_t at);

    /* ---- packed bits (bits.inc); `at` counts words and is a multiple of 8 ---- */
    /* Beaver AND on n words: z = c ^ d b ^ e a ^ first * d e, where d = x ^ a and e = y ^ b are opened (mine ^ peer; peer may
     * be NULL), a and b own masks, c the correction, or the stream where it is NULL */
    void (*and_bits)(uint64_t *z, const uint64_t *d, const uint64_t *d_peer, const uint64_t *e, const uint64_t *e_peer,
                     size_t n, int first, const uint64_t *c, const uint8_t *rk, uint64_t name_a, uint64_t name_b,
                     uint64_t name_c, uint64_t at);
    /* Dealer: c = a & b ^ streams of the first parties - 1, a and b the xor of all `parties` masks */
    void (*and_deal_bits)(uint64_t *c, size_t n, const uint8_t *rks, size_t parties, uint64_t name_a, uint64_t name_b,
                          uint64_t name_c, uint64_t at);
    /* n blocks of 64 words: bit j of word b of the output is bit b of word j; out is not x */
    void (*transpose_bits)(uint64_t *out, const uint64_t *x, size_t n);
    /* n bytes, of which the lowest bit counts, as packed bits, zero beyond n; and packed bits as n bytes 0 and 1 */
    void (*pack_bits)(uint64_t *out, const uint8_t *bytes, size_t n);
    void (*unpack_bits)(uint8_t *bytes, const uint64_t *bits, size_t n);
    /* packed bits: the parity of each of n rows of `words` words, zero beyond n */
    void (*parity_bits)(uint64_t *out, const uint64_t *x, size_t n, size_t words);

    /* ---- digits of k <= 4 bits (digits.inc): n elements of K - 1 entries, K = 2^k ---- */
    /* out = entries 0 .. K-2 of e moved by XOR with the public digits c: out[v] = e[v ^ c]; e holds entries 1 .. K-1, and an
     * element's K entries add up to `total` */
    void (*digit_choose_u32)(uint32_t *out, const uint32_t *e, const uint8_t *c, size_t n, int k, uint32_t total);
    /* out = sum_v (first * x_v - r_v) S_v(x) - x_v S_v(r), where S_v are the entries v of the group's elements so far and the
     * smaller entries of them all, added up; `groups` of n elements. x and r hold entries 0 .. K-2; an element's K entries
     * add up to `total` in x, to 0 in r; r may be NULL (zeros) */
    void (*digit_ranks_u32)(uint32_t *out, const uint32_t *x, const uint32_t *r, size_t groups, size_t n, int k,
                            uint32_t first, uint32_t total);

    /* ---- residues modulo primes (field.inc): an element is `count` residues side by side, one for each of `fields` ---- */
    void (*field_add_u64)(uint64_t *out, const uint64_t *x, const uint64_t *y, size_t n, const mpc_field *fields, size_t count);
    void (*field_sub_u64)(uint64_t *out, const uint64_t *x, const uint64_t *y, size_t n, const mpc_field *fields, size_t count);
    void (*field_mul_u64)(uint64_t *out, const uint64_t *x, const uint64_t *y, size_t n, const mpc_field *fields, size_t count);
    /* out = n integers as elements */
    void (*field_encode_i64)(uint64_t *out, const int64_t *x, size_t n, const mpc_field *fields, size_t count);
    /* out = the sum of each of `rows` rows of n elements; and their sums so far */
    void (*field_sum_u64)(uint64_t *out, const uint64_t *x, size_t rows, size_t n, const mpc_field *fields, size_t count);
    void (*field_cumsum_u64)(uint64_t *out, const uint64_t *x, size_t rows, size_t n, const mpc_field *fields, size_t count);
    /* out = x + sign * (the sum over `parties` keys of their streams), x NULL: zeros. Residue j of element i of a stream is its
     * words 2 b and 2 b + 1 as a 128-bit number, lower half first, mod its prime, b = (at + i) * count + j. */
    void (*field_prg_add_u64)(uint64_t *out, const uint64_t *x, size_t n, int sign, const uint8_t *rks, size_t parties,
                              uint64_t name, uint64_t at, const mpc_field *fields, size_t count);
    /* c += a @ (the transpose of b): c (m, p), a (m, k), b (p, k), all contiguous */
    void (*field_matmul_u64)(uint64_t *c, const uint64_t *a, const uint64_t *b, size_t m, size_t p, size_t k,
                             const mpc_field *fields, size_t count);

    /* ---- fixed point (bits.inc), |f| <= 1000 ---- */
    /* out = x * 2^f rounded to nearest, ties to even; errors = {how many x are NaN or infinite, how many of the others have
     * |x| 2^f >= 2^62}, whose words mean nothing */
    void (*encode_f64)(uint64_t *out, uint64_t *errors, const double *x, size_t n, int f);
    /* out = x * 2^-f, x signed, rounded to nearest */
    void (*decode_f64)(double *out, const uint64_t *x, size_t n, int f);
    /* out = e^(sign d) 2^bits rounded to nearest, d = (v mod 2^f) 2^-f, by the very additions and multiplications of
     * `exponential` in ring/fixed.py, so that everybody finds the same word; f and bits 0 .. 50 */
    void (*exp_u64)(uint64_t *out, const uint64_t *v, size_t n, int f, int sign, int bits);

    /* ---- Z_2^128 element by element (wide.inc): an element is two words, the lower one first; n, outer, count and inner count
     * elements ---- */
    void (*add_u128)(uint64_t *out, const uint64_t *x, const uint64_t *y, size_t n);
    void (*sub_u128)(uint64_t *out, const uint64_t *x, const uint64_t *y, size_t n);
    void (*mul_u128)(uint64_t *out, const uint64_t *x, const uint64_t *y, size_t n);
    /* x 2^left, then / 2^right, without a sign; both 0 .. 127 */
    void (*shift_u128)(uint64_t *out, const uint64_t *x, size_t n, int left, int right);
    /* sums along the middle axis of (outer, count, inner): out is (outer, inner), or, `running`, all sums so far */
    void (*sum_u128)(uint64_t *out, const uint64_t *x, size_t outer, size_t count, size_t inner, int running);
    /* prg_add_u64 of elements: element i takes words 2 i and 2 i + 1 of the stream; `at` counts elements, a multiple of 256 */
    void (*prg_add_u128)(uint64_t *out, const uint64_t *x, size_t n, int sign, const uint8_t *rks, size_t count,
                         uint64_t name, uint64_t at);
    /* as encode_f64 and decode_f64; too large is |x| 2^f >= 2^126 */
    void (*encode_f64_u128)(uint64_t *out, uint64_t *errors, const double *x, size_t n, int f);
    void (*decode_f64_u128)(double *out, const uint64_t *x, size_t n, int f);
} mpc_kernels;

/* Tiers this machine can run, best first, NULL at the end: "avx512", "avx2", "ref". */
const char *const *mpc_tiers(void);
/* The kernels of a tier, NULL if this machine cannot run it. */
const mpc_kernels *mpc_tier(const char *name);
