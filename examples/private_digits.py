"""A client has handwritten digits read by a model owner's network: the images stay with one, the weights with the other.

The model owner trains a network with one hidden layer of 64 in the clear, on 1,437 of scikit-learn's digits. The client
holds 360 others. The network runs on shares, and only the client learns the digits that were read: not even the scores are
revealed, since a score says more about the weights than a digit does.

    python examples/private_digits.py                       # the run, compared with the network in the clear
    mpc audit examples/private_digits.py                    # who learns what
    mpc run examples/private_digits.py --local              # the program alone
"""

import time
from functools import cache

import mpc

CLIENT, OWNER = "client", "model_owner"
HELD_OUT = 360


@cache
def digits():
    """(training images, held-out images, training labels, held-out labels); pixels from 0 to 1."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    return train_test_split(data.data / 16, data.target, test_size=HELD_OUT, stratify=data.target, random_state=0)


@cache
def network():
    """The model owner's network, trained in the clear."""
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    train, _, labels, _ = digits()
    model = MLPClassifier((64,), learning_rate_init=0.005, max_iter=200, tol=1e-3, n_iter_no_change=5, random_state=0)
    with threadpool_limits(1):  # threads that wait for each other over matrices this small cost more than they do
        return model.fit(train, labels)


STRUCTURE = mpc.ml.Network((64, 64, 10), link="softmax")  # what everybody knows of the network


def numbers():
    """The network's weights and biases: the model owner's input."""
    return mpc.ml.from_sklearn(network()).numbers


@mpc.program
def private_digits(
    images: mpc.Input(CLIENT, load=lambda: digits()[1]),
    model: mpc.Input(OWNER, load=numbers),
) -> mpc.Output(CLIENT, name="digits"):
    return STRUCTURE.bind(model).predict(images)


def main():
    from mpc.cli import run_live

    begun = time.perf_counter()
    _, images, _, truth = digits()
    plain = network().predict(images)
    print(f"trained in the clear: 64-64-10 network, {time.perf_counter() - begun:.1f} s\n")

    study = mpc.Study(private_digits, protocol="helper")
    print(study, end="\n\n")
    print(study.cost, end="\n\n", flush=True)
    outcome = run_live(study)
    read = outcome.result
    print(f"measured {outcome.rounds} rounds, {sum(outcome.links.values()):,} bytes", end=" ")
    print("(as predicted)" if outcome.as_predicted else "(NOT as predicted)", end=", ")
    print(f"{outcome.seconds:.2f} s for {HELD_OUT} images\n")
    print(f"private accuracy    {(read == truth).mean():.2%}")
    print(f"plaintext accuracy  {(plain == truth).mean():.2%}")
    print(f"agreement           {(read == plain).mean():.2%}")
    assert (read == plain).mean() >= 0.995, "the private network reads other digits than the network in the clear"


if __name__ == "__main__":
    main()
