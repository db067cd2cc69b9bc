"""Ctrl-C ends a party wherever it strikes."""

from __future__ import annotations

import signal
import sys
import weakref

import pytest

from mpc.cli.parties import stoppable


class Thing:
    pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_block_once(number: int):
    left = []
    with pytest.raises(KeyboardInterrupt), stoppable():
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # a second one does not disturb what is tidied up
            left.append(True)
    assert left and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_strikes_in_a_callback_strikes_again(capfd: pytest.CaptureFixture[str]):
    """Python prints and drops an exception that leaves the callback of a weak reference."""
    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), stoppable():
        thing = Thing()
        reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        del thing
        assert reference() is None
        signal.sigtimedwait([], 5)
        pytest.fail("it was dropped")
    assert sys.unraisablehook is before and "ignored" not in capfd.readouterr().err
