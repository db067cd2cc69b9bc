"""What the engine needs from a network: arrays to a peer, arrays of known shapes from a peer, and a clean end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from mpc.errors import ConfigError, MPCError, PeerLost, ProtocolError, Refused
from mpc.net.frame import HEADER, Lane, Spec

__all__ = ["Channel", "Meter", "Spec", "aborted", "explain"]


def explain(error: PeerLost | ProtocolError) -> str:
    """The reason of an abort after this error: completes the sentence "party `error.party` …"."""
    return f"sent {error.reason}" if isinstance(error, ProtocolError) else error.reason


def aborted(by: int, blame: int, reason: str, round: int | None, code: int = PeerLost.exit_code) -> MPCError:
    """The error at a party that was told of an abort by party `by`: of the same exit code if nothing had begun."""
    for kind in (Refused, ConfigError):
        if code == kind.exit_code:
            error = kind(f"party {by} ended the session: {reason}")
            error.echo = True
            return error
    return PeerLost(blame, f"ended the session: {reason}" if by == blame else f"{reason} (says party {by})", round)


class Meter:
    """What this party has sent to and received from each peer since the start, or since the last `reset`.

    Bytes are payload, messages those that carry arrays; headers and control frames are counted apart, as overhead.
    """

    def __init__(self, out: Mapping[int, Lane], into: Mapping[int, Lane]) -> None:
        self.out, self.into = out, into
        self._before: dict[Lane, tuple[int, int, int]] = dict.fromkeys((*out.values(), *into.values()), (0, 0, 0))

    @property
    def bytes_sent(self) -> dict[int, int]:
        """Payload bytes to each peer."""
        return {peer: self._since(lane)[0] for peer, lane in self.out.items()}

    @property
    def bytes_received(self) -> dict[int, int]:
        """Payload bytes from each peer."""
        return {peer: self._since(lane)[0] for peer, lane in self.into.items()}

    @property
    def messages_sent(self) -> dict[int, int]:
        """Messages with arrays to each peer."""
        return {peer: self._since(lane)[1] for peer, lane in self.out.items()}

    @property
    def messages_received(self) -> dict[int, int]:
        """Messages with arrays from each peer."""
        return {peer: self._since(lane)[1] for peer, lane in self.into.items()}

    @property
    def overhead(self) -> int:
        """Bytes of headers and control frames that this party sent."""
        return sum(HEADER * messages + extra for _, messages, extra in map(self._since, self.out.values()))

    def reset(self) -> None:
        """Set everything to zero."""
        self._before = {lane: (lane.payload, lane.messages, lane.extra) for lane in self._before}

    def _since(self, lane: Lane) -> tuple[int, int, int]:
        payload, messages, extra = self._before[lane]
        return lane.payload - payload, lane.messages - messages, lane.extra - extra


class Channel(ABC):
    """One party's links to all the others, in one session. For one thread at a time.

    After a `PeerLost` or a `ProtocolError` the session is over: every later call raises the same error. Used as a
    context manager, it aborts when the block is left by an exception and closes otherwise.
    """

    me: int
    parties: int  # every process of the session, a dealer included
    meter: Meter

    @abstractmethod
    def send(self, peer: int, round: int, arrays: Sequence[NDArray[Any]]) -> None:
        """Send arrays of uint64, uint32, uint8 or words of several uint64 to `peer`, without waiting for it to receive.

        The arrays must not be modified afterwards. Raises `PeerLost`; `UsageError` for arrays that do not travel.
        """

    @abstractmethod
    def recv(self, peer: int, round: int, specs: Sequence[Spec]) -> list[NDArray[Any]]:
        """The arrays that `peer` sent in `round`, exactly as `specs` says; they may be read-only.

        Raises `ProtocolError` if something else comes, `PeerLost` if any party is gone or has aborted, `Timeout` if
        nothing comes within the deadline of a round.
        """

    def make_way(self) -> None:
        """Takes in what has come, for later: a party that does not receive for long calls it, so that senders go on.

        Nothing, where `send` waits for nobody.
        """
        return

    @abstractmethod
    def abort(self, reason: str, blame: int | None = None, code: int = PeerLost.exit_code) -> None:
        """Tell every peer, as far as possible, that the session is over and why; then close. Never raises.

        `reason` completes the sentence "party `blame` …" and must contain no secret. `blame` is by default the party
        of the error that this channel raised, otherwise this party. `code` is the exit code of the error.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave the session in good order: what was sent before still arrives. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Abort because of this exception, in words that hold no value of this party."""
        if isinstance(error, PeerLost | ProtocolError):
            self.abort(explain(error), error.party, error.exit_code)
        elif isinstance(error, MPCError) and error.exit_code in (Refused.exit_code, ConfigError.exit_code):
            self.abort(str(error).splitlines()[0], code=error.exit_code)
        elif isinstance(error, KeyboardInterrupt):
            self.abort("was interrupted by its operator")
        else:
            # Only the class: the text of an arbitrary exception may hold values, and peers must not see those.
            self.abort(f"stopped with {type(error).__name__}")
