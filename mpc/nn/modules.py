"""Layers as objects that hold their parameters, with PyTorch's names for them.

    model = Sequential(Linear(4, 8), relu, Linear(8, 1))
    model.load(numpy.load("weights.npz"))                        # public weights
    model.load({k: s.input(v, owner=1) for k, v in state.items()})  # weights of party 1
    y = model(x)

A parameter is an attribute, a NumPy array or a secret; a layer within a layer is an attribute too. A layer of your own derives
from `Module`, sets attributes in `__init__` and defines `forward`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from .. import random
from ..errors import ShapeMismatch, UsageError
from ..ir.trace import user_line
from ..lang import core, views
from ..lang.array import Array
from ..lang.elementwise import gelu, relu, sigmoid, silu, softplus, tanh
from ..lang.session import Session
from . import convolution, layers, normalisation, pooling, recurrent
from .attention import multi_head_attention
from .convolution import Sides, sides


class Blank(NamedTuple):
    """A parameter without a value: its shape."""

    shape: tuple[int, ...]


Parameter = Blank | np.ndarray | Array


class Module(ABC):
    """A layer: a function of arrays, and its parameters."""

    buffers: ClassVar[tuple[str, ...]] = ()  # parameters that are not trained
    training = False

    @abstractmethod
    def forward(self, *inputs: Any) -> Any:
        """The layer's result."""

    def __call__(self, *inputs: Any) -> Any:
        for name, value in vars(self).items():
            if isinstance(value, Blank):
                what = f"{name} of {type(self).__name__}"
                raise UsageError(f"{what} has no value at {user_line()}: call load(...) or initialise(...)")
        return self.forward(*inputs)

    def children(self) -> dict[str, Module]:
        """The layers within."""
        return {k: v for k, v in vars(self).items() if isinstance(v, Module)}

    def modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(what the names of its parameters begin with, layer) of this layer and all within."""
        yield prefix, self
        for name, child in self.children().items():
            yield from child.modules(f"{prefix}{name}.")

    def _own(self) -> dict[str, Parameter]:
        return {k: v for k, v in vars(self).items() if isinstance(v, (Blank, np.ndarray, Array))}

    def state(self) -> dict[str, Parameter]:
        """All parameters by name, as "0.weight"."""
        return {prefix + k: v for prefix, m in self.modules() for k, v in m._own().items()}

    def parameters(self) -> dict[str, Parameter]:
        """The parameters that are trained."""
        return {prefix + k: v for prefix, m in self.modules() for k, v in m._own().items() if k not in m.buffers}

    def load(self, state: Mapping[str, Any]) -> Self:
        """This layer with these values of its parameters, NumPy arrays (or what becomes one) or secrets; others stay.

        Raises UsageError for names that are none of its parameters, ShapeMismatch for other shapes. PyTorch's counters of
        batches are passed over.
        """
        state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        names = self.state()
        for name in state:
            if name not in names:
                raise UsageError(f"no parameter {name!r} at {user_line()}: there are {', '.join(names) or 'none'}")
        for prefix, module in self.modules():
            for name, old in module._own().items():
                if prefix + name not in state:
                    continue
                value = state[prefix + name]
                value = value if isinstance(value, Array) else np.asarray(value)
                if value.shape != old.shape:
                    raise ShapeMismatch(f"{prefix}{name} has shape {old.shape}, not {value.shape} (at {user_line()})")
                setattr(module, name, value)
        return self

    def initialise(self, session: Session) -> Self:
        """This layer with secret values for training: what has none is drawn uniformly from +-1/sqrt(inputs of a unit), by all
        parties together; nobody knows it."""
        for _, module in self.modules():
            own = {k: v for k, v in module._own().items() if k not in module.buffers}
            fan = next((prod(v.shape[1:]) for v in own.values() if len(v.shape) > 1), 1)
            for name, value in own.items():
                if isinstance(value, Blank):
                    setattr(module, name, random.uniform(session, value.shape, -(fan**-0.5), fan**-0.5))
                elif isinstance(value, np.ndarray):
                    setattr(module, name, session.input(value))
        return self

    def train(self, training: bool = True) -> Self:
        """This layer, in training or not: dropout and batch normalisation differ."""
        for _, module in self.modules():
            module.training = training
        return self


class Sequential(Module):
    """One layer after the other; functions of one array are layers as well."""

    def __init__(self, *steps: Module | Callable[[Any], Any]) -> None:
        self.steps = steps

    def children(self) -> dict[str, Module]:
        return {str(i): step for i, step in enumerate(self.steps) if isinstance(step, Module)}

    def forward(self, x: Any) -> Any:
        for step in self.steps:
            x = step(x)
        return x


class Apply(Module):
    """A function without parameters as a layer, with its further arguments."""

    function: Callable[..., Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs

    def forward(self, x: Any) -> Any:
        return self.function(x, *self.args, **self.kwargs)


def _applied(name: str, function: Callable[..., Any]) -> type[Apply]:
    return type(name, (Apply,), {"function": staticmethod(function), "__doc__": function.__doc__, "__module__": __name__})


ReLU, ReLU6, LeakyReLU = _applied("ReLU", relu), _applied("ReLU6", layers.relu6), _applied("LeakyReLU", layers.leaky_relu)
GELU, SiLU, Sigmoid = _applied("GELU", gelu), _applied("SiLU", silu), _applied("Sigmoid", sigmoid)
Tanh, Softplus = _applied("Tanh", tanh), _applied("Softplus", softplus)
MaxPool1d, MaxPool2d = _applied("MaxPool1d", pooling.max_pool1d), _applied("MaxPool2d", pooling.max_pool2d)
AvgPool1d, AvgPool2d = _applied("AvgPool1d", pooling.avg_pool1d), _applied("AvgPool2d", pooling.avg_pool2d)
AdaptiveAvgPool1d = _applied("AdaptiveAvgPool1d", pooling.adaptive_avg_pool1d)
AdaptiveAvgPool2d = _applied("AdaptiveAvgPool2d", pooling.adaptive_avg_pool2d)
AdaptiveMaxPool1d = _applied("AdaptiveMaxPool1d", pooling.adaptive_max_pool1d)
AdaptiveMaxPool2d = _applied("AdaptiveMaxPool2d", pooling.adaptive_max_pool2d)


class Flatten(Module):
    """(n, ...) -> (n, all the rest)."""

    def forward(self, x: Array) -> Array:
        return views.reshape(x, (x.shape[0], prod(x.shape[1:])))


class Dropout(Module):
    """`dropout` in training, else nothing."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def forward(self, x: Array) -> Array:
        return layers.dropout(x, self.p, self.training)


class Linear(Module):
    """x weight^T + bias: (..., inputs) -> (..., outputs); weight (outputs, inputs)."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        self.weight: Any = Blank((outputs, inputs))
        self.bias: Any = Blank((outputs,)) if bias else None

    def forward(self, x: Array) -> Array:
        return layers.linear(x, self.weight.T, self.bias)


class _Conv(Module):
    """weight (outputs, inputs / groups, *kernel), transposed (inputs, outputs / groups, *kernel). geometry: the function's."""

    function: Callable[..., Array]
    rank: int
    transposed = False

    def __init__(
        self, inputs: int, outputs: int, kernel: Sides, *, groups: int = 1, bias: bool = True, **geometry: Sides
    ) -> None:
        first, second = (inputs, outputs) if self.transposed else (outputs, inputs)
        self.weight: Any = Blank((first, second // groups, *sides(kernel, self.rank)))
        self.bias: Any = Blank((outputs,)) if bias else None
        self.groups, self.geometry = groups, geometry

    def forward(self, x: Array) -> Array:
        return self.function(x, self.weight, self.bias, groups=self.groups, **self.geometry)


def _convolving(name: str, function: Callable[..., Array], rank: int) -> type[_Conv]:
    parts = {"function": staticmethod(function), "rank": rank, "transposed": "transpose" in function.__name__}
    return type(name, (_Conv,), {**parts, "__doc__": function.__doc__, "__module__": __name__})


Conv1d = _convolving("Conv1d", convolution.conv1d, 1)
Conv2d = _convolving("Conv2d", convolution.conv2d, 2)
Conv3d = _convolving("Conv3d", convolution.conv3d, 3)
ConvTranspose1d = _convolving("ConvTranspose1d", convolution.conv_transpose1d, 1)
ConvTranspose2d = _convolving("ConvTranspose2d", convolution.conv_transpose2d, 2)
ConvTranspose3d = _convolving("ConvTranspose3d", convolution.conv_transpose3d, 3)


class LayerNorm(Module):
    """`layer_norm` over the last axis, of this size."""

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        self.weight: Any = np.ones(size)
        self.bias: Any = np.zeros(size)
        self.eps = eps

    def forward(self, x: Array) -> Array:
        return normalisation.layer_norm(x, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """`rms_norm` over the last axis, of this size."""

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        self.weight: Any = np.ones(size)
        self.eps = eps

    def forward(self, x: Array) -> Array:
        return normalisation.rms_norm(x, self.weight, self.eps)


class GroupNorm(Module):
    """`group_norm` of (n, channels, ...)."""

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        self.weight: Any = np.ones(channels)
        self.bias: Any = np.zeros(channels)
        self.groups, self.eps = groups, eps

    def forward(self, x: Array) -> Array:
        return normalisation.group_norm(x, self.groups, self.weight, self.bias, self.eps)


class InstanceNorm(GroupNorm):
    """`instance_norm` of (n, channels, ...)."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, channels, eps)


class BatchNorm(Module):
    """`batch_norm` of (n, channels, ...) by running statistics; in training by those of the batch, which move the running ones.

    In a traced function the moved statistics are arrays of that trace: return them with the result (`state()`).
    """

    buffers = ("running_mean", "running_var")

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.weight: Any = np.ones(channels)
        self.bias: Any = np.zeros(channels)
        self.running_mean: Any = np.zeros(channels)
        self.running_var: Any = np.ones(channels)
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Array) -> Array:
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = normalisation.batch_statistics(x)
            self.running_mean = self._moved(self.running_mean, mean)
            self.running_var = self._moved(self.running_var, normalisation.unbiased(var, x))
        return normalisation.batch_norm(x, mean, var, self.weight, self.bias, self.eps)

    def _moved(self, old: Any, new: Array) -> Array:
        return core.add(old, core.multiply(core.subtract(new, old), self.momentum))


class Embedding(Module):
    """`embedding`: rows of weight (count, size) at public or secret indices."""

    def __init__(self, count: int, size: int) -> None:
        self.weight: Any = Blank((count, size))

    def forward(self, index: Any) -> Any:
        return layers.embedding(index, self.weight)


class MultiheadAttention(Module):
    """`multi_head_attention` of (n, t, size). Called with query, key and value, or with one array for the three."""

    def __init__(self, size: int, heads: int, bias: bool = True, causal: bool = False) -> None:
        self.in_proj_weight: Any = Blank((3 * size, size))
        self.in_proj_bias: Any = Blank((3 * size,)) if bias else None
        self.out_proj = Linear(size, size, bias)
        self.heads, self.causal = heads, causal

    def forward(self, query: Array, key: Array | None = None, value: Array | None = None, mask: Any = None) -> Array:
        key = query if key is None else key
        value = key if value is None else value
        weights = self.in_proj_weight, self.in_proj_bias, self.out_proj.weight, self.out_proj.bias
        return multi_head_attention(query, key, value, self.heads, *weights, self.causal, mask)


class _Recurrent(Module):
    """Layers one on the other, of (n, t, inputs); weight_ih_l0 (gates h, inputs) and so on. Called with a sequence, returns
    (outputs (n, t, h), the last state of the top layer)."""

    function: Callable[..., Any]
    gates: int

    def __init__(self, inputs: int, size: int, layers: int = 1, bias: bool = True) -> None:
        self.layers, self.bias = layers, bias
        for i in range(layers):
            setattr(self, f"weight_ih_l{i}", Blank((self.gates * size, size if i else inputs)))
            setattr(self, f"weight_hh_l{i}", Blank((self.gates * size, size)))
            for name in ("bias_ih", "bias_hh") if bias else ():
                setattr(self, f"{name}_l{i}", Blank((self.gates * size,)))

    def forward(self, x: Array) -> Any:
        names = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if self.bias else ()))
        state: Any = None
        for i in range(self.layers):
            x, state = self.function(x, *(getattr(self, f"{name}_l{i}") for name in names))
        return x, state


class LSTM(_Recurrent):
    """`lstm`, in layers."""

    function, gates = staticmethod(recurrent.lstm), 4


class GRU(_Recurrent):
    """`gru`, in layers."""

    function, gates = staticmethod(recurrent.gru), 3
