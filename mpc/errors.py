"""Every exception that a user can meet. Each class says in its docstring what to do about it.

A message says what happened, where, why, and what to write instead. It never contains a share, a key or an input value.

Exit codes of the command line: 0 done, 1 error in the program or data, 2 usage, 3 a party was lost, 4 a bad message, 5 refused,
6 configuration or key, 130 interrupted.
"""

from __future__ import annotations


class MPCError(Exception):
    """Base of all errors of this package. `exit_code` is what the command line returns for it."""

    exit_code = 1
    echo = False  # whether it merely repeats why another party ended the session


class SecretBranchError(MPCError):
    """The truth of a secret was asked for (`if x > 0:`, `while`, `and`, `bool(x)`).

    Write `mpc.where(condition, a, b)`, or reveal the condition first if everyone may know it.
    """


class SecretValueError(MPCError):
    """A secret was used where a plain value is needed (`np.asarray(x)`, `float(x)`, pickle, an index, a format string).

    Compute on the secret with `mpc` functions, or call `.reveal()` if everyone may know the value.
    """


class TypeMismatch(MPCError, TypeError):
    """Operands whose dtypes cannot be combined. Convert one of them with `.astype(...)`."""


class ShapeMismatch(MPCError, ValueError):
    """Operands whose shapes do not fit (NumPy's broadcasting rules apply). Reshape one of them."""


class RangeError(MPCError, ValueError):
    """A value does not fit its dtype. Scale the data, or choose fewer fraction bits (`mpc.fixed64(12)`)."""


class RangeWarning(UserWarning):
    """By the declared ranges of the inputs, an operation may overflow or leave the domain of its function.

    Scale the data, declare narrower ranges (`s.input(x, low=, high=)`), or use fewer fraction bits. `python -W error` makes
    it an error.
    """


class ShadowError(MPCError, ArithmeticError):
    """In a session with `check="shadow"`, a result differs from float64's by more than its operation promises.

    The message names the line, the operation and the element, and what to change: scale the data, or clip it.
    """


class Singular(MPCError, ArithmeticError):
    """A division by zero, or a matrix without an inverse, in a field (`mpc.field`): all parties learn that it is so, and the
    session ends.

    `mpc.linalg.det` and `mpc.linalg.exact_det` take singular matrices, and open nothing.
    """


class InputError(MPCError, ValueError):
    """Input data that cannot be used: wrong owner, wrong shape, not a number. Nothing was sent."""


class SessionError(MPCError):
    """The session is closed, or arrays of two sessions were mixed. Start a new one, or stay within one `with` block."""


class StoreError(MPCError):
    """Preprocessing that cannot be used: missing, used before, damaged, or for another program. Make it anew (`mpc prep`)."""

    exit_code = 5


class CheckpointError(MPCError):
    """A checkpoint that cannot be read: missing, damaged, of another save, session or party. See `mpc.save`."""

    exit_code = 5


class UsageError(MPCError):
    """A wrong argument on the command line or of a constructor. The message lists what is possible."""

    exit_code = 2


class NotFitted(UsageError, AttributeError):
    """A result of an estimator was asked for before it has one. Call `fit` first."""


class PeerLost(MPCError):
    """A party stopped answering (crash, pause, network). Nothing was revealed.

    Start it again on every party with the same program; the randomness of this session is discarded.
    """

    exit_code = 3

    def __init__(self, party: int, reason: str, round: int | None = None, where: str = "") -> None:
        super().__init__(party, reason, round, where)
        self.party, self.reason, self.round, self.where = party, reason, round, where
        self.name = ""  # of the party, where parties have names

    def __str__(self) -> str:
        return (
            f"party {_who(self)} {self.reason}{_place(self.round, self.where)}. Nothing was revealed.\n"
            "    Start it again on every party with the same program; this session's randomness has been discarded."
        )


class Timeout(PeerLost):
    """A party is alive but makes no progress within the deadline (`mpc.local(..., deadline=seconds)`)."""


class ProtocolError(MPCError):
    """A message that the program does not allow: wrong session, sequence, round, shape or size. The session is over.

    Either a peer runs another version, or someone interferes with the connection.
    """

    exit_code = 4

    def __init__(self, party: int, reason: str, round: int | None = None, where: str = "") -> None:
        super().__init__(party, reason, round, where)
        self.party, self.reason, self.round, self.where = party, reason, round, where
        self.name = ""

    def __str__(self) -> str:
        return f"bad message from party {_who(self)}: {self.reason}{_place(self.round, self.where)}. The session is over."


class Disagreement(ProtocolError):
    """A party speaks another version of the wire format, or expects another number of parties. Nothing was sent.

    Give every party the same version of this package and the same roster.
    """

    exit_code = 5


class Refused(MPCError):
    """A party does not take part: it runs another program, or its policy forbids this one. Nothing was sent.

    The message says who, and why.
    """

    exit_code = 5


class ProgramMismatch(Refused):
    """The parties do not run the same program with the same parameters. Nothing was sent.

    The message names the first difference. Give every party the same file and the same version of this package.
    """


class PolicyRefused(Refused):
    """A party's policy does not allow this run, or an approval that it asks for is missing. Nothing was sent.

    The message says whose policy and which line of the program; `mpc audit PROGRAM --config FILE` prints the lines that
    would allow it.
    """


class ConfigError(MPCError):
    """A configuration or key that cannot be used, or a party whose key is not the one in the roster. Nothing was sent.

    Compare the keys of both rosters; `mpc doctor --config FILE` looks at keys, names and ports.
    """

    exit_code = 6


def _who(error: PeerLost | ProtocolError) -> str:
    return f"{error.party} ({error.name})" if error.name else str(error.party)


def _place(round: int | None, where: str) -> str:
    """` in round 118 (relu, model.py:12)`, as far as it is known."""
    inside = f" ({where})" if where else ""
    return f" in round {round}{inside}" if round is not None else inside
