/* The kernels of every tier this machine can run, filled once when the module is loaded and read-only from then on. */
#include "tier.h"

#ifdef MPC_X86
#include <cpuid.h>

/* gcc 12 has no __builtin_cpu_supports("vaes"). Register state needs no check of its own: the tiers ask for AVX2 or
 * AVX-512 first, and those answers include the operating system. */
static bool has_vaes(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c >> 9 & 1);
}
#endif

enum { TIERS = 3 };
static mpc_kernels tables[TIERS];              /* best first */
static const char *names[TIERS + 1];           /* of the tables filled; NULL at the end */

__attribute__((constructor)) static void fill(void)
{
    mpc_kernels *k = tables;
#ifdef MPC_X86
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("aes");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        mpc_fill_avx512(k++, has_vaes());
    if (avx2) mpc_fill_avx2(k++, has_vaes());
#endif
    mpc_fill_ref(k++);
    for (mpc_kernels *t = tables; t < k; t++) names[t - tables] = t->name;
}

const char *const *mpc_tiers(void) { return names; }

const mpc_kernels *mpc_tier(const char *name)
{
    for (size_t i = 0; names[i]; i++)
        if (strcmp(names[i], name) == 0) return &tables[i];
    return NULL;
}
