"""Estimators against scikit-learn on its data sets, and its models run on secrets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import cluster, decomposition, ensemble, linear_model, naive_bayes, neural_network, preprocessing, svm, tree
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.metrics import adjusted_rand_score

import mpc
from mpc import ml
from mpc.errors import NotFitted, SessionError, ShapeMismatch, TypeMismatch, UsageError

from ..memory import open_session
from .test_arrays import PROTOCOLS, each_protocol

ULP = 2.0**-16
slow = [pytest.param(*p, marks=pytest.mark.slow, id=f"{p[0]}-{p[1]}") for p in PROTOCOLS]
every_third = slice(None, None, 3)


def scaled(x: np.ndarray) -> np.ndarray:
    """Standard scores, as fixed point holds them."""
    return np.rint(preprocessing.scale(x) / ULP) * ULP


WINE, IRIS, DIABETES = load_wine(), load_iris(), load_diabetes(scaled=False)
FLOWERS, SPECIES = scaled(IRIS.data), IRIS.target
CELLS = scaled(load_breast_cancer().data[:, :10])[every_third]
BENIGN = load_breast_cancer().target[every_third]
PATIENTS = scaled(DIABETES.data)[every_third]
PROGRESS = np.rint(DIABETES.target[every_third] / 100 / ULP) * ULP
SHUFFLED = np.random.default_rng(3).permutation(len(FLOWERS))


# ---- a first use ----
def test_fit_predict_reveal():
    with open_session("helper", 3) as s:
        x, y = s.input(DIABETES.data, owner=0), s.input(DIABETES.target, owner=1)
        model = ml.Ridge(alpha=10.0).fit(x, y)
        assert isinstance(model.coef_, mpc.Array)
        r2 = model.score(x, y).reveal()
        model.reveal_("coef_")
        assert isinstance(model.coef_, np.ndarray) and isinstance(model.intercept_, mpc.Array)
        assert model.reveal_() is model and model.intercept_.shape == ()
        predicted = model.predict(x).reveal()  # under a public model now
    plain = linear_model.Ridge(alpha=10.0).fit(DIABETES.data, DIABETES.target)
    assert model.coef_ == pytest.approx(plain.coef_, rel=5e-3, abs=5e-3)
    assert r2 == pytest.approx(plain.score(DIABETES.data, DIABETES.target), abs=2e-4)
    assert predicted == pytest.approx(plain.predict(DIABETES.data), abs=0.1)


def test_in_a_program():
    @mpc.program
    def study(
        x: mpc.Input("clinic"), y: mpc.Input("registry", dtype=mpc.int64), new: mpc.Input("patient")
    ) -> (mpc.Output("clinic", name="coefficients"), mpc.Output("patient", name="risk")):
        scaler = ml.StandardScaler().fit(x)
        model = ml.LogisticRegression(C=0.1, max_iter=40).fit(scaler.transform(x), y)
        return model.coef_, model.predict_proba(scaler.transform(new))

    raw = load_breast_cancer()
    data = {"x": raw.data[:90, :4], "y": raw.target[:90], "new": raw.data[90:100, :4]}
    with open_session("replicated", 3) as s:
        s.names = ("clinic", "registry", "patient")
        coefficients, risk = study.plan(s, data).run()
    z = preprocessing.StandardScaler().fit(data["x"])
    plain = linear_model.LogisticRegression(C=0.1, tol=1e-8).fit(z.transform(data["x"]), data["y"])
    assert coefficients == pytest.approx(plain.coef_[0], abs=0.02)
    assert risk == pytest.approx(plain.predict_proba(z.transform(data["new"])), abs=0.01)


# ---- every estimator ----
@each_protocol
def test_scalers(protocol: str, n: int):
    x = np.column_stack([WINE.data[:60, [0, 4, 7, 12]], np.full(60, 7.0)])  # from 0.1 to 1500, and a constant
    standard, span = preprocessing.StandardScaler().fit(x), preprocessing.MinMaxScaler((-1, 1)).fit(x)
    with open_session(protocol, n) as s:
        secret = s.input(x)
        mine, other = ml.StandardScaler(), ml.MinMaxScaler(-1, 1)
        z, unit = mine.fit_transform(secret), other.fit_transform(secret)
        found = [v.reveal() for v in (z, unit, mine.inverse_transform(z))]
        mine.reveal_(), other.reveal_()
        public = mine.transform(secret).reveal(), other.transform(secret).reveal()
    assert mine.mean_ == pytest.approx(x.mean(0), abs=1e-4, rel=2.0**-15)
    assert mine.scale_[:4] == pytest.approx(x.std(0)[:4], rel=2.0**-12)
    for result in (found[0], public[0]):
        assert result == pytest.approx(standard.transform(x), abs=1e-3)
    for result in (found[1], public[1]):
        assert result == pytest.approx(span.transform(x), abs=1e-3)
    assert found[2] == pytest.approx(x, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(("protocol", "n"), [PROTOCOLS[0], *slow[1:]])
def test_linear_regression(protocol: str, n: int):
    x, y = PATIENTS[:, :5], PROGRESS
    with open_session(protocol, n) as s:
        model = ml.LinearRegression().fit(s.input(x), s.input(y, owner=1)).reveal_()
        bare = ml.LinearRegression(fit_intercept=False).fit(s.input(x), y).reveal_("coef_")  # a public target
    plain = linear_model.LinearRegression().fit(x, y)
    design = np.column_stack([np.ones(len(x)), x])
    residual = y - design @ np.append(plain.intercept_, plain.coef_)
    covariance = np.linalg.inv(design.T @ design) * (residual @ residual) / (len(x) - 6)
    errors = np.sqrt(np.diag(covariance))
    assert model.coef_ == pytest.approx(plain.coef_, abs=2e-4)
    assert model.intercept_ == pytest.approx(plain.intercept_, abs=2e-4)
    assert model.standard_errors_ == pytest.approx(errors, abs=2e-4)
    assert model.t_values_ == pytest.approx(np.append(plain.intercept_, plain.coef_) / errors, abs=0.05)
    assert model.r2_ == pytest.approx(plain.score(x, y), abs=2e-4)
    assert bare.coef_ == pytest.approx(np.linalg.lstsq(x, y, rcond=None)[0], abs=2e-4)


@pytest.mark.parametrize(
    ("protocol", "n", "solver"),
    [
        ("helper", 3, "gradient"),
        ("replicated", 3, "newton"),
        *(pytest.param(*p, v, marks=pytest.mark.slow) for p in PROTOCOLS for v in ("gradient", "newton")),
    ],
)
def test_logistic_regression(protocol: str, n: int, solver: str):
    x = CELLS[:, :4]
    plain = linear_model.LogisticRegression(C=0.1, tol=1e-8, max_iter=1000).fit(x, BENIGN)
    with open_session(protocol, n) as s:
        secret = s.input(x)
        model = ml.LogisticRegression(C=0.1, solver=solver, max_iter={"gradient": 40, "newton": 5}[solver])
        model.fit(secret, s.input(BENIGN.astype(bool), owner=1))
        accuracy, p, labels = s.reveal(model.score(secret, BENIGN), model.predict_proba(secret), model.predict(secret))
        model.reveal_()
    assert model.coef_ == pytest.approx(plain.coef_[0], abs={"gradient": 0.02, "newton": 2e-3}[solver])
    assert model.intercept_ == pytest.approx(plain.intercept_[0], abs=0.02)
    assert p == pytest.approx(plain.predict_proba(x), abs=0.01)
    assert accuracy == pytest.approx((labels == BENIGN).mean(), abs=1e-3)
    assert (labels == plain.predict(x)).mean() >= 0.99


def test_multinomial():
    x, y = FLOWERS[SHUFFLED[:60]], SPECIES[SHUFFLED[:60]]
    plain = linear_model.LogisticRegression(C=0.02, tol=1e-8).fit(x, y)
    with open_session("additive", 2) as s:
        model = ml.LogisticRegression(C=0.02, classes=3, max_iter=30, momentum=0.7).fit(s.input(x), s.input(y))
        p, labels = s.reveal(model.predict_proba(x), model.predict(x))  # of public samples
        model.reveal_()
    assert model.coef_ == pytest.approx(plain.coef_.T, abs=5e-3)
    assert p == pytest.approx(plain.predict_proba(x), abs=5e-3)
    assert np.array_equal(labels, plain.predict(x))


@each_protocol
def test_kmeans(protocol: str, n: int):
    x = scaled(WINE.data)[::2]
    first = x[[5, 40, 80]]
    plain = cluster.KMeans(3, init=first, n_init=1, max_iter=6).fit(x)
    with open_session(protocol, n) as s:
        model = ml.KMeans(3, init=first, max_iter=6).fit(s.input(x))
        again, distances = s.reveal(model.predict(s.input(x[:7])), model.transform(s.input(x[:7])))
        model.reveal_()
    assert np.array_equal(model.labels_, plain.labels_) and np.array_equal(again, plain.labels_[:7])
    assert model.cluster_centers_ == pytest.approx(plain.cluster_centers_, abs=1e-3)
    assert model.inertia_ == pytest.approx(plain.inertia_, rel=1e-3)
    assert distances == pytest.approx(plain.transform(x[:7]) ** 2, abs=2e-2)


@pytest.mark.slow
def test_kmeans_finds_its_own_start():
    x = scaled(WINE.data)
    with open_session("additive", 2) as s:
        one = ml.KMeans(3, n_init=1, max_iter=6).fit(s.input(x)).reveal_("inertia_")
        best = ml.KMeans(3, n_init=2, max_iter=6).fit(s.input(x)).reveal_()
    assert best.inertia_ <= one.inertia_
    assert adjusted_rand_score(WINE.target, best.labels_) > 0.85


def test_kmeans_keeps_an_empty_cluster():
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    with open_session("additive", 2) as s:
        model = ml.KMeans(2, init=np.array([[0.25, 0.25], [50.0, 50.0]]), max_iter=2).fit(s.input(x)).reveal_()
    assert model.cluster_centers_ == pytest.approx(np.array([[1 / 3, 1 / 3], [50, 50]]), abs=1e-3)


def test_pca():
    plain = decomposition.PCA(2).fit(FLOWERS)
    with open_session("helper", 3) as s:
        model = ml.PCA(2)
        scores = model.fit_transform(s.input(FLOWERS))
        back = model.inverse_transform(scores).reveal()
        model.reveal_()
    assert model.explained_variance_ == pytest.approx(plain.explained_variance_, abs=1e-3)
    assert model.explained_variance_ratio_ == pytest.approx(plain.explained_variance_ratio_, abs=1e-4)
    assert np.abs(np.sum(model.components_ * plain.components_, 1)) == pytest.approx(np.ones(2), abs=1e-3)
    assert back == pytest.approx(plain.inverse_transform(plain.transform(FLOWERS)), abs=2e-3)


@each_protocol
def test_naive_bayes(protocol: str, n: int):
    x, y = FLOWERS[every_third], SPECIES[every_third]
    plain = naive_bayes.GaussianNB().fit(x, y)
    with open_session(protocol, n) as s:
        model = ml.GaussianNB(classes=3).fit(s.input(x), s.input(y))
        labels, p = s.reveal(model.predict(s.input(x)), model.predict_proba(s.input(x)))
        model.reveal_()
        public = model.predict(s.input(x)).reveal()
    assert model.theta_ == pytest.approx(plain.theta_, abs=1e-3)
    assert model.var_ == pytest.approx(plain.var_, abs=2e-3)
    assert np.array_equal(labels, plain.predict(x)) and np.array_equal(public, labels)
    assert p == pytest.approx(plain.predict_proba(x), abs=0.03)


def test_perceptrons():
    x, y = FLOWERS[SHUFFLED], SPECIES[SHUFFLED]
    with open_session("additive", 2) as s:
        model = ml.MLPClassifier((8,), classes=3, batch_size=25, max_iter=6).fit(s.input(x), s.input(y))
        accuracy = model.score(s.input(x), y).reveal()
        model.reveal_()
        target = np.abs(PATIENTS[:, 0])  # no line fits it
        curve = ml.MLPRegressor((8,), batch_size=21, max_iter=6)
        r2 = curve.fit(s.input(PATIENTS[:, :1]), s.input(target)).score(s.input(PATIENTS[:, :1]), target).reveal()
    assert accuracy >= 0.94 and r2 >= 0.8
    assert [w.shape for w in model.coefs_] == [(4, 8), (8, 3)] and [b.shape for b in model.intercepts_] == [(8,), (3,)]


def test_a_backward_pass_is_the_gradient():
    """One step on one batch against the same step in float64."""
    x, y = FLOWERS[SHUFFLED[:20]], SPECIES[SHUFFLED[:20]]
    with open_session("additive", 2) as s:
        model = ml.MLPClassifier((6, 5), classes=3, batch_size=20, max_iter=1, alpha=0.0).fit(s.input(x), s.input(y)).reveal_()
    weights = ml.neural.first_weights((4, 6, 5, 3), 0)
    biases = [np.zeros(k) for k in (6, 5, 3)]

    def loss(parts: list[np.ndarray]) -> float:
        h = x
        for i in range(3):
            h = h @ parts[i] + parts[3 + i]
            h = np.maximum(h, 0) if i < 2 else h
        return float(np.mean(np.log(np.exp(h).sum(1)) - h[np.arange(20), y]))

    parts = [*weights, *biases]
    for k, found in enumerate([*model.coefs_, *model.intercepts_]):
        slope = np.zeros(parts[k].shape)
        for place in np.ndindex(slope.shape):
            moved = [p.copy() for p in parts]
            moved[k][place] -= 1e-6  # from below: the slope of a unit that is exactly 0 counts as 0
            slope[place] = (loss(parts) - loss(moved)) / 1e-6
        assert found == pytest.approx(parts[k] - 0.1 * slope, abs=5e-4)


# ---- models trained in the clear ----
def boosted(kind: Any, rounds: int = 4) -> Any:
    return kind(n_estimators=rounds, max_depth=2, random_state=0)


def forest(kind: Any) -> Any:
    return kind(4, max_depth=3, random_state=0)


MODELS: dict[str, tuple[Any, np.ndarray, np.ndarray]] = {
    "line": (linear_model.Ridge(), PATIENTS, PROGRESS),
    "logistic": (linear_model.LogisticRegression(), CELLS, BENIGN),
    "multinomial": (linear_model.LogisticRegression(), FLOWERS, SPECIES),
    "LinearSVC": (svm.LinearSVC(), FLOWERS, SPECIES),
    "SVC": (svm.SVC(kernel="linear"), CELLS, BENIGN),
    "relu": (neural_network.MLPClassifier((6,), max_iter=500, random_state=0), FLOWERS, SPECIES),
    "tanh": (neural_network.MLPClassifier((6,), activation="tanh", max_iter=500, random_state=0), CELLS, BENIGN),
    "MLPRegressor": (neural_network.MLPRegressor(hidden_layer_sizes=(6,), max_iter=500, random_state=0), PATIENTS, PROGRESS),
    "tree": (tree.DecisionTreeClassifier(max_depth=4, random_state=0), CELLS, BENIGN),
    "regression tree": (tree.DecisionTreeRegressor(max_depth=3, random_state=0), PATIENTS, PROGRESS),
    "forest": (forest(ensemble.RandomForestClassifier), FLOWERS, SPECIES),
    "regression forest": (forest(ensemble.ExtraTreesRegressor), PATIENTS, PROGRESS),
    "boosted": (boosted(ensemble.GradientBoostingClassifier), CELLS, BENIGN),
    "boosted classes": (boosted(ensemble.GradientBoostingClassifier), FLOWERS, SPECIES),
    "boosted regression": (boosted(ensemble.GradientBoostingRegressor), PATIENTS, PROGRESS),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", MODELS)
def test_models_of_scikit_learn(name: str):
    model, x, y = MODELS[name]
    plain = clone(model).fit(x, y)
    x, y = x[::4], y[::4]
    for protocol, n in PROTOCOLS:
        with open_session(protocol, n) as s:
            known = ml.from_sklearn(plain)
            secret = known.share(s, owner=1)
            samples = s.input(x)
            results = [secret.predict(samples), known.predict(samples), secret.predict(x), secret.score(samples, y)]
            if secret.link in ("sigmoid", "softmax", "share"):
                results.append(secret.predict_proba(samples))
            *predicted, score, p = [*s.reveal(*results), None][:5]
        for found in predicted:
            assert found == pytest.approx(plain.predict(x), abs=5e-4)
        assert score == pytest.approx(plain.score(x, y), abs=2e-3)
        if p is not None:
            assert p == pytest.approx(plain.predict_proba(x), abs=1e-3)


def test_a_tree_of_a_program():
    """Who does not own the model writes its structure down; nothing but the prediction is revealed."""
    plain = tree.DecisionTreeClassifier(max_depth=3, random_state=0).fit(FLOWERS, SPECIES)
    owned = ml.from_sklearn(plain, depth=4)
    declared = ml.Trees(features=4, trees=1, depth=4, outputs=3, link="share")
    assert (declared.size,) == owned.numbers.shape and repr(declared) == repr(owned)

    @mpc.program
    def classify(x: mpc.Input("client"), model: mpc.Input("bank")) -> mpc.Output("client", name="class"):
        return declared.bind(model).predict(x)

    with open_session("additive", 2) as s:
        s.names = ("client", "bank")
        plan = classify.plan(s, {"x": FLOWERS[:50:5], "model": owned.numbers})
        assert [e.op for e in plan.equations.eqns].count("reveal") == 1
        assert np.array_equal(plan.run(), plain.predict(FLOWERS[:50:5]))


def test_samples_on_a_threshold():
    """They go left, as in the clear: the comparison is exact."""
    plain = tree.DecisionTreeRegressor(max_depth=3).fit(np.arange(8.0)[:, None], np.arange(8.0))
    x = np.sort(np.concatenate([plain.tree_.threshold[plain.tree_.children_left > 0] + k * ULP for k in (-1, 0, 1)]))[:, None]
    for protocol, n in PROTOCOLS:
        with open_session(protocol, n) as s:
            found = ml.from_sklearn(plain).share(s).predict(s.input(x)).reveal()
        assert found == pytest.approx(plain.predict(x), abs=4 * ULP)


# ---- parameters and errors ----
def test_parameters():
    model = ml.LogisticRegression(C=3.0)
    assert model.get_params() == {"C": 3.0, "classes": 2, "solver": "gradient", "max_iter": None, "momentum": 0.9}
    assert model.set_params(C=1.5, solver="newton") is model and model.C == 1.5
    assert repr(ml.KMeans(4)) == "KMeans(n_clusters=4, init='k-means++', n_init=2, max_iter=10, seed=0)"
    copy = clone(model)  # scikit-learn's own
    assert copy is not model and copy.get_params() == model.get_params()
    with pytest.raises(UsageError, match="no parameter 'gamma', but C, classes"):
        model.set_params(gamma=1)


def test_refusals():
    with pytest.raises(NotFitted, match=r"Ridge has no coef_ at test_ml.py:\d+: call fit"):
        ml.Ridge().predict(FLOWERS)
    with pytest.raises(NotFitted, match="call fit first"):
        ml.Ridge().reveal_()
    assert not hasattr(ml.Ridge(), "coef_")
    with open_session("additive", 2) as s:
        x, y = s.input(FLOWERS), s.input(SPECIES)
        model = ml.Ridge().fit(x, y)
        with pytest.raises(ShapeMismatch, match="X has 3 features, the estimator was made for 4"):
            model.predict(x[:, :3])
        with pytest.raises(ShapeMismatch, match=r"reshape\(-1, 1\)"):
            model.predict(x[0])
        with pytest.raises(ShapeMismatch, match="needs a vector of length 150"):
            model.fit(x, y[:10])
        with pytest.raises(TypeMismatch, match="X must be a secret array or a public array of numbers, not str"):
            model.fit("data.csv", y)
        with pytest.raises(UsageError, match="both public"):
            model.fit(FLOWERS, SPECIES)
        with pytest.raises(UsageError, match="X is public"):
            ml.PCA().fit(FLOWERS)
        with pytest.raises(SessionError, match="return the estimator's attributes"):
            mpc.function(lambda x, y: ml.Ridge().fit(x, y).reveal_().coef_)(x, y)
        with pytest.raises(NotFitted, match=r"no errors_ to reveal .* there are coef_, intercept_"):
            model.reveal_("errors_")
        with pytest.raises(TypeMismatch, match="labels must be int64 or bool"):
            ml.LogisticRegression().fit(x, s.input(SPECIES * 0.5))
        with pytest.raises(UsageError, match="choose gradient, or newton"):
            ml.LogisticRegression(solver="lbfgs").fit(x, y)
        with pytest.raises(UsageError, match="choose k-means"):
            ml.KMeans(init="random").fit(x)
        with pytest.raises(ShapeMismatch, match="not clusters x features"):
            ml.KMeans(3, init=np.zeros((2, 4))).fit(x)
        with pytest.raises(NotFitted, match=r"bind\(numbers\)"):
            ml.Linear(4).predict(x)
        with pytest.raises(ShapeMismatch, match="takes a vector of 5"):
            ml.Linear(4).bind(y)
        with pytest.raises(UsageError, match="has no probabilities"):
            ml.Linear(4, 3, "sign").bind(np.zeros(15)).predict_proba(x)


def test_models_that_cannot_be_imported():
    with pytest.raises(UsageError, match=r"from_sklearn of GaussianNB .* there are LinearRegression, Ridge"):
        ml.from_sklearn(naive_bayes.GaussianNB())
    with pytest.raises(NotFitted, match="call its fit first"):
        ml.from_sklearn(linear_model.Ridge())
    with pytest.raises(UsageError, match="train it with kernel='linear'"):
        ml.from_sklearn(svm.SVC().fit(CELLS, BENIGN))
    with pytest.raises(UsageError, match="train a LinearSVC"):
        ml.from_sklearn(svm.SVC(kernel="linear").fit(FLOWERS, SPECIES))
    deep = tree.DecisionTreeRegressor(random_state=0).fit(np.arange(40.0)[:, None], 2.0 ** np.arange(40))
    with pytest.raises(UsageError, match="Train with max_depth set"):
        ml.from_sklearn(deep)
    small = tree.DecisionTreeClassifier(max_depth=3, random_state=0).fit(FLOWERS, SPECIES)
    with pytest.raises(UsageError, match="declare at least that"):
        ml.from_sklearn(small, depth=2)
    with pytest.raises(UsageError, match="choose number, sigmoid"):
        ml.Linear(4, link="logit")
