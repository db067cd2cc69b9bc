"""The jobs in CrypTen: two processes and its default provider of triples, as shipped. Runs in an environment of its own.

python crypten_peer.py JOB INPUTS.npz OUTPUT.npz REPEAT PATIENCE
"""

import math
import sys
import time
import types

import models
import numpy as np
import torch

# CrypTen's converter from ONNX, which no job uses, imports a module that PyTorch has dropped; an empty one will do.
sys.modules["torch.onnx.symbolic_registry"] = types.ModuleType("torch.onnx.symbolic_registry")

import crypten  # noqa: E402
import crypten.communicator as comm  # noqa: E402
import crypten.mpc  # noqa: E402


class Secret:
    """A CrypTensor that is spoken to as models.py speaks to arrays."""

    def __init__(self, x):
        self.x, self.shape = x, tuple(x.size())

    @property
    def T(self):
        return Secret(self.x.t())

    def reshape(self, *shape):
        return Secret(self.x.reshape(*shape))

    def transpose(self, *axes):
        return Secret(self.x.permute(*axes))

    def __matmul__(self, y):
        return Secret(self.x.matmul(y.x))

    def __add__(self, y):
        return Secret(self.x + plain(y))

    def __sub__(self, y):
        return Secret(self.x - plain(y))

    def __mul__(self, y):
        return Secret(self.x * plain(y))


def plain(x):
    return x.x if isinstance(x, Secret) else x


class Kit:
    """The layers of models.py: what the modules of crypten.nn call."""

    @staticmethod
    def relu(x):
        return Secret(x.x.relu())

    @staticmethod
    def sigmoid(x):
        return Secret(x.x.sigmoid())

    @staticmethod
    def softmax(x):
        return Secret(x.x.softmax(dim=-1))

    @staticmethod
    def gelu(x):
        """By tanh (Hendrycks and Gimpel, 2016): CrypTen's erf is a Taylor series that diverges from about 3 on."""
        v = x.x
        return Secret(v * ((v + v.square() * v * 0.044715) * math.sqrt(2 / math.pi)).tanh().add(1) * 0.5)

    @staticmethod
    def linear(x, weight, bias):
        return x @ weight + bias

    @staticmethod
    def conv2d(x, weight, bias=None, stride=1, padding=0):
        y = x.x.conv2d(weight.x, stride=stride, padding=padding)
        return Secret(y if bias is None else y + bias.x.reshape(1, -1, 1, 1))

    @staticmethod
    def max_pool2d(x, size=2, stride=None, padding=0):
        return Secret(x.x.max_pool2d(size, padding=padding, stride=stride))

    @staticmethod
    def global_avg_pool2d(x):
        return Secret(x.x.mean(dim=(2, 3)))

    @staticmethod
    def layer_norm(x, weight, bias, eps=1e-3):
        centred = x.x - x.x.mean(dim=-1, keepdim=True)
        scale = (centred.square().mean(dim=-1, keepdim=True) + eps).inv_sqrt()
        return Secret(centred * scale * weight.x + bias.x)


def network(forward):
    return lambda *arrays: forward(Kit, *map(Secret, arrays)).x


def chain(x, y):
    for _ in range(200):
        x = x * y
    return x


JOBS = {
    "matmul": lambda x, y: x.matmul(y),
    "mul": lambda x, y: x * y,
    "relu": lambda x: x.relu(),
    "lt": lambda x: x < 0,
    "sigmoid": lambda x: x.sigmoid(),
    "tanh": lambda x: x.tanh(),
    "exp": lambda x: x.exp(),
    "reciprocal": lambda x: x.reciprocal(),
    "softmax": lambda x: x.softmax(dim=1),
    "chain": chain,
    "max": lambda x: x.max(dim=1, one_hot=False)[0],
    "argmax": lambda x: x.argmax(dim=1, one_hot=False),
    "conv2d": lambda x, w: x.conv2d(w, padding=1),
    "lenet": network(models.lenet),
    "logreg": network(models.logreg),
    "bert_layer": network(models.BERT_BASE.run),
    "resnet18": network(models.RESNET18.run),
}


def main(job, inputs, output, repeat, patience):
    with np.load(inputs) as saved:
        data = [torch.tensor(saved[name]) for name in saved.files]

    @crypten.mpc.run_multiprocess(world_size=2)
    def work():
        torch.set_num_threads(1)
        seconds = []
        while len(seconds) <= int(repeat):
            shares = [crypten.cryptensor(x, src=i % 2) for i, x in enumerate(data)]
            comm.get().barrier()
            start = time.perf_counter()
            result = JOBS[job](*shares).get_plain_text()
            seconds.append(time.perf_counter() - start)
            if comm.get().broadcast_obj(seconds[0], 0) > float(patience):
                break
        if comm.get().get_rank() == 0:
            bits, provider = crypten.cfg.encoder.precision_bits, crypten.cfg.mpc.provider
            dealer = {"TFP": "a trusted first party", "TTP": "a trusted third party"}[provider]
            settings = f"2 processes, triples from {dealer}, ring 2^64, {bits} fraction bits, TCP, no encryption, 1 thread each"
            np.savez(output, result=result.numpy(), seconds=seconds, settings=settings)

    work()


if __name__ == "__main__":
    main(*sys.argv[1:6])
