"""How much the slow tests do: the numbers of a nightly run, or the part of them that MPC_NIGHTLY says ("0.1")."""

from __future__ import annotations

import os


def nightly(count: int) -> int:
    """At least one."""
    return max(1, round(count * float(os.environ.get("MPC_NIGHTLY", "1"))))
