"""A shop and its bank find segments among their common customers, by k-means and principal components on joint columns.

scikit-learn's wine table stands in for the customers: seven columns belong to the shop, six to the bank. Both are
standardised, clustered and drawn in the plane of the two components of largest variance, all on shares. What is revealed:

    the segment of every customer, coordinates in the plane      to the shop and the bank
    centres of the segments: the shop's columns to the shop, the bank's to the bank (standardised units)
    the share of the variance that the two components explain    to both

    python examples/customer_segments.py                    # the run, compared with scikit-learn
    mpc audit examples/customer_segments.py                 # who learns what
    mpc run examples/customer_segments.py --local           # the program alone
"""

from functools import cache
from pathlib import Path

import numpy as np

import mpc

SHOP, BANK = "shop", "bank"
OWN = 7  # columns of the shop
SEGMENTS, ITERATIONS = 3, 10
PLOT = Path("results/customer_segments.png")


@cache
def table():
    """(columns, kinds of wine: what an ideal clustering would find)."""
    from sklearn.datasets import load_wine

    data = load_wine()
    return data.data, data.target


@mpc.program
def customer_segments(
    shop: mpc.Input(SHOP, load=lambda: table()[0][:, :OWN]),
    bank: mpc.Input(BANK, load=lambda: table()[0][:, OWN:]),
) -> (
    mpc.Output(SHOP, BANK, name="segments"),
    mpc.Output(SHOP, name="centres in the shop's columns"),
    mpc.Output(BANK, name="centres in the bank's columns"),
    mpc.Output(SHOP, BANK, name="coordinates"),
    mpc.Output(SHOP, BANK, name="explained variance"),
):
    x = mpc.ml.StandardScaler().fit_transform(mpc.concatenate([shop, bank], axis=1))
    clusters = mpc.ml.KMeans(SEGMENTS, max_iter=ITERATIONS).fit(x)
    plane = mpc.ml.PCA(2).fit(x)
    centres = clusters.cluster_centers_
    return clusters.labels_, centres[:, :OWN], centres[:, OWN:], plane.transform(x), plane.explained_variance_ratio_.sum()


def in_the_clear():
    """(segments, coordinates, explained variance) by scikit-learn."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import scale

    x = scale(table()[0])
    plane = PCA(2).fit(x)
    segments = KMeans(SEGMENTS, n_init=10, random_state=0).fit(x).labels_
    return segments, plane.transform(x), plane.explained_variance_ratio_.sum()


def plot(segments, coordinates, centres):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
    for k in range(SEGMENTS):
        axes.scatter(*coordinates[segments == k].T, s=18, label=f"segment {k}: {np.sum(segments == k)} customers")
    axes.scatter(*centres.T, marker="x", color="black", label="centres")
    axes.set(xlabel="first component", ylabel="second component", title="Segments found on shares")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=150)
    plt.close(figure)


def compare(outcome):
    """Prints private against plaintext results, draws the plane, and checks that they agree."""
    from sklearn.metrics import adjusted_rand_score

    segments, _, _, coordinates, explained = outcome.result
    clear, plain_coordinates, plain_explained = in_the_clear()
    kinds = table()[1]
    index, plain_index = (adjusted_rand_score(kinds, found) for found in (segments, clear))
    same = adjusted_rand_score(clear, segments)
    # signs of components are arbitrary
    difference = np.abs(np.abs(coordinates) - np.abs(plain_coordinates)).max()
    print(f"{'':34}private   scikit-learn")
    print(f"{'adjusted Rand index with the kinds':34}{index:7.3f}   {plain_index:12.3f}")
    print(f"{'explained by two components':34}{explained:7.1%}   {plain_explained:12.1%}")
    print(f"\nboth clusterings agree to a Rand index of {same:.3f}; coordinates differ by at most {difference:.4f}")
    plot(segments, coordinates, np.array([coordinates[segments == k].mean(0) for k in range(SEGMENTS)]))
    assert index >= plain_index - 0.03 and abs(explained - plain_explained) < 1e-3 and difference < 5e-3, "results differ"


def main():
    from mpc.cli import run_live

    study = mpc.Study(customer_segments, protocol="helper")
    print(study, end="\n\n", flush=True)
    outcome = run_live(study)
    print(f"{outcome} for {len(table()[0])} customers\n")
    compare(outcome)
    print(f"\nPlot: {PLOT}")


if __name__ == "__main__":
    main()
