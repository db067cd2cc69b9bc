/* What the instructions allow: loops that only multiply, or only encrypt, on registers. bench/test_kernels.py compiles them
 * and times them beside the kernels. A round is eight independent instructions of each kind. */
#include <stdint.h>

#define EIGHT(op, r) \
    op " %%" r "12, %%" r "13, %%" r "0\n\t" op " %%" r "12, %%" r "13, %%" r "1\n\t" op " %%" r "12, %%" r "13, %%" r "2\n\t" \
    op " %%" r "12, %%" r "13, %%" r "3\n\t" op " %%" r "12, %%" r "13, %%" r "4\n\t" op " %%" r "12, %%" r "13, %%" r "5\n\t" \
    op " %%" r "12, %%" r "13, %%" r "6\n\t" op " %%" r "12, %%" r "13, %%" r "7\n\t"
#define ONTO(op, r, i) op " %%" r "12, %%" r #i ", %%" r #i "\n\t"
#define CHAINS(op, r) \
    ONTO(op, r, 0) ONTO(op, r, 1) ONTO(op, r, 2) ONTO(op, r, 3) ONTO(op, r, 4) ONTO(op, r, 5) ONTO(op, r, 6) ONTO(op, r, 7)
#define LIMIT(name, text) \
    void name(uint64_t rounds) \
    { \
        while (rounds--) \
            __asm__ volatile(text ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7"); \
    }

/* The multiplications of eight registers of products in each ring: vpmuludq and vpmulld; vpmulld; six, two and a vpmaddwd. */
#define PAIR(r) \
    EIGHT("vpmuludq", r) EIGHT("vpmuludq", r) EIGHT("vpmuludq", r) EIGHT("vpmuludq", r) EIGHT("vpmuludq", r) EIGHT("vpmuludq", r) \
    EIGHT("vpmulld", r) EIGHT("vpmulld", r) EIGHT("vpmaddwd", r)
LIMIT(u64_avx2, EIGHT("vpmuludq", "ymm") EIGHT("vpmulld", "ymm"))
LIMIT(u32_avx2, EIGHT("vpmulld", "ymm"))
LIMIT(u128_avx2, PAIR("ymm"))
LIMIT(u64_avx512, EIGHT("vpmullq", "zmm"))
LIMIT(u32_avx512, EIGHT("vpmulld", "zmm"))
LIMIT(u128_avx512, PAIR("zmm"))
/* one round of AES on every block of eight registers */
LIMIT(aes_xmm, CHAINS("vaesenc", "xmm"))
LIMIT(aes_ymm, CHAINS("vaesenc", "ymm"))
LIMIT(aes_zmm, CHAINS("vaesenc", "zmm"))
