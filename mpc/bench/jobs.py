"""The jobs that are measured: a computation on secrets, the same in NumPy, and its inputs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..lang import elementwise, wide
from ..lang.core import where
from ..lang.gradients import grad
from ..lang.manipulation import concatenate
from ..lang.sorting import sort
from ..nn.convolution import conv2d
from ..nn.losses import cross_entropy
from ..nn.normalisation import layer_norm
from . import models

Plain = np.ndarray


class Draw:
    """Numbers for benchmarks, the same on every machine: SHAKE-128 of a name, read as uniform or normal numbers."""

    def __init__(self, name: str) -> None:
        self.name, self.count = name, 0

    def uniform(self, low: float, high: float, *shape: int) -> Plain:
        """Numbers of [low, high)."""
        self.count += 1
        size = math.prod(shape)
        words = hashlib.shake_128(f"{self.name} {self.count}".encode()).digest(4 * size)
        unit: Plain = (np.frombuffer(words, "<u4") / 2**32).reshape(shape)
        return low + (high - low) * unit

    def normal(self, *shape: int) -> Plain:
        """Numbers of mean 0 and deviation 1 (Box and Muller, 1958)."""
        radius: Plain = np.sqrt(-2 * np.log(1 - self.uniform(0, 1, *shape)))
        return radius * np.cos(2 * np.pi * self.uniform(0, 1, *shape))


class Job(NamedTuple):
    """A computation on secrets and the same in the clear. `data` gives its inputs, owned by parties 0 and 1 in turn."""

    private: Callable[..., Any]
    plain: Callable[..., Plain]
    data: Callable[[Draw], list[Plain]]
    size: str  # of the work, in words

    def inputs(self, name: str) -> list[Plain]:
        """The inputs as fixed64(16) holds them, so that only the computation errs; integers and bits as they are."""
        return [np.rint(x * 2**16) / 2**16 if x.dtype.kind == "f" else x for x in self.data(Draw(name))]


def _chain(x: Any, y: Any) -> Any:
    for _ in range(200):
        x = x * y
    return x


def _network(forward: Callable[..., Any], data: Callable[[Callable[..., Plain]], list[Plain]], size: str) -> Job:
    """A network of `models`, on its two kits of layers."""
    return Job(partial(forward, nn), partial(forward, models.Clear), lambda d: data(d.normal), size)


def _step(x: Any, labels: Any, *weights: Any) -> Any:
    """`models.perceptron_step`, its gradient by `mpc.grad`."""
    slopes = grad(lambda w: cross_entropy(models.perceptron(nn, x, *w), labels))(list(weights))
    return concatenate([(w - g * models.STEP).reshape(-1) for w, g in zip(weights, slopes, strict=True)])


def _integers(d: Draw, n: int) -> Plain:
    return d.uniform(-1e6, 1e6, n).astype(np.int64)


def _bits(d: Draw, n: int) -> Plain:
    return d.uniform(0, 1, n) < 0.5


def _square(n: int) -> Job:
    return Job(lambda x, y: x @ y, np.matmul, lambda d: [d.normal(n, n), d.normal(n, n)], f"{n} x {n} x {n}")


def _of_one(private: Callable[..., Any], plain: Callable[..., Plain], low: float = 0, high: float = 0) -> Callable[[int], Job]:
    """A function of n numbers: normal ones, or uniform ones of [low, high)."""
    return lambda n: Job(
        private, plain, lambda d: [d.uniform(low, high, n) if high > low else d.normal(n)], f"{n:.0e}".replace("e+0", "e")
    )


def _of_two(private: Callable[..., Any], plain: Callable[..., Plain]) -> Callable[[int], Job]:
    return lambda n: Job(private, plain, lambda d: [d.normal(n), d.normal(n)], f"{n:.0e}".replace("e+0", "e"))


# ---- the tables ----
GROWING: dict[str, Callable[[int], Job]] = {  # jobs of n elements, for `--suite scaling`
    "mul": _of_two(lambda x, y: x * y, np.multiply),
    "sum": _of_one(lambda x: x.sum(), np.sum),
    "relu": _of_one(elementwise.relu, models.Clear.relu),
    "lt": _of_one(lambda x: x < 0, lambda v: v < 0),
    "sigmoid": _of_one(elementwise.sigmoid, models.Clear.sigmoid),
    "tanh": _of_one(elementwise.tanh, np.tanh),
    "gelu": _of_one(elementwise.gelu, models.Clear.gelu),
    "exp": _of_one(elementwise.exp, np.exp, -8, 2),
    "reciprocal": _of_one(wide.reciprocal, np.reciprocal, 0.5, 100),
}
N = 10**6
PRIMITIVES: dict[str, Job] = {  # what protocols are made of
    "reveal1e6": Job(lambda x: x, lambda v: v, lambda d: [d.normal(N)], "1e6"),
    "mulint1e6": Job(lambda x, y: x * y, np.multiply, lambda d: [_integers(d, N), _integers(d, N)], "1e6 int64"),
    "trunc1e6": Job(lambda x: x * 1.37, lambda v: v * 1.37, lambda d: [d.normal(N)], "1e6, a public factor"),
    "and1e6": Job(lambda x, y: x & y, np.logical_and, lambda d: [_bits(d, N), _bits(d, N)], "1e6 bits"),
    "b2a1e6": Job(lambda b: b.astype(np.int64), lambda b: b, lambda d: [_bits(d, N)], "1e6 bits to int64"),
    "where1e6": Job(where, np.where, lambda d: [_bits(d, N), d.normal(N), d.normal(N)], "1e6"),
    "eq1e6": Job(lambda x, y: x == y, np.equal, lambda d: [_integers(d, N) % 2, _integers(d, N) % 2], "1e6 int64"),
    "dot1e6": Job(lambda x, y: x @ y, np.dot, lambda d: [d.uniform(-1, 1, N), d.uniform(-1, 1, N)], "1e6"),
}
OPERATIONS: dict[str, Job] = {
    "matmul256": _square(256),
    "matmul1024": _square(1024),
    "mul1e6": GROWING["mul"](10**6),
    "relu1e6": GROWING["relu"](10**6),
    "lt1e6": GROWING["lt"](10**6),
    "sigmoid1e5": GROWING["sigmoid"](10**5),
    "tanh1e5": GROWING["tanh"](10**5),
    "gelu1e5": GROWING["gelu"](10**5),
    "exp1e5": GROWING["exp"](10**5),
    "reciprocal1e5": GROWING["reciprocal"](10**5),
    "sqrt1e5": _of_one(wide.sqrt, np.sqrt, 0, 1000)(10**5),
    "log1e5": _of_one(wide.log, np.log, 0.1, 1000)(10**5),
    "sin1e5": _of_one(np.sin, np.sin, -10, 10)(10**5),
    "softmax1000x10": Job(wide.softmax, models.Clear.softmax, lambda d: [d.normal(1000, 10)], "1000 x 10"),
    "chain200": Job(_chain, lambda x, y: x * y**200, lambda d: [d.normal(1), np.array([0.999])], "200 dependent"),
    "max1000x16": Job(lambda x: elementwise.max(x, axis=1), lambda v: v.max(1), lambda d: [d.normal(1000, 16)], "1000 x 16"),
    "argmax1000x16": Job(
        lambda x: elementwise.argmax(x, 1), lambda v: v.argmax(1), lambda d: [d.normal(1000, 16)], "1000 x 16"
    ),
    "conv2d_64_56": Job(
        lambda x, w: conv2d(x, w, padding=1),
        lambda x, w: models.Clear.conv2d(x, w, padding=1),
        lambda d: [d.normal(1, 64, 56, 56), d.normal(64, 64, 3, 3)],
        "1 x 64 x 56 x 56, 64 x 64 x 3 x 3",
    ),
    "layer_norm128x768": Job(
        layer_norm,
        lambda v: models.Clear.layer_norm(v, np.ones(768), np.zeros(768)),
        lambda d: [d.normal(128, 768)],
        "128 x 768",
    ),
    "sort1e4": Job(sort, np.sort, lambda d: [d.normal(10**4)], "1e4"),
}
MODELS: dict[str, Job] = {
    "lenet32": _network(models.lenet, models.lenet_data, "batch 32, 28 x 28"),
    "logreg1000x100": Job(
        partial(models.logreg, nn),
        partial(models.logreg, models.Clear),
        lambda d: [d.normal(1000, 100), (d.uniform(0, 1, 1000) < 0.5).astype(float), np.zeros(100)],
        "1000 x 100, 10 epochs",
    ),
    "bert_layer128": _network(models.BERT_BASE.run, models.BERT_BASE.data, "128 x 768, 12 heads"),
    "resnet18": _network(models.RESNET18.run, models.RESNET18.data, "batch 1, 224 x 224"),
    "mlp_step128": Job(_step, models.perceptron_step, lambda d: models.perceptron_data(d.normal), "784-128-10, batch 128"),
}
HEAVY: dict[str, Job] = {  # some GB of memory for each process
    "resnet50": _network(models.RESNET50.run, models.RESNET50.data, "batch 1, 224 x 224"),
    "vgg16": _network(models.vgg, models.vgg_data, "batch 1, 224 x 224"),
    "bert128": _network(models.bert, models.bert_data, "128 x 768, 12 layers"),
}
SUITES = {"primitives": PRIMITIVES, "operations": OPERATIONS, "models": MODELS, "heavy": HEAVY}
JOBS = {name: job for suite in SUITES.values() for name, job in suite.items()}
