"""Every kernel on each tier beside its limit, measured in the same process: time, rate and their ratio, one thread.

What limits a kernel is the slowest of: the multiplications of its products on registers alone, the AES rounds of its random
words on registers alone, and its bytes moved at the rate of memcpy (limits.c). Elements are uniform and every page is written
before the clock starts; pytest-benchmark warms up, and medians count. The clock is the thread's own processor time, so that
other programs only disturb through caches and memory. A table at the end collects the ratios (conftest.py).
"""

import os
import subprocess
import sys
import time
from functools import partial
from itertools import count, takewhile

import numpy as np
import pytest
from mpc._native import ffi, lib

from mpc.ring.ring import DEEP, NARROW, WIDE, Comparison, compare_counts

TIERS = [ffi.string(t).decode() for t in takewhile(bool, map(lib.mpc_tiers().__getitem__, count()))]
SIZES = {"cached": 1 << 14, "memory": 1 << 22}
SHAPES = [
    (64, 64, 64),
    (256, 256, 256),
    (1024, 1024, 1024),
    (512, 4096, 64),
    (1, 4096, 1024),
    (1024, 4096, 1),
    (1024, 1024, 10),
]
RINGS = {"u64": (np.uint64, 1), "u32": (np.uint32, 1), "u128": (np.uint64, 2)}
# images, filters, stride, padding, groups
CONVOLUTIONS = [
    ((1, 64, 56, 56), (64, 3, 3), 1, 1, 1),
    ((1, 3, 224, 224), (64, 7, 7), 2, 3, 1),
    ((1, 256, 14, 14), (256, 3, 3), 1, 1, 1),
    ((1, 256, 56, 56), (64, 1, 1), 1, 0, 1),
    ((1, 128, 56, 56), (128, 3, 3), 1, 1, 128),
]
BUDGET = 0.5  # seconds of a kernel, unless two runs take longer
NULL = ffi.NULL
pytestmark = pytest.mark.benchmark(timer=time.thread_time)


@pytest.fixture(params=TIERS)
def tier(request):
    return request.param


@pytest.fixture
def kernels(tier):
    return lib.mpc_tier(tier.encode())


def ptr(x, kind=None):
    return ffi.from_buffer(kind or {4: "uint32_t *", 8: "uint64_t *"}[x.itemsize], x)


def uniform(*shape, dtype=np.uint64):
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def aligned(words, dtype=np.uint64):
    raw = np.zeros(words + 16, dtype)
    start = -raw.ctypes.data % 64 // raw.itemsize
    return raw[start : start + words]


def halves(pointer):
    return ffi.cast("uint32_t *", pointer)


def key(kernels):
    rk = np.empty(176, np.uint8)
    kernels.aes_key(ptr(rk, "uint8_t *"), bytes(range(16)))
    return ptr(rk, "uint8_t *")


def measure(benchmark, work, call):
    iterations, start = max(1, int(2e6 / work)), time.thread_time()
    for _ in range(iterations):  # warms up
        call()
    once = time.thread_time() - start
    benchmark.pedantic(call, rounds=int(np.clip(BUDGET / max(once, 1e-9), 2, 7)), iterations=iterations)
    return benchmark.stats["median"]


def report(figures, benchmark, tier, kernel, size, seconds, amount, unit, limit, by):
    """`amount` of work took `seconds`; `limit` is its rate at most."""
    row = (tier, kernel, size, seconds, amount / seconds * 1e-9, unit, limit * 1e-9 if limit else None, by)
    benchmark.extra_info[unit] = round(row[4], 2)
    figures.kernels.append(row)


# name -> (words moved, random words) an element, and the kernel with its arguments from (kernels, seven arrays, packed bits, n,
# round keys), looked up before the clock starts
RING = {
    "prg": (1, 1, lambda k, x, b, n, rk: (k.prg_u64, x[0], n, rk, 1, 5, 0)),
    "prg_add": (2, 1, lambda k, x, b, n, rk: (k.prg_add_u64, x[0], x[1], n, -1, rk, 1, 5, 0)),
    "prg_add_u32": (
        1,
        0.5,
        lambda k, x, b, n, rk: (k.prg_add_u32, *(ffi.cast("uint32_t *", y) for y in x[:2]), n, 1, rk, 1, 5, 0),
    ),
    "prg_xor": (2, 1, lambda k, x, b, n, rk: (k.prg_xor_u64, x[0], x[1], n, rk, 1, 5, 0)),
    "mask": (3, 1, lambda k, x, b, n, rk: (k.mask_u64, x[0], x[1], x[2], n, rk, 5, 0)),
    "mul_pair": (5, 1, lambda k, x, b, n, rk: (k.mul_pair_u64, *x[:5], n, 1 << 62, rk, 5, 0)),
    "mul_beaver": (5, 1, lambda k, x, b, n, rk: (k.mul_beaver_u64, *x[:5], n, 1, 0, NULL, rk, 5, 0)),
    "operand": (3, 0, lambda k, x, b, n, rk: (k.operand_u64, *x[:3], n)),
    "mul_pair_deal": (6, 0, lambda k, x, b, n, rk: (k.mul_pair_deal_u64, *x[:5], n)),
    "trunc": (3, 1.5, lambda k, x, b, n, rk: (k.trunc_u64, *x[:3], n, 16, 1, NULL, NULL, rk, 5, 6, 0)),
    "trunc, dealt": (4.5, 0, lambda k, x, b, n, rk: (k.trunc_u64, *x[:3], n, 16, 0, x[3], x[4], rk, 5, 6, 0)),
    "trunc_deal": (2.5, 1.5, lambda k, x, b, n, rk: (k.trunc_deal_u64, *x[:3], n, 16, rk, 1, 5, 6, 0)),
    "select": (3, 2, lambda k, x, b, n, rk: (k.select_u64, *x[:3], b, n, NULL, NULL, rk, 5, 6, 0)),
    "select_deal": (3, 2, lambda k, x, b, n, rk: (k.select_deal_u64, *x[:3], b, n, rk, 1, 5, 6, 0)),
    "and": (5, 3, lambda k, x, b, n, rk: (k.and_bits, *x[:5], n, 1, NULL, rk, 5, 6, 7, 0)),
    "and, dealt": (6, 2, lambda k, x, b, n, rk: (k.and_bits, *x[:5], n, 1, x[5], rk, 5, 6, 7, 0)),
    "transpose": (2, 0, lambda k, x, b, n, rk: (k.transpose_bits, x[0], x[1], n // 64)),
    "pack": (1.125, 0, lambda k, x, b, n, rk: (k.pack_bits, x[0], ffi.cast("uint8_t *", x[1]), 8 * n)),
    "unpack": (1.125, 0, lambda k, x, b, n, rk: (k.unpack_bits, ffi.cast("uint8_t *", x[0]), x[1], 8 * n)),
    "parity of 16": (1, 0, lambda k, x, b, n, rk: (k.parity_bits, x[0], x[1], n // 16, 16)),
    "encode": (2, 0, lambda k, x, b, n, rk: (k.encode_f64, x[0], x[6], ffi.cast("double *", x[1]), n, 16)),
    "exp": (2, 0, lambda k, x, b, n, rk: (k.exp_u64, x[0], x[1], n, 16, 1, 30)),
    "decode": (2, 0, lambda k, x, b, n, rk: (k.decode_f64, ffi.cast("double *", x[0]), x[1], n, 16)),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", RING)
def test_ring(benchmark, figures, limits, kernels, tier, name, size):
    n, (moved, random, call) = SIZES[size], RING[name]
    x, bits = [ptr(row.copy()) for row in uniform(7, n)], ptr(uniform(n // 64))
    rk = key(kernels)
    seconds = measure(benchmark, n, partial(*call(kernels, x, bits, n, rk)))
    bounds = [(8 * moved * n / limits.memory(int(8 * moved * n)), "memcpy")]
    aes = limits.aes(tier)
    if random and aes:
        bounds.append((8 * random * n / aes, "aes"))
    least, by = max(bounds)
    if random and not aes:
        least, by = 0, None
    report(figures, benchmark, tier, name, size, seconds, n, "Gel/s", n / least if least else None, by)


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def test_gemm(benchmark, figures, limits, kernels, tier, shape, ring):
    """Packed operand at hand, as for a fixed right operand; a single row is multiplied in place, as `gemm` does."""
    (dtype, words), (m, k, p) = RINGS[ring], shape
    a, b, c = (uniform(rows, words * columns, dtype=dtype) for rows, columns in ((m, k), (k, p), (m, p)))
    matrix, row, col, ldc = a, k, 1, p
    if m == 1:
        matrix, b, row, col, ldc, m, p = b, a, 1, p, 1, p, 1
    of = {f: getattr(kernels, f"{f}_{ring}") for f in ("gemm_packed", "gemm_work", "gemm_pack", "gemm")}
    packed, work = ptr(aligned(of["gemm_packed"](k, p), dtype)), ptr(aligned(of["gemm_work"](), dtype))
    of["gemm_pack"](packed, k, p, ptr(b), p, 1)
    args = (ptr(c), ldc, m, p, k, ptr(matrix), row, col, packed, work)
    seconds = measure(benchmark, m * k * p, lambda: of["gemm"](*args))
    products = limits.multiply(ring, tier)
    limit, by = products, "multiply" if products else None
    if p == 1 and products:  # a matter of memory: one word is read for every product; memcpy reads half of what it moves
        read = limits.memory(matrix.nbytes) / (dtype().itemsize * words)
        limit, by = min((products, "multiply"), (read, "memcpy"))
    report(figures, benchmark, tier, f"gemm {ring}", "x".join(map(str, shape)), seconds, m * k * p, "GMAC/s", limit, by)


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_conv2d(benchmark, figures, limits, kernels, tier, case):
    (n, c, h, w), (o, kh, kw), stride, padding, groups = case
    out = [(size + 2 * padding - k) // stride + 1 for size, k in ((h, kh), (w, kw))]
    x, y, z = uniform(n, c, h, w), uniform(o, c // groups, kh, kw), uniform(n, o, *out)
    pairs = [(kh, kw), out, (stride,) * 2, (padding,) * 2, (1, 1)]
    shape, work = ffi.new("mpc_conv2d *", (n, c, h, w, o, *pairs, groups)), ptr(aligned(kernels.conv2d_work_u64()))
    args = (ptr(z), ptr(x), ptr(y), shape, 0, kernels.conv2d_strips_u64(shape), work)
    amount = z.size * y[0].size
    seconds = measure(benchmark, amount, lambda: kernels.conv2d_u64(*args))
    size = f"{c}x{h}x{w} to {o}, {kh}x{kw}" + (f" /{groups}" if groups > 1 else "")
    products = limits.multiply("u64", tier)
    by = "multiply" if products else None
    report(figures, benchmark, tier, "conv2d u64", size, seconds, amount, "GMAC/s", products, by)


@pytest.mark.parametrize("how", ["rows", "columns"])
def test_pack(benchmark, figures, limits, kernels, tier, how):
    k = p = 1024
    b, packed = ptr(uniform(k, p)), ptr(aligned(kernels.gemm_packed_u64(k, p)))
    row, col = (p, 1) if how == "rows" else (1, k)
    seconds = measure(benchmark, k * p, lambda: kernels.gemm_pack_u64(packed, k, p, b, row, col))
    report(figures, benchmark, tier, "gemm pack", how, seconds, k * p, "Gel/s", limits.memory(16 * k * p) / 16, "memcpy")


@pytest.mark.parametrize(("bits", "tree"), [(63, NARROW), (31, NARROW), (16, NARROW), (63, WIDE), (63, DEEP)])
def test_compare(benchmark, figures, limits, kernels, tier, bits, tree):
    """Leaves and levels of one of two evaluators who expands its words; every opened plane is one bit."""
    n, rk, count = 1 << 16, key(kernels), compare_counts(Comparison(bits, False, tree))
    x, peer, levels = ptr(uniform(n)), ptr(uniform(count["open1"] * n // 64)), range(1, count["levels"] + 1)
    blocks = [[ptr(uniform(count[f"{k}{level}"] * n // 64)) for k in ("local", "open")] for level in levels]
    blocks.append([ptr(uniform(n // 64)), NULL])

    def run():
        kernels.compare_leaves(*blocks[0], x, n, bits, 0, 0, tree, 1, NULL, rk, 5, 6, 0)
        for level in levels:
            kernels.compare_level(*blocks[level], *blocks[level - 1], peer, n, level, bits, 0, tree, 1, NULL, rk, 7, 6, 0)

    seconds = measure(benchmark, n, run)
    aes, words = limits.aes(tier), (count["hot"] + 2 * count["mask"] + count["ands"]) / 64
    limit = aes / (8 * words) if aes else None
    what = f"{bits} bits{['', ', wide', ', deep'][tree]}"
    report(figures, benchmark, tier, "compare", what, seconds, n, "Gel/s", limit, "aes" if aes else None)


@pytest.mark.parametrize("k", [4, 6, 8])
def test_lookup(benchmark, figures, kernels, tier, k):
    n, columns = 1 << 14, 3
    words = max(1, (1 << k) // 64)
    args = [ptr(a) for a in (uniform(columns, n), uniform(columns, 1 << k), uniform(n, words), uniform(n))]
    seconds = measure(benchmark, n << k, lambda: kernels.lookup_u64(args[0], args[1], columns, k, args[2], args[3], n, 1, 0))
    size, amount = f"{columns} tables of {1 << k}", columns * n << k
    report(figures, benchmark, tier, "lookup", size, seconds, amount, "Gadd/s", None, None)


ELSEWHERE = """
import sys, time
import numpy as np
from mpc.ring.product import gemm
what, n = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(1)
a, b = (rng.integers(0, 1 << 64, (n, n), np.uint64) for _ in range(2))
c, x, y = np.zeros_like(a), a.astype(float), b.astype(float)
run = {"uint64": lambda: a @ b, "float64": lambda: x @ y, "gemm": lambda: gemm(c, a, b)}[what]
times = []
for _ in range(int(sys.argv[3]) + 1):
    start = time.perf_counter()
    run()
    times.append(time.perf_counter() - start)
print(sorted(times[1:])[len(times) // 2 - 1])
"""


@pytest.mark.parametrize(
    ("what", "n", "threads", "rounds"),
    [("uint64", 256, 1, 5), ("float64", 1024, 1, 9), ("gemm", 1024, 1, 9), ("gemm", 1024, 2, 9)],
)
def test_numpy_and_threads(benchmark, figures, what, n, threads, rounds):
    """NumPy's products on one thread, and ours on one and two, packing included: each in a process of its own."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MPC_THREADS": str(threads)}
    command = [sys.executable, "-c", ELSEWHERE, what, str(n), str(rounds)]
    seconds = float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)
    benchmark.pedantic(lambda: None, rounds=1)
    name = f"gemm, {threads} thread{'s' * (threads > 1)}" if what == "gemm" else f"numpy {what}"
    tier = TIERS[0] if what == "gemm" else "numpy"
    report(figures, benchmark, tier, name, f"{n}x{n}x{n}", seconds, n**3, "GMAC/s", None, None)
