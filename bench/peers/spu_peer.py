"""The jobs in SPU: three processes, ABY3, ring of 64 bits, compiled from JAX. Runs in its own venv.

python spu_peer.py JOB INPUTS.npz OUTPUT.npz REPEAT
"""

import multiprocessing
import socket
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import spu
import spu.libspu as lib
import spu.utils.frontend as frontend
from models import logreg

PARTIES = 3


class Kit:
    """The layers of models.py, in JAX."""

    sigmoid = staticmethod(jax.nn.sigmoid)


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
    "exp": jnp.exp,
    "reciprocal": jnp.reciprocal,
    "softmax": lambda x: jax.nn.softmax(x, -1),
    "chain": chain,
    "max": lambda x: x.max(1),
    "conv2d": lambda x, w: jax.lax.conv(x, w, (1, 1), "SAME"),
    "logreg": lambda x, y, w: logreg(Kit, x, y, w),
}


def config():
    return lib.RuntimeConfig(protocol=lib.ProtocolKind.ABY3, field=lib.FieldType.FM64)


def plain(share):
    """A share as bytes, for another process."""
    return bytes(share.meta), [bytes(c) for c in share.share_chunks]


def share_of(meta, chunks):
    share = lib.Share()
    share.meta, share.share_chunks = meta, chunks
    return share


def party(rank, ports, program, shares, repeat, answers):
    """One process: runs `repeat` times and says what its share of the result and its seconds were."""
    description, executable = lib.link.Desc(), lib.Executable()
    for number, port in enumerate(ports):
        description.add_party(f"party{number}", f"127.0.0.1:{port}")
    executable.name, executable.input_names, executable.output_names, executable.code = program
    runtime = spu.Runtime(lib.link.create_brpc(description, rank), config())
    seconds = []
    for _ in range(repeat + 1):
        for name, share in zip(executable.input_names, shares, strict=True):
            runtime.set_var(name, share_of(*share))
        start = time.perf_counter()
        runtime.run(executable)
        seconds.append(time.perf_counter() - start)
    result = runtime.get_var(executable.output_names[0])
    answers.put((rank, seconds[1:], plain(result)))
    time.sleep(1)  # until the others have read what this one sent


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def main(job, inputs, output, repeat):
    with np.load(inputs) as saved:
        data = [saved[name].astype(np.float32) for name in saved.files]
    io = spu.Io(PARTIES, config())
    shares = [io.make_shares(x, lib.Visibility.VIS_SECRET) for x in data]
    names = [f"in{i}" for i in range(len(data))]
    secret = [lib.Visibility.VIS_SECRET] * len(data)
    executable, _ = frontend.compile(frontend.Kind.JAX, JOBS[job], data, {}, names, secret, lambda out: ["out"])
    program = (executable.name, list(executable.input_names), list(executable.output_names), executable.code)
    spawn, ports = multiprocessing.get_context("spawn"), free_ports(PARTIES)
    answers = spawn.Queue()
    processes = [
        spawn.Process(target=party, args=(rank, ports, program, [plain(s[rank]) for s in shares], int(repeat), answers))
        for rank in range(PARTIES)
    ]
    for process in processes:
        process.start()
    found = sorted(answers.get(timeout=280) for _ in range(PARTIES))
    for process in processes:
        process.join()
    parts = [share_of(*share) for _, _, share in found]
    np.savez(output, result=np.asarray(io.reconstruct(parts)), seconds=np.max([s for _, s, _ in found], axis=0))


if __name__ == "__main__":
    main(*sys.argv[1:5])
