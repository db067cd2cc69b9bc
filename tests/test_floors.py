"""Imports only point down, and the three ground rooms do not know each other (docs/architecture.md)."""

import ast
from pathlib import Path

import mpc

ROOT = Path(mpc.__file__).parent
FLOORS = {
    "errors": 0,
    "_native": 0,
    "ring": 1,
    "net": 1,
    "ir": 1,
    "protocols": 2,
    "run": 3,
    "lang": 4,
    "nn": 5,
    "optim": 5,
    "linalg": 5,
    "fft": 5,
    "random": 5,
    "ml": 6,
    "launch": 6,
    "bench": 7,
    "cli": 8,
}
GROUND = {
    "net": {"errors", "_native"},
    "ring": {"errors", "_native"},
    "protocols": {"errors", "ring"},
}  # ir may use ring's shape rules


def imported_rooms(path: Path) -> set[str]:
    package = ("mpc", *path.relative_to(ROOT).with_suffix("").parts)[:-1]
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            full = (*base, *(node.module.split(".") if node.module else ()))
            names = [full] if node.module else [(*full, alias.name) for alias in node.names]
            rooms |= {name[1] for name in names if name[0] == "mpc" and len(name) > 1}
    return rooms


def test_imports_point_down():
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imported_rooms(path) - {room}:
            if other not in FLOORS or FLOORS[other] > FLOORS[room] or other not in GROUND.get(room, {other}):
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_the_rule_sees_imports():
    assert imported_rooms(ROOT / "protocols" / "additive.py") == {"protocols", "ring"}
