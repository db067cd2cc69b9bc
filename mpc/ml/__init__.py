"""Estimators in scikit-learn's manner on secret data, and models trained elsewhere that stay their owner's secret."""

from .bayes import GaussianNB
from .clusters import KMeans
from .estimator import Estimator
from .imported import from_sklearn
from .linear import LinearRegression, LogisticRegression, Ridge
from .model import Linear, Model, Network
from .neural import MLPClassifier, MLPRegressor
from .scalers import PCA, MinMaxScaler, StandardScaler
from .trees import Trees
