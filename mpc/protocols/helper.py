"""Three parties, honest majority: parties 0 and 1 evaluate, party 2 deals and may own inputs and receive outputs.

The gates are those of `additive` with two evaluators. The helper receives nothing but outputs addressed to it.
"""

from __future__ import annotations

from .additive import Additive


class Helper(Additive):
    """Parties 0 and 1 hold shares; party 2 knows the masks but sees no message of theirs. Private against any one party."""

    trust = (
        "semi-honest: private against any one of the three parties; party 2 (the helper) together with party 0 or 1, or "
        "parties 0 and 1 together, learn everything; a party that deviates can change results unnoticed"
    )
    parties = range(3, 4)
    has_dealer = False

    @staticmethod
    def _roles(n: int) -> tuple[int, int]:
        return 2, 2
