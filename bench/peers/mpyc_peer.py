"""The jobs in MPyC: three processes, Shamir sharing, fixed point of 64 bits with 16 of fraction. Runs in its own venv.

python mpyc_peer.py JOB INPUTS.npz OUTPUT.npz REPEAT -M3
"""

import sys
import time

import numpy as np
from mpyc.runtime import mpc

NUMBERS = mpc.SecFxp(64, 16)


def chain(x, y):
    for _ in range(200):
        x = x * y
    return x


JOBS = {
    "matmul": lambda x, y: x @ y,
    "mul": lambda x, y: x * y,
    "relu": lambda x: x * (x >= 0),
    "lt": lambda x: x < 0,
    "chain": chain,
}


async def main(job, inputs, output, repeat):
    with np.load(inputs) as saved:
        data = [saved[name] for name in saved.files]
    await mpc.start()
    seconds = []
    for _ in range(int(repeat) + 1):
        shares = [mpc.input(NUMBERS.array(x), senders=i % 2) for i, x in enumerate(data)]
        await mpc.gather(shares)
        start = time.perf_counter()
        result = await mpc.output(JOBS[job](*shares))
        seconds.append(time.perf_counter() - start)
    if mpc.pid == 0:
        np.savez(output, result=np.asarray(result, float), seconds=seconds[1:])
    await mpc.shutdown()


if __name__ == "__main__":
    mpc.run(main(*sys.argv[1:5]))
