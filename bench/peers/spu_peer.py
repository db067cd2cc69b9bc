"""The jobs in SPU: one process a party, ring of 64 bits, compiled from JAX. Runs in an environment of its own.

python spu_peer.py JOB INPUTS.npz OUTPUT.npz REPEAT PATIENCE PROTOCOL

PROTOCOL: ABY3 (three parties) or SEMI2K (two, and triples from a trusted first party).
"""

import multiprocessing
import socket
import sys
import time

import jax
import jax.numpy as jnp
import models
import numpy as np
import spu
import spu.libspu as lib
import spu.utils.frontend as frontend

PARTIES = {"ABY3": 3, "SEMI2K": 2}
FRACTION = 18  # SPU's default for a ring of 64 bits
DEALERS = {"ABY3": "no dealer", "SEMI2K": "triples from a trusted first party"}

# GELU by two polynomials, 0 below -4 and x above 3: on the pieces that SPU's examples of transformers use (PUMA,
# Dong et al., 2023)
_NODES = np.cos(np.linspace(0, np.pi, 1000))  # dense at the ends, where a polynomial errs most
_LEFT, _MIDDLE = -2.975 + 1.025 * _NODES, 0.525 + 2.475 * _NODES
LEFT = np.polyfit(_LEFT, models.Clear.gelu(_LEFT), 3)
MIDDLE = np.linalg.lstsq(_MIDDLE[:, None] ** [0, 1, 2, 4, 6], models.Clear.gelu(_MIDDLE), rcond=None)[0]


class Kit:
    """The layers of models.py, in JAX."""

    relu = staticmethod(jax.nn.relu)
    sigmoid = staticmethod(jax.nn.sigmoid)
    softmax = staticmethod(jax.nn.softmax)

    @staticmethod
    def gelu(x):
        square = x * x
        fourth = square * square
        left = LEFT[3] + LEFT[2] * x + LEFT[1] * square + LEFT[0] * (square * x)
        middle = MIDDLE[0] + MIDDLE[1] * x + MIDDLE[2] * square + MIDDLE[3] * fourth + MIDDLE[4] * (fourth * square)
        low, inner, high = x < -4.0, x < -1.95, x > 3.0
        return (low ^ inner) * left + (inner ^ high ^ True) * middle + high * x

    @staticmethod
    def linear(x, weight, bias):
        return x @ weight + bias

    @staticmethod
    def conv2d(x, weight, bias=None, stride=1, padding=0):
        y = jax.lax.conv_general_dilated(x, weight, (stride, stride), [(padding, padding)] * 2)
        return y if bias is None else y + bias.reshape(1, -1, 1, 1)

    @staticmethod
    def max_pool2d(x, size=2, stride=None, padding=0):
        sides, steps = (1, 1, size, size), (1, 1, stride or size, stride or size)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, sides, steps, [(0, 0)] * 2 + [(padding, padding)] * 2)

    @staticmethod
    def global_avg_pool2d(x):
        return x.mean((2, 3))

    @staticmethod
    def layer_norm(x, weight, bias, eps=1e-3):
        centred = x - x.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + eps) * weight + bias


def network(forward):
    return lambda *arrays: forward(Kit, *arrays)


def chain(x, y):
    for _ in range(200):
        x = x * y
    return x


JOBS = {
    "matmul": jnp.matmul,
    "mul": jnp.multiply,
    "relu": jax.nn.relu,
    "lt": lambda x: x < 0,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "exp": jnp.exp,
    "reciprocal": jnp.reciprocal,
    "softmax": jax.nn.softmax,
    "chain": chain,
    "max": lambda x: x.max(1),
    "argmax": lambda x: jnp.argmax(x, 1),
    "conv2d": lambda x, w: jax.lax.conv(x, w, (1, 1), "SAME"),
    "lenet": network(models.lenet),
    "logreg": network(models.logreg),
    "bert_layer": network(models.BERT_BASE.run),
    "resnet18": network(models.RESNET18.run),
}


def config(protocol):
    chosen = lib.RuntimeConfig(protocol=getattr(lib.ProtocolKind, protocol), field=lib.FieldType.FM64)
    chosen.fxp_fraction_bits = FRACTION
    return chosen


def plain(share):
    """A share as bytes, for another process."""
    return bytes(share.meta), [bytes(c) for c in share.share_chunks]


def share_of(meta, chunks):
    share = lib.Share()
    share.meta, share.share_chunks = meta, chunks
    return share


def party(rank, protocol, ports, program, shares, repeat, patience, meeting, first, answers):
    """One process: says what its share of the result and the seconds of its runs were."""
    description, executable = lib.link.Desc(), lib.Executable()
    for number, port in enumerate(ports):
        description.add_party(f"party{number}", f"127.0.0.1:{port}")
    executable.name, executable.input_names, executable.output_names, executable.code = program
    runtime = spu.Runtime(lib.link.create_brpc(description, rank), config(protocol))
    seconds = []
    while len(seconds) <= repeat:
        for name, share in zip(executable.input_names, shares, strict=True):
            runtime.set_var(name, share_of(*share))
        meeting.wait()
        start = time.perf_counter()
        runtime.run(executable)
        seconds.append(time.perf_counter() - start)
        if rank == 0:
            first.value = seconds[0]
        meeting.wait()
        if first.value > patience:
            break
    answers.put((rank, seconds, plain(runtime.get_var(executable.output_names[0]))))
    meeting.wait()  # until the others have read what this one sent


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def main(job, inputs, output, repeat, patience, protocol):
    with np.load(inputs) as saved:
        data = [saved[name].astype(np.float32) for name in saved.files]
    parties = PARTIES[protocol]
    io = spu.Io(parties, config(protocol))
    shares = [io.make_shares(x, lib.Visibility.VIS_SECRET) for x in data]
    names = [f"in{i}" for i in range(len(data))]
    secret = [lib.Visibility.VIS_SECRET] * len(data)
    executable, _ = frontend.compile(frontend.Kind.JAX, JOBS[job], data, {}, names, secret, lambda out: ["out"])
    program = (executable.name, list(executable.input_names), list(executable.output_names), executable.code)
    spawn, ports = multiprocessing.get_context("spawn"), free_ports(parties)
    answers, meeting, first = spawn.Queue(), spawn.Barrier(parties), spawn.Value("d", 0.0)
    common = (protocol, ports, program), (int(repeat), float(patience), meeting, first, answers)
    processes = [
        spawn.Process(target=party, args=(rank, *common[0], [plain(s[rank]) for s in shares], *common[1]), daemon=True)
        for rank in range(parties)
    ]
    for process in processes:
        process.start()
    found = sorted(answers.get() for _ in range(parties))
    for process in processes:
        process.join()
    settings = f"{protocol}, {parties} processes, {DEALERS[protocol]}, ring 2^64, {FRACTION} fraction bits, TCP, no encryption"
    result = np.asarray(io.reconstruct([share_of(*share) for _, _, share in found]))
    np.savez(output, result=result, seconds=np.max([s for _, s, _ in found], axis=0), settings=settings)


if __name__ == "__main__":
    main(*sys.argv[1:7])
