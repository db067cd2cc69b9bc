"""Layers and activations, written in the language."""

from ..lang.elementwise import relu, sigmoid, softmax, tanh

__all__ = ["relu", "sigmoid", "softmax", "tanh"]
