"""What must not stand in the package: generators that are no cryptographic ones, and readers that execute what a peer sends."""

import re
from pathlib import Path

import pytest

import mpc

ROOT = Path(mpc.__file__).parent
FORBIDDEN = [
    r"\b(numpy|np)\.random\b",
    r"^\s*(import|from) random\b",
    r"\bimport (pickle|marshal|shelve)\b",
    r"\b(recv|send)_pyobj\b",
    r"(?<![\w.])eval\(",
    r"allow_pickle=True",
    r"torch\.load",
]


def findings(text: str) -> list[str]:
    return [line for line in text.splitlines() if any(re.search(rule, line) for rule in FORBIDDEN)]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_forbidden_construct(path: Path):
    assert not findings(path.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "rng = np.random.default_rng()",
        "import pickle",
        "x = eval(text)",
        "socket.recv_pyobj()",
        "np.load(f, allow_pickle=True)",
    ],
)
def test_the_rules_see_them(line: str):
    assert findings(line)
