"""Layers and activations, written in the language."""

from ..lang.elementwise import gelu, relu, sigmoid, silu, softplus, tanh
from ..lang.wide import log_softmax, softmax
from .layers import (
    avg_pool2d,
    batch_norm,
    conv2d,
    cosine_similarity,
    global_avg_pool2d,
    layer_norm,
    leaky_relu,
    linear,
    max_pool2d,
    relu6,
)
from .losses import bce, bce_with_logits, cross_entropy, hinge, huber, l1, mse, poisson, quantile
