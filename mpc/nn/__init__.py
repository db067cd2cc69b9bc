"""Layers and activations, written in the language."""

from ..lang.elementwise import gelu, relu, sigmoid, silu, softplus, tanh
from ..lang.wide import log_softmax, softmax
from .attention import attention, multi_head_attention, rotary, sinusoidal_positions
from .convolution import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from .layers import cosine_similarity, dropout, embedding, leaky_relu, linear, relu6
from .losses import bce, bce_with_logits, cross_entropy, hinge, huber, l1, mse, poisson, quantile
from .modules import (
    GELU,
    GRU,
    LSTM,
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    BatchNorm,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Dropout,
    Embedding,
    Flatten,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool1d,
    MaxPool2d,
    Module,
    MultiheadAttention,
    ReLU,
    ReLU6,
    RMSNorm,
    Sequential,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from .normalisation import batch_norm, batch_statistics, group_norm, instance_norm, layer_norm, rms_norm
from .pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    global_avg_pool1d,
    global_avg_pool2d,
    global_max_pool1d,
    global_max_pool2d,
    max_pool1d,
    max_pool2d,
)
from .recurrent import gru, lstm
