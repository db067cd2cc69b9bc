"""Two hospitals and a cancer registry train a classifier that none of them could train alone, and show nobody their data.

scikit-learn's breast-cancer table, cut by columns: hospital A measured the first 15 of each tumour, hospital B the last 15,
and the registry knows which tumours were malignant. The rows are cut 70/30 into training and held-out patients. Under
`protocol="helper"` the registry, as the third party, also plays the helper who deals correlated randomness.

Everything between the inputs and the outputs happens on shares: standardisation by the mean and standard deviation of the
training rows, logistic regression by gradient descent with momentum, prediction on the held-out rows, accuracy, AUC (by
comparing every held-out pair) and the points of the ROC curve. What is revealed:

    coefficients of A's columns        to hospital A        (standardised units)
    coefficients of B's columns        to hospital B
    intercept                          to both hospitals
    accuracy, AUC, and true and        to all three. These aggregates tell something about the held-out patients:
    false positive rates at 25           how many are malignant, and how many of either kind lie above
    public thresholds                    each threshold. No prediction for one patient is revealed.

    python examples/two_hospitals.py                        # the run, compared with the same recipe in the clear
    mpc audit examples/two_hospitals.py                     # who learns what
    mpc cost examples/two_hospitals.py                      # what it costs
    mpc run examples/two_hospitals.py --local               # the program alone
    mpc run examples/two_hospitals.py --config party.toml   # one party on its own host (docs/deploy.md)
"""

import time
from functools import cache
from pathlib import Path

import numpy as np

import mpc

A, B, REGISTRY = "hospital_a", "hospital_b", "registry"
OWN = 15  # columns of each hospital
ITERATIONS, RATE, MOMENTUM, L2 = 300, 0.5, 0.9, 1.0  # L2: scikit-learn's 1 / C
ODDS = np.array([1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85])
THRESHOLDS = np.concatenate([ODDS / (1 + ODDS), [0.5], 1 / (1 + ODDS[::-1])])  # probabilities from 0.001 to 0.999
PLOT = Path("results/two_hospitals.png")

# Units from the data dictionary, in columns' order: with them every value is below 10, and fixed point keeps its precision.
# Three groups: mean, standard error and worst value of radius, texture, perimeter, area, smoothness, compactness, concavity,
# concave points, symmetry, fractal dimension.
UNITS = np.concatenate(
    [
        [10, 10, 100, 1000, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01],
        [1, 1, 10, 100, 0.01, 0.1, 0.1, 0.01, 0.01, 0.01],
        [10, 10, 100, 1000, 0.1, 1, 1, 0.1, 0.1, 0.1],
    ]
)


@cache
def table() -> dict[str, np.ndarray]:
    """The inputs by name. In a deployment each party loads its own; the split of the rows is public."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    data = load_breast_cancer()
    x, malignant = data.data / UNITS, data.target == 0
    train_x, test_x, train_y, test_y = train_test_split(x, malignant, test_size=0.3, stratify=malignant, random_state=0)
    return {
        "train_a": train_x[:, :OWN], "train_b": train_x[:, OWN:], "train_y": train_y,
        "test_a": test_x[:, :OWN], "test_b": test_x[:, OWN:], "test_y": test_y,
    }  # fmt: skip


def step(x, y, w, velocity, sigmoid):
    """One step of gradient descent: the same lines train on shares and, for comparison, in the clear."""
    n, features = x.shape
    penalty = np.append(np.full(features - 1, L2 / n), 0.0)  # not on the intercept
    gradient = x.T @ (sigmoid(x @ w) - y)
    velocity = MOMENTUM * velocity - RATE / n * gradient - RATE * penalty * w
    return w + velocity, velocity


@mpc.program
def two_hospitals(
    train_a: mpc.Input(A, load=lambda: table()["train_a"]),
    train_b: mpc.Input(B, load=lambda: table()["train_b"]),
    train_y: mpc.Input(REGISTRY, dtype=mpc.bool, load=lambda: table()["train_y"]),
    test_a: mpc.Input(A, load=lambda: table()["test_a"]),
    test_b: mpc.Input(B, load=lambda: table()["test_b"]),
    test_y: mpc.Input(REGISTRY, dtype=mpc.bool, load=lambda: table()["test_y"]),
) -> (
    mpc.Output(A, name="coefficients of A's columns"),
    mpc.Output(B, name="coefficients of B's columns"),
    mpc.Output(A, B, name="intercept"),
    mpc.Output(A, B, REGISTRY, name="accuracy"),
    mpc.Output(A, B, REGISTRY, name="AUC"),
    mpc.Output(A, B, REGISTRY, name="true positive rates"),
    mpc.Output(A, B, REGISTRY, name="false positive rates"),
):
    return study(train_a, train_b, train_y, test_a, test_b, test_y, ITERATIONS)


def study(train_a, train_b, train_y, test_a, test_b, test_y, iterations):
    """The program for any number of iterations."""
    train, test = mpc.concatenate([train_a, train_b], axis=1), mpc.concatenate([test_a, test_b], axis=1)
    mean, scale = train.mean(axis=0), mpc.rsqrt(train.var(axis=0))
    train, test = (train - mean) * scale, (test - mean) * scale
    train, test = (mpc.concatenate([x, np.ones((len(x), 1))], axis=1) for x in (train, test))  # for the intercept
    y = train_y.astype(mpc.fixed64())

    def body(_, carried):
        return step(train, y, *carried, mpc.nn.sigmoid)

    start = 0 * train[0]
    w, _ = mpc.fori(0, iterations, body, (start, start))

    score = test @ w
    accuracy = ((score > 0) == test_y).mean()
    return w[:OWN], w[OWN:-1], w[-1], accuracy, auc(score, test_y), *rates(score, test_y)


def auc(score, y):
    """The share of (positive, negative) pairs in which the positive one scores higher; ties count half."""
    n = len(score)
    higher = (score.reshape(n, 1) > score.reshape(1, n)).astype(mpc.int64)
    y = y.astype(mpc.int64)
    right, wrong = y @ higher @ (1 - y), (1 - y) @ higher @ y
    pairs = y.sum() * (n - y.sum())
    # counts up to n^2: as shares of n^2 they lie in [0, 1], where fixed point divides well
    return (pairs + right - wrong) / (2 * n**2) * mpc.reciprocal(pairs / n**2)


def rates(score, y):
    """True and false positive rates at the public thresholds of the probability."""
    n = len(score)
    above = (mpc.expand_dims(score, -1) >= np.log(THRESHOLDS / (1 - THRESHOLDS))).astype(mpc.int64)
    y = y.astype(mpc.int64)
    return tuple((c @ above / n) * mpc.reciprocal(c.sum() / n) for c in (y, 1 - y))


def in_the_clear():
    """The same recipe in float64: (coefficients with the intercept last, scores of the held-out rows, seconds)."""
    data, begun = table(), time.perf_counter()
    train, test = np.hstack([data["train_a"], data["train_b"]]), np.hstack([data["test_a"], data["test_b"]])
    mean, scale = train.mean(axis=0), 1 / train.std(axis=0)
    train, test = (np.hstack([(x - mean) * scale, np.ones((len(x), 1))]) for x in (train, test))
    w = velocity = np.zeros(2 * OWN + 1)
    for _ in range(ITERATIONS):
        w, velocity = step(train, data["train_y"], w, velocity, lambda v: 1 / (1 + np.exp(-v)))
    return w, test @ w, time.perf_counter() - begun


def by_scikit_learn():
    """The minimum that the recipe approaches: (coefficients, scores, seconds)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    data, begun = table(), time.perf_counter()
    scaler = StandardScaler().fit(np.hstack([data["train_a"], data["train_b"]]))
    train, test = (scaler.transform(np.hstack([data[f"{part}_a"], data[f"{part}_b"]])) for part in ("train", "test"))
    model = LogisticRegression(C=1 / L2, tol=1e-8, max_iter=10_000).fit(train, data["train_y"])
    return np.append(model.coef_[0], model.intercept_), model.decision_function(test), time.perf_counter() - begun


def compare(outcome):
    """Prints private against plaintext results; saves the plot."""
    from rich.console import Console
    from rich.table import Table
    from sklearn.metrics import roc_auc_score

    of_a, of_b, intercept, accuracy, area, tpr, fpr = outcome.result
    w, y = np.concatenate([of_a, of_b, [intercept]]), table()["test_y"]
    shown = Table(title="Held-out patients")
    shown.add_column("")
    for title in ("accuracy", "AUC", "seconds", "largest coefficient\ndifference to private"):
        shown.add_column(title, justify="right")
    shown.add_row("private (three processes)", f"{accuracy:.4f}", f"{area:.4f}", f"{outcome.seconds:.2f}", "")
    for name, (other, score, seconds) in (("NumPy, same recipe", in_the_clear()), ("scikit-learn", by_scikit_learn())):
        plain = ((score > 0) == y).mean(), roc_auc_score(y, score)
        shown.add_row(name, *(f"{v:.4f}" for v in plain), f"{seconds:.2f}", f"{np.abs(w - other).max():.4f}")
        if name.startswith("NumPy"):
            plot(tpr, fpr, area, y, score, plain[1])
    Console(width=100).print(shown)


def plot(tpr, fpr, area, y, score, plain_area):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn.metrics import roc_curve

    plain_fpr, plain_tpr, _ = roc_curve(y, score)
    figure, panels = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
    views = (("held-out patients", (-0.02, 1), (0, 1.02)), ("upper left corner", (-0.006, 0.3), (0.7, 1.006)))
    for axes, (title, across, up) in zip(panels, views, strict=True):
        axes.step(plain_fpr, plain_tpr, where="post", color="0.6", lw=2, label=f"in the clear (AUC {plain_area:.4f})")
        label = f"private, at {len(THRESHOLDS)} public thresholds (AUC {area:.4f})"
        axes.plot(fpr, tpr, "o", ms=6, color="tab:red", mec="white", mew=0.8, label=label)
        axes.plot([0, 1], [0, 1], ":", color="0.7", lw=1)
        axes.set(title=title, xlabel="false positive rate", ylabel="true positive rate", xlim=across, ylim=up, box_aspect=1)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("ROC curve of the classifier that two hospitals trained on shares")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=150)
    plt.close(figure)


def main():
    from mpc.cli import run_live

    study = mpc.Study(two_hospitals, protocol="helper")
    print(study, end="\n\n")
    print(study.cost, end="\n\n", flush=True)
    outcome = run_live(study)
    predicted = sum(study.cost.links.values())
    print(f"measured   {outcome.rounds:,} rounds, {sum(outcome.links.values()):,} bytes of payload")
    print(f"predicted  {study.cost.rounds:,} rounds, {predicted:,} bytes", "(equal)" if outcome.as_predicted else "(DIFFERENT)")
    print(f"time       {outcome.seconds:.2f} s\n", flush=True)
    compare(outcome)
    print(f"\nROC curve: {PLOT}")


if __name__ == "__main__":
    main()
