"""Models trained in the clear with scikit-learn, by the party that owns the data they were trained on."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import NotFitted, UsageError
from ..ir.trace import user_line
from .model import Linear, Model, Network, flat
from .trees import Tree, complete

LINEAR = "LinearRegression Ridge Lasso ElasticNet LogisticRegression RidgeClassifier SGDClassifier LinearSVC LinearSVR SVC SVR"
NETWORKS = "MLPClassifier MLPRegressor"
FORESTS = "RandomForestClassifier RandomForestRegressor ExtraTreesClassifier ExtraTreesRegressor"
SINGLE = "DecisionTreeClassifier DecisionTreeRegressor"
BOOSTED = "GradientBoostingClassifier GradientBoostingRegressor"


def from_sklearn(model: Any, depth: int | None = None) -> Model:
    """A fitted scikit-learn model as a `Linear`, `Network` or `Trees`, to predict for secret samples or under a secret model.

        forest = mpc.ml.from_sklearn(trained, depth=6)          # printed: the structure, which everybody may know
        forest.share(session, owner="bank").predict(x)          # in a session
        forest.bind(numbers).predict(x)                         # in a program, whose input `numbers` is forest.numbers

    Linear and logistic regression, ridge, linear support vector machines, multi-layer perceptrons, decision trees, random
    forests, gradient boosting. Features must be scaled as for training (fold a scaler into it, or use `StandardScaler`).
    Classes are given as places in `model.classes_`. depth: of trees, public; by default that of the deepest. Raises UsageError
    for other models.
    """
    name = type(model).__name__
    kinds = ((LINEAR, _linear), (NETWORKS, _network), (SINGLE, _trees), (FORESTS, _trees), (BOOSTED, _boosted))
    read = next((f for names, f in kinds if name in names.split()), None)
    if read is None:
        known = ", ".join(" ".join(names for names, _ in kinds).split())
        raise UsageError(f"from_sklearn of {name} at {user_line()}: there are {known}")
    if not hasattr(model, "n_features_in_"):
        raise NotFitted(f"from_sklearn of a {name} that is not fitted, at {user_line()}: call its fit first")
    return read(model, depth)


def _linear(model: Any, depth: int | None) -> Model:
    if not hasattr(model, "coef_"):
        raise UsageError(f"{type(model).__name__} with kernel={model.kernel!r} at {user_line()}: train it with kernel='linear'")
    weights = np.atleast_2d(np.asarray(model.coef_)).T
    classes = getattr(model, "classes_", None)
    if type(model).__name__ == "SVC" and len(model.classes_) > 2:
        raise UsageError(f"SVC of {len(model.classes_)} classes compares them in pairs (at {user_line()}): train a LinearSVC")
    link = "number" if classes is None else "sign"
    if type(model).__name__ == "LogisticRegression":
        link = "sigmoid" if weights.shape[1] == 1 else "softmax"
    intercepts = np.broadcast_to(model.intercept_, weights.shape[1])
    return Linear(weights.shape[0], weights.shape[1], link).bind(flat([weights, intercepts]))


def _network(model: Any, depth: int | None) -> Model:
    sizes = (model.coefs_[0].shape[0], *(w.shape[1] for w in model.coefs_))
    link = {"identity": "number", "logistic": "sigmoid", "softmax": "softmax"}[model.out_activation_]
    return Network(sizes, model.activation, link).bind(flat([*model.coefs_, *model.intercepts_]))


def _tree(fitted: Any, factor: float) -> Tree:
    t = fitted.tree_
    if t.n_outputs > 1:
        raise UsageError(f"a tree with {t.n_outputs} outputs at {user_line()}: train one for each")
    value = t.value[:, 0, :]
    if hasattr(fitted, "classes_"):  # shares of the classes in a leaf; older versions store counts
        value = value / value.sum(1, keepdims=True)
    return Tree(t.children_left, t.children_right, t.feature, t.threshold, value * factor)


def _trees(model: Any, depth: int | None) -> Model:
    members = getattr(model, "estimators_", [model])
    trees = [_tree(t, 1 / len(members)) for t in members]
    link = "share" if hasattr(model, "classes_") else "number"
    return complete(trees, model.n_features_in_, depth, np.zeros(trees[0].value.shape[1]), link)


def _boosted(model: Any, depth: int | None) -> Model:
    """Every round adds a tree for every score; what the scores start from is their value less the trees' at any point."""
    outputs = model.estimators_.shape[1]
    trees = []
    for stage in model.estimators_:
        for k, fitted in enumerate(stage):
            tree = _tree(fitted, model.learning_rate)
            tree.value = tree.value * np.eye(outputs)[k]
            trees.append(tree)
    origin = np.zeros((1, model.n_features_in_))
    classifier = hasattr(model, "classes_")
    total = np.reshape(model.decision_function(origin) if classifier else model.predict(origin), -1)
    added = model.learning_rate * np.array([[t.predict(origin)[0] for t in stage] for stage in model.estimators_]).sum(0)
    link = ("sigmoid" if outputs == 1 else "softmax") if classifier else "number"
    return complete(trees, model.n_features_in_, depth, total - added, link)
