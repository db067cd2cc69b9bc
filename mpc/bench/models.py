"""Networks with their real architecture: LeNet, VGG-16, ResNet-18 and -50 (batch norm folded), BERT-base and a layer of it.

Each is written once over a kit of layers. `mpc.nn` is the kit for secrets; `Clear`, here, the same in NumPy. All weights are
arguments, in the order in which the network meets them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

Plain = np.ndarray
Normal = Callable[..., Plain]  # shape -> numbers of mean 0 and deviation 1
_ERF = np.vectorize(math.erf, otypes=[float])


class Clear:
    """The layers of `mpc.nn` that the networks use, in NumPy."""

    @staticmethod
    def relu(x: Plain) -> Any:
        return np.maximum(x, 0)

    @staticmethod
    def sigmoid(x: Plain) -> Any:
        return 1 / (1 + np.exp(-x))

    @staticmethod
    def gelu(x: Plain) -> Any:
        return x / 2 * (1 + _ERF(x / math.sqrt(2)))

    @staticmethod
    def softmax(x: Plain) -> Any:
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    @staticmethod
    def linear(x: Plain, weight: Plain, bias: Plain) -> Any:
        return x @ weight + bias

    @staticmethod
    def conv2d(x: Plain, weight: Plain, bias: Plain | float = 0.0, stride: int = 1, padding: int = 0) -> Any:
        padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (2, 3))[:, :, ::stride, ::stride]
        return np.moveaxis(np.tensordot(windows, weight, ((1, 4, 5), (1, 2, 3))), -1, 1) + np.reshape(bias, (1, -1, 1, 1))

    @staticmethod
    def max_pool2d(x: Plain, size: int = 2, stride: int | None = None, padding: int = 0) -> Any:
        padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (2, 3))
        return windows[:, :, :: stride or size, :: stride or size].max((4, 5))

    @staticmethod
    def global_avg_pool2d(x: Plain) -> Any:
        return x.mean((2, 3))

    @staticmethod
    def layer_norm(x: Plain, weight: Plain, bias: Plain, eps: float = 1e-3) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + eps) * weight + bias


# ---- LeNet-5 with ReLU and maximum, as the peers measure it ----
def lenet_data(normal: Normal, batch: int = 32) -> list[Plain]:
    shapes = [(batch, 1, 28, 28), (6, 1, 5, 5), (16, 6, 5, 5), (400, 120), (120, 84), (84, 10)]
    return [normal(*s) / math.sqrt(math.prod(s[1:] if len(s) == 4 else s[:1]) / 4) for s in shapes]


def lenet(kit: Any, x: Any, c1: Any, c2: Any, f1: Any, f2: Any, f3: Any) -> Any:
    """Images (n, 1, 28, 28) to scores (n, 10)."""
    x = kit.max_pool2d(kit.relu(kit.conv2d(x, c1, padding=2)))
    x = kit.max_pool2d(kit.relu(kit.conv2d(x, c2)))
    x = kit.relu(x.reshape(x.shape[0], -1) @ f1)
    return kit.relu(x @ f2) @ f3


# ---- logistic regression ----
def logreg(kit: Any, x: Any, y: Any, w: Any, epochs: int = 10) -> Any:
    """Weights after full-batch gradient steps at rate 1: x (n, k), y (n,) of 0 and 1, w (k,)."""
    for _ in range(epochs):
        w = w - (x.T @ (kit.sigmoid(x @ w) - y)) * (1 / x.shape[0])
    return w


# ---- one step of training a perceptron ----
STEP = 0.25  # how far the weights follow their gradient


def perceptron_data(normal: Normal, batch: int = 128, sizes: tuple[int, int, int] = (784, 128, 10)) -> list[Plain]:
    """Samples, one-hot labels, and weight and bias of the two layers."""
    inputs, hidden, classes = sizes
    labels = np.eye(classes)[np.arange(batch) % classes]
    layers = [normal(k, n) / math.sqrt(k / 2) for k, n in ((inputs, hidden), (hidden, classes))]
    return [normal(batch, inputs), labels, layers[0], np.zeros(hidden), layers[1], np.zeros(classes)]


def perceptron(kit: Any, x: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    """Scores (n, classes) of samples (n, inputs)."""
    return kit.relu(x @ w1 + b1) @ w2 + b2


def perceptron_step(x: Plain, labels: Plain, w1: Plain, b1: Plain, w2: Plain, b2: Plain) -> Plain:
    """All weights after a step down the gradient of the mean cross entropy, one after the other: the chain rule by hand."""
    hidden = Clear.relu(x @ w1 + b1)
    scores = (Clear.softmax(hidden @ w2 + b2) - labels) / len(x)
    inner = (scores @ w2.T) * (hidden > 0)
    gradients = [x.T @ inner, inner.sum(0), hidden.T @ scores, scores.sum(0)]
    return np.concatenate([(w - STEP * g).ravel() for w, g in zip((w1, b1, w2, b2), gradients, strict=True)])


# ---- an encoder layer of a transformer (Vaswani et al., NeurIPS 2017; Devlin et al., NAACL 2019) ----
class Encoder(NamedTuple):
    """Width of a token, attention heads, width of the feed-forward network."""

    hidden: int
    heads: int
    inner: int

    def data(self, normal: Normal, length: int = 128) -> list[Plain]:
        """Tokens (length, hidden), then weight and bias of query, key, value, output, norm, up, down, norm."""

        def linear(rows: int, columns: int) -> list[Plain]:
            return [normal(rows, columns) / math.sqrt(rows), normal(columns) * 0.1]

        square = [w for _ in range(4) for w in linear(self.hidden, self.hidden)]
        norms = [[1 + 0.1 * normal(self.hidden), 0.1 * normal(self.hidden)] for _ in range(2)]
        up, down = linear(self.hidden, self.inner), linear(self.inner, self.hidden)
        return [normal(length, self.hidden), *square, *norms[0], *up, *down, *norms[1]]

    def run(self, kit: Any, x: Any, *weights: Any) -> Any:
        """Tokens to tokens: attention and a feed-forward network, each with a residual and a norm."""
        query, key, value, output, norm1, up, down, norm2 = (weights[i : i + 2] for i in range(0, 16, 2))
        length, width = x.shape[0], self.hidden // self.heads

        def heads(pair: Any) -> Any:
            return kit.linear(x, *pair).reshape(length, self.heads, width).transpose(1, 0, 2)

        scores = heads(query) @ heads(key).transpose(0, 2, 1) * (1 / math.sqrt(width))
        mixed = (kit.softmax(scores) @ heads(value)).transpose(1, 0, 2).reshape(length, self.hidden)
        x = kit.layer_norm(x + kit.linear(mixed, *output), *norm1)
        return kit.layer_norm(x + kit.linear(kit.gelu(kit.linear(x, *up)), *down), *norm2)


BERT_BASE = Encoder(hidden=768, heads=12, inner=3072)
BERT_LAYERS, LAYER_WEIGHTS = 12, 16


def bert_data(normal: Normal, length: int = 128, layer: Encoder = BERT_BASE, layers: int = BERT_LAYERS) -> list[Plain]:
    """Embedded tokens, the weights of every layer, and weight and bias of pooler and classifier (two classes)."""
    data = layer.data(normal, length)
    for _ in range(layers - 1):
        data += layer.data(normal, 1)[1:]
    k = layer.hidden
    return [*data, *(w / math.sqrt(k) for n in (k, 2) for w in (normal(k, n), normal(n)))]


def bert(kit: Any, x: Any, *weights: Any, layer: Encoder = BERT_BASE) -> Any:
    """Scores (1, 2) of the first of embedded tokens (length, hidden): all layers, tanh of the pooler, and a classifier."""
    for i in range(0, len(weights) - 4, LAYER_WEIGHTS):
        x = layer.run(kit, x, *weights[i : i + LAYER_WEIGHTS])
    pooler, classifier = weights[-4:-2], weights[-2:]
    return kit.linear(np.tanh(kit.linear(x[:1], *pooler)), *classifier)


# ---- VGG-16 (Simonyan and Zisserman, ICLR 2015, configuration D) ----
VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg_data(normal: Normal, side: int = 224, classes: int = 1000, narrower: int = 1, hidden: int = 4096) -> list[Plain]:
    """An image, and weight and bias of the 13 convolutions and three layers; channels divided by `narrower`."""
    data, channels = [normal(1, 3, side, side)], 3
    for out in (n // narrower for stage in VGG16 for n in stage):
        data += [normal(out, channels, 3, 3) * math.sqrt(2 / (9 * channels)), normal(out) * 0.1]
        channels = out
    widths = [channels * (side // 32) ** 2, hidden, hidden, classes]
    for k, n in pairwise(widths):
        data += [normal(k, n) * math.sqrt(2 / k), normal(n) * 0.1]
    return data


def vgg(kit: Any, x: Any, *weights: Any) -> Any:
    """Images (n, 3, side, side) to scores (n, classes)."""
    layers = iter(weights)
    for stage in VGG16:
        for _ in stage:
            x = kit.relu(_conv(kit, x, layers, padding=1))
        x = kit.max_pool2d(x)
    x = x.reshape(x.shape[0], -1)
    for _ in range(2):
        x = kit.relu(kit.linear(x, next(layers), next(layers)))
    return kit.linear(x, *layers)


# ---- ResNet (He et al., CVPR 2016) ----
class ResNet(NamedTuple):
    """Blocks per stage; a bottleneck block is three convolutions (1x1, 3x3, 1x1 to four times as many), else two of 3x3."""

    stages: tuple[int, int, int, int]
    bottleneck: bool

    def data(self, normal: Normal, side: int = 224, classes: int = 1000, width: int = 64) -> list[Plain]:
        """An image, then the weight and bias of every convolution and of the last layer."""

        def conv(out: int, channels: int, size: int, gain: float = 2.0) -> list[Plain]:
            deviation = math.sqrt(gain / (channels * size * size))
            return [normal(out, channels, size, size) * deviation, normal(out) * 0.1]

        data = [normal(1, 3, side, side), *conv(width, 3, 7)]
        channels = width
        for stage, blocks in enumerate(self.stages):
            inner = width << stage
            outer = 4 * inner if self.bottleneck else inner
            for block in range(blocks):
                if self.bottleneck:
                    data += [*conv(inner, channels, 1), *conv(inner, inner, 3), *conv(outer, inner, 1, 0.2)]
                else:
                    data += [*conv(inner, channels, 3), *conv(outer, inner, 3, 0.2)]
                if block == 0 and (stage or outer != channels):
                    data += conv(outer, channels, 1, 1.0)
                channels = outer
        return [*data, normal(channels, classes) / math.sqrt(channels), normal(classes) * 0.1]

    def run(self, kit: Any, x: Any, *weights: Any) -> Any:
        """Images (n, 3, side, side) to scores (n, classes)."""
        layers = iter(weights)
        x = kit.relu(_conv(kit, x, layers, stride=2, padding=3))
        x = kit.max_pool2d(x, 3, 2, padding=1)
        for stage, blocks in enumerate(self.stages):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                if self.bottleneck:
                    y = kit.relu(_conv(kit, x, layers))
                    y = kit.relu(_conv(kit, y, layers, stride=stride, padding=1))
                    y = _conv(kit, y, layers)
                else:
                    y = kit.relu(_conv(kit, x, layers, stride=stride, padding=1))
                    y = _conv(kit, y, layers, padding=1)
                x = x if y.shape == x.shape else _conv(kit, x, layers, stride=stride)
                x = kit.relu(y + x)
        return kit.linear(kit.global_avg_pool2d(x), *layers)


RESNET18 = ResNet((2, 2, 2, 2), bottleneck=False)
RESNET50 = ResNet((3, 4, 6, 3), bottleneck=True)


def _conv(kit: Any, x: Any, layers: Iterator[Any], stride: int = 1, padding: int = 0) -> Any:
    return kit.conv2d(x, next(layers), next(layers), stride=stride, padding=padding)
