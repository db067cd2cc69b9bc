"""Three clinics regress disease progression on their joint table; none of them sees the columns of another.

scikit-learn's diabetes data, cut by columns: one clinic measured age, sex, body mass and blood pressure, a laboratory six
blood values, and a registry knows how the disease progressed after a year. Ordinary least squares with standard errors and
t-values, the p-values that follow, and a ridge regression judged on patients held out. What is revealed, to all three:
coefficients, standard errors, t-values and R^2. No row and no prediction is.

    python examples/joint_regression.py                     # the run, compared with the same fits in the clear
    mpc audit examples/joint_regression.py                  # who learns what
    mpc run examples/joint_regression.py --local            # the program alone
"""

from functools import cache
from pathlib import Path

import numpy as np

import mpc

CLINIC, LABORATORY, REGISTRY = "clinic", "laboratory", "registry"
ALL = CLINIC, LABORATORY, REGISTRY
OWN = 4  # columns of the clinic
HELD_OUT, ALPHA = 110, 10.0
TABLE = Path("results/joint_regression.csv")


@cache
def table():
    """(features, progression, their names). Progression in tens, so that its squares leave fixed point room."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    return data.data, data.target / 10, ["intercept", *data.feature_names]


@mpc.program
def joint_regression(
    body: mpc.Input(CLINIC, load=lambda: table()[0][:, :OWN]),
    blood: mpc.Input(LABORATORY, load=lambda: table()[0][:, OWN:]),
    progression: mpc.Input(REGISTRY, load=lambda: table()[1]),
) -> (
    mpc.Output(*ALL, name="coefficients"),
    mpc.Output(*ALL, name="standard errors"),
    mpc.Output(*ALL, name="t-values"),
    mpc.Output(*ALL, name="R^2"),
    mpc.Output(*ALL, name="R^2 of ridge on held-out patients"),
):
    x = mpc.ml.StandardScaler().fit_transform(mpc.concatenate([body, blood], axis=1))
    fit = mpc.ml.LinearRegression().fit(x, progression)
    ridge = mpc.ml.Ridge(ALPHA).fit(x[HELD_OUT:], progression[HELD_OUT:])
    coefficients = mpc.concatenate([fit.intercept_.reshape(1), fit.coef_])
    return coefficients, fit.standard_errors_, fit.t_values_, fit.r2_, ridge.score(x[:HELD_OUT], progression[:HELD_OUT])


def in_the_clear():
    """The same five results in float64, by statsmodels and scikit-learn."""
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import scale
    from statsmodels.api import OLS, add_constant

    x, y, _ = table()
    x = scale(x)
    fit = OLS(y, add_constant(x)).fit()
    ridge = Ridge(ALPHA).fit(x[HELD_OUT:], y[HELD_OUT:])
    return fit.params, fit.bse, fit.tvalues, fit.rsquared, ridge.score(x[:HELD_OUT], y[:HELD_OUT])


def compare(outcome):
    """Prints private against plaintext results, saves them, and says whether they agree."""
    from rich.console import Console
    from rich.table import Table
    from scipy import stats

    plain, names = in_the_clear(), table()[2]
    freedom = len(table()[0]) - len(names)
    shown = Table(title="Progression of diabetes (tens), standardised features: private | statsmodels")
    shown.add_column("")
    for title in ("coefficient", "standard error", "t", "p"):
        shown.add_column(title, justify="right")
    lines = ["name,coefficient,standard error,t,p"]
    for i, name in enumerate(names):
        both = [[v[i] for v in values[:3]] for values in (outcome.result, plain)]
        for row in both:
            row.append(2 * stats.t.sf(abs(row[2]), freedom))
        shown.add_row(name, *(f"{a:.4f} | {b:.4f}" for a, b in zip(*both, strict=True)))
        lines.append(",".join([name, *(f"{v:.6f}" for v in both[0])]))
    Console(width=110).print(shown)
    for what, a, b in zip(("R^2", "R^2 of ridge, held out"), outcome.result[3:], plain[3:], strict=True):
        print(f"{what:24} {a:.4f} private, {b:.4f} in the clear")
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")

    coefficients, errors, t, r2, ridge = (np.abs(np.asarray(a) - b).max() for a, b in zip(outcome.result, plain, strict=True))
    print(f"largest differences      coefficients {coefficients:.1e}, standard errors {errors:.1e}, t {t:.1e}")
    assert coefficients < 0.01 and errors < 0.01 and t < 0.01 and max(r2, ridge) < 1e-3, "private and plaintext results differ"


def main():
    from mpc.cli import run_live

    study = mpc.Study(joint_regression, protocol="helper")
    print(study, end="\n\n", flush=True)
    outcome = run_live(study)
    print(f"{outcome}\n")
    compare(outcome)
    print(f"\nTable: {TABLE}")


if __name__ == "__main__":
    main()
