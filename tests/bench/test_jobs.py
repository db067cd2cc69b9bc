"""The jobs compute what their NumPy twins do: at a size that takes no time, on shapes and on values."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from scipy import special

import mpc
from mpc.bench import models
from mpc.bench.jobs import GROWING, JOBS, PRIMITIVES, Draw, Job
from mpc.bench.models import Clear, ResNet
from mpc.lang.session import Session

from ..memory import open_session


def run(s: Session, job: Job, name: str = "test") -> np.ndarray:
    data = job.inputs(name)
    value = np.asarray(job.private(*(s.input(x, owner=i % 2) for i, x in enumerate(data))).reveal())
    assert value.shape == np.shape(job.plain(*data))
    return np.abs(value.astype(float) - job.plain(*data))


def test_numbers_of_a_draw():
    x, u = Draw("a").normal(200, 500), Draw("a").uniform(-8, 2, 100_000)
    assert abs(x.mean()) < 0.02 and abs(x.std() - 1) < 0.02 and abs((x**3).mean()) < 0.05
    assert u.min() >= -8 and u.max() < 2 and abs(u.mean() + 3) < 0.05
    assert np.array_equal(Draw("a").normal(3), Draw("a").normal(3))
    assert not np.array_equal(Draw("a").normal(3), Draw("b").normal(3))
    d = Draw("a")
    assert not np.array_equal(d.normal(3), d.normal(3))


def test_growing_jobs(s: Session):
    for name, job in GROWING.items():
        assert run(s, job(64)).max() < 2**-8, name


def test_small_operations(s: Session):
    for name in ("softmax1000x10", "max1000x16", "argmax1000x16", "chain200"):
        assert run(s, JOBS[name]).max() < 2**-8, name


def test_primitives(s: Session):
    for name, job in PRIMITIVES.items():
        assert run(s, job._replace(data=lambda d, of=job.data: [x[:500] for x in of(d)])).max() < 2**-12, name


def test_layers_in_the_clear():
    rng = np.random.default_rng(1)
    x, w, b = rng.normal(size=(2, 3, 7, 7)), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4)
    y = Clear.conv2d(x, w, b, stride=2, padding=1)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    assert y.shape == (2, 4, 4, 4)
    assert y[1, 2, 3, 0] == pytest.approx((padded[1, :, 6:9, 0:3] * w[2]).sum() + b[2])
    assert Clear.max_pool2d(x, 3, 2)[0, 1, 2, 0] == x[0, 1, 4:7, 0:3].max()
    v = rng.normal(size=(5, 6))
    assert Clear.gelu(v) == pytest.approx(v * special.ndtr(v))
    assert Clear.softmax(v) == pytest.approx(special.softmax(v, -1))


def test_networks(s: Session):
    """The same text on secrets and in NumPy, made small."""
    tiny = ResNet((1, 1, 1, 1), bottleneck=True), ResNet((1, 2, 1, 1), bottleneck=False)
    for net in tiny:
        job = Job(partial(net.run, mpc.nn), partial(net.run, Clear), lambda d, net=net: net.data(d.normal, 32, 10, 4), "")
        assert run(s, job).max() < 2**-7
    job = Job(partial(models.lenet, mpc.nn), partial(models.lenet, Clear), lambda d: models.lenet_data(d.normal, batch=1), "")
    assert run(s, job).max() < 2**-8


def test_an_encoder(s: Session):
    """A layer, and two with pooler and classifier."""
    small = models.Encoder(hidden=12, heads=3, inner=16)
    job = Job(partial(small.run, mpc.nn), partial(small.run, Clear), lambda d: small.data(d.normal, 5), "")
    assert run(s, job).max() < 2**-7
    bert = partial(models.bert, layer=small)
    job = Job(partial(bert, mpc.nn), partial(bert, Clear), lambda d: models.bert_data(d.normal, 5, small, 2), "")
    assert run(s, job).max() < 2**-6


def test_vgg(s: Session):
    data = lambda d: models.vgg_data(d.normal, side=32, classes=5, narrower=32, hidden=16)  # noqa: E731
    assert run(s, Job(partial(models.vgg, mpc.nn), partial(models.vgg, Clear), data, "")).max() < 2**-7


def test_a_step_of_training(s: Session):
    job = JOBS["mlp_step128"]._replace(data=lambda d: models.perceptron_data(d.normal, 20, (30, 16, 10)))
    assert run(s, job).max() < 2**-11
    before = [w.ravel() for w in job.inputs("test")[2:]]
    assert np.abs(job.plain(*job.inputs("test")) - np.concatenate(before)).max() > 2**-6
    assert run(s, job).shape == (sum(w.size for w in before),)


class Blank:
    """The shape of an array, whatever it is scaled by."""

    def __init__(self, *shape: int) -> None:
        self.shape, self.size = shape, math.prod(shape)

    def __mul__(self, factor: float) -> Blank:
        return self

    __rmul__ = __truediv__ = __radd__ = __mul__


def test_sizes_of_the_real_ones():
    """Parameters as published: 11.69 and 25.56 million (less batch norm, plus biases), 138.36 million,
    7.1 million of an encoder layer."""
    sizes = [sum(w.size for w in net.data(Blank)[1:]) for net in (models.RESNET18, models.RESNET50)]
    assert sizes == [11_684_712, 25_530_472]
    assert sum(w.size for w in models.BERT_BASE.data(Blank)[1:]) == 7_087_872
    assert sum(w.size for w in models.vgg_data(Blank)[1:]) == 138_357_544
    assert sum(w.size for w in models.bert_data(Blank)[1:]) == 12 * 7_087_872 + 768 * 768 + 768 + 2 * 768 + 2
    with open_session("helper", 3) as s:
        for net, rounds in ((models.RESNET18, 150), (models.RESNET50, 350)):
            shapes = [s.placeholder(w.shape, owner=0) for w in net.data(Blank, 32)]
            z = net.run(mpc.nn, *shapes)
            assert z.shape == (1, 1000) and 0 < s.cost(z).rounds < rounds
