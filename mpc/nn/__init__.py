"""Layers and activations, written in the language."""

from ..lang.elementwise import gelu, log_softmax, relu, sigmoid, silu, softmax, softplus, tanh
from .layers import (
    avg_pool2d,
    conv2d,
    global_avg_pool2d,
    layer_norm,
    leaky_relu,
    linear,
    max_pool2d,
    relu6,
)
