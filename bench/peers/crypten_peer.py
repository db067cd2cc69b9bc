"""The jobs in CrypTen: two processes and its default trusted first party, as shipped. Runs in its own venv.

python crypten_peer.py JOB INPUTS.npz OUTPUT.npz REPEAT
"""

import sys
import time
import types

import numpy as np
import torch
from models import logreg

# CrypTen's converter from ONNX, which no job uses, imports a module that PyTorch has dropped; an empty one will do.
sys.modules["torch.onnx.symbolic_registry"] = types.ModuleType("torch.onnx.symbolic_registry")

import crypten  # noqa: E402
import crypten.communicator as comm  # noqa: E402
import crypten.mpc  # noqa: E402


class Kit:
    """The layers of models.py, on CrypTensors."""

    sigmoid = staticmethod(lambda x: x.sigmoid())


class Columns:
    """A CrypTensor with the attributes of an array that models.py uses."""

    def __init__(self, x):
        self.x, self.shape = x, x.size()

    @property
    def T(self):
        return Columns(self.x.t())

    def __matmul__(self, w):
        return self.x.matmul(w)


def chain(x, y):
    for _ in range(200):
        x = x * y
    return x


def lenet(x, c1, c2, f1, f2, f3):
    x = x.conv2d(c1, padding=2).relu().max_pool2d(2)
    x = x.conv2d(c2).relu().max_pool2d(2)
    x = x.flatten(start_dim=1).matmul(f1).relu()
    return x.matmul(f2).relu().matmul(f3)


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
    "lenet": lenet,
    "logreg": lambda x, y, w: logreg(Kit, Columns(x), y, w),
}


def main(job, inputs, output, repeat):
    with np.load(inputs) as saved:
        data = [torch.tensor(saved[name]) for name in saved.files]

    @crypten.mpc.run_multiprocess(world_size=2)
    def work():
        torch.set_num_threads(1)
        seconds = []
        for _ in range(int(repeat) + 1):
            shares = [crypten.cryptensor(x, src=i % 2) for i, x in enumerate(data)]
            comm.get().barrier()
            start = time.perf_counter()
            result = JOBS[job](*shares).get_plain_text()
            seconds.append(time.perf_counter() - start)
        if comm.get().get_rank() == 0:
            np.savez(output, result=result.numpy(), seconds=seconds[1:])

    work()


if __name__ == "__main__":
    main(*sys.argv[1:5])
