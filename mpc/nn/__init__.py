"""Layers and activations, written in the language."""

from ..lang.elementwise import gelu, relu, sigmoid, silu, softmax, softplus, tanh

__all__ = ["gelu", "relu", "sigmoid", "silu", "softmax", "softplus", "tanh"]
