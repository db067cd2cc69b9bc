"""The jobs in MPyC: three processes, Shamir sharing, fixed point of 64 bits with 16 of fraction. Runs in its own environment.

python mpyc_peer.py JOB INPUTS.npz OUTPUT.npz REPEAT PATIENCE -M3
"""

import sys
import time

import numpy as np
from mpyc.runtime import mpc

BITS, FRACTION = 64, 16
NUMBERS = mpc.SecFxp(BITS, FRACTION)


def chain(x, y):
    for _ in range(200):
        x = x * y
    return x


JOBS = {
    "mul": lambda x, y: x * y,
    "relu": lambda x: x * (x >= 0),
    "lt": lambda x: x < 0,
    "chain": chain,
    "argmax": lambda x: mpc.np_argmax(x, axis=1),
}


async def main(job, inputs, output, repeat, patience):
    with np.load(inputs) as saved:
        data = [saved[name] for name in saved.files]
    await mpc.start()
    seconds = []
    while len(seconds) <= int(repeat):
        shares = [mpc.input(NUMBERS.array(x), senders=i % 2) for i, x in enumerate(data)]
        await mpc.gather(shares)
        start = time.perf_counter()
        result = await mpc.output(JOBS[job](*shares))
        seconds.append(time.perf_counter() - start)
        if await mpc.transfer(seconds[0], senders=0) > float(patience):
            break
    if mpc.pid == 0:
        settings = (
            f"{len(mpc.parties)} processes, no dealer, Shamir over a prime field of {NUMBERS.field.order.bit_length()} bits"
        )
        settings += f", {FRACTION} fraction bits, TCP, no encryption"
        np.savez(output, result=np.asarray(result, float), seconds=seconds, settings=settings)
    await mpc.shutdown()


if __name__ == "__main__":
    mpc.run(main(*sys.argv[1:6]))
