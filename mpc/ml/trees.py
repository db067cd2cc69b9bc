"""Decision trees that nobody sees into: every node of every tree is compared, so a path tells nothing.

A tree is padded to a complete one of its declared depth. Which feature a node reads is a secret row of zeros and a one; one
product reads all nodes' features at once, exactly, one comparison gate decides all of them, and the leaf is found by ANDs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import UsageError
from ..ir.trace import user_line
from ..ir.types import INT64, fixed64
from ..lang import core, manipulation
from ..lang.array import Array
from ..lang.core import add, astype, bitwise_and, bitwise_xor, greater, matmul
from ..lang.views import getitem, reshape
from ..linalg.scaling import at_bits
from .estimator import rows_of
from .model import Model, flat

DEEPEST = 12


@dataclass(eq=False)
class Trees(Model):
    """The sum of `trees` complete binary trees of `depth`: a tree, a random forest (leaves divided by their number), boosting.

    Numbers: which feature (features, nodes) as zeros and ones, thresholds (nodes), leaves (trees 2^depth, outputs), the
    constant that is added (outputs); nodes of a tree by level, from the left. A sample goes left where x <= threshold, both
    rounded to 2^-f: scale features whose differences are small, or use fixed64(24). A prediction compares trees (2^depth - 1)
    times; about 4 + 2 depth rounds. |x| < 2^(62 - 2f).
    """

    features: int
    trees: int
    depth: int
    outputs: int = 1
    link: str = "number"
    numbers: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_depth(self.depth)

    @property
    def nodes(self) -> int:
        return self.trees * ((1 << self.depth) - 1)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [(self.features, self.nodes), (self.nodes,), (self.trees * 2**self.depth, self.outputs), (self.outputs,)]

    def decision_function(self, x: Any) -> Any:
        x = rows_of(x, self.features)
        feature, threshold, leaves, constant = self._parts()
        right = reshape(self._goes_right(x, feature, threshold), (x.shape[0], self.trees, 2**self.depth - 1))
        reached: Any = None  # (samples, trees, nodes of a level)
        for level in range(self.depth):
            bit = getitem(right, (..., slice(2**level - 1, 2 ** (level + 1) - 1)))
            here = bit if reached is None else bitwise_and(reached, bit)
            other = core.invert(bit) if reached is None else bitwise_xor(reached, here)
            reached = reshape(manipulation.stack([other, here], -1), (x.shape[0], self.trees, 2 ** (level + 1)))
        return add(matmul(astype(reshape(reached, (x.shape[0], -1)), INT64), leaves), constant)

    def _goes_right(self, x: Any, feature: Any, threshold: Any) -> Array:
        """x[:, feature] > threshold for all nodes; the product with zeros and ones keeps all its bits, so it is exact."""
        if not isinstance(feature, Array):
            return greater(matmul(x, np.rint(feature).astype(np.int64)), threshold)
        if not isinstance(x, Array):  # public samples: as a secret, and a zero of the model's
            x = add(core.multiply(getitem(feature, (slice(None), slice(0, 1))).T, 0), x)
        bits = x.dtype.fraction + feature.dtype.fraction
        return greater(at_bits("matmul", x, feature, bits), astype(threshold, fixed64(bits)))


def _check_depth(depth: int) -> None:
    if not 1 <= depth <= DEEPEST:
        raise UsageError(
            f"trees of depth {depth} at {user_line()}: 1 to {DEEPEST}, since all 2^depth leaves are computed. "
            "Train with max_depth set."
        )


@dataclass
class Tree:
    """One tree in the clear, as scikit-learn stores it: children, features, thresholds by node; leaves (nodes, outputs)."""

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    value: np.ndarray

    def depth(self, node: int = 0) -> int:
        """The longest path from a node."""
        return 0 if self.left[node] < 0 else 1 + max(self.depth(self.left[node]), self.depth(self.right[node]))


def complete(trees: list[Tree], features: int, depth: int | None, constant: np.ndarray, link: str) -> Trees:
    """The trees padded to one depth (by default the largest), with their numbers. Raises UsageError if one is deeper."""
    largest = max(1, *(t.depth() for t in trees))
    if depth is not None and depth < largest:
        raise UsageError(f"depth={depth} at {user_line()}: a tree has depth {largest}; declare at least that")
    depth = depth or largest
    _check_depth(depth)
    chosen, thresholds, leaves = zip(*(_padded(t, depth) for t in trees), strict=True)
    one = np.zeros((features, len(trees) * (2**depth - 1)))
    places = np.concatenate(chosen)
    used = np.flatnonzero(places >= 0)
    one[places[used], used] = 1
    values = np.concatenate(leaves)
    model = Trees(features, len(trees), depth, values.shape[1], link)
    return model.bind(flat([one, np.concatenate(thresholds), values, constant]))


def _padded(tree: Tree, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(feature of every node or -1, thresholds, values of the leaves) of the complete tree. Below a leaf both sides are it."""
    level, features, thresholds = [0], [], []
    for _ in range(depth):
        below = []
        for node in level:
            leaf = tree.left[node] < 0
            features.append(-1 if leaf else int(tree.feature[node]))
            thresholds.append(0.0 if leaf else float(tree.threshold[node]))
            below += [node, node] if leaf else [int(tree.left[node]), int(tree.right[node])]
        level = below
    return np.array(features), np.array(thresholds), tree.value[level]
