"""Loading a user's program file: it is Python, so loading runs it."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

from ..errors import MPCError, UsageError
from ..lang.program import Program

PACKAGE = Path(__file__).resolve().parent.parent


class ProgramError(MPCError):
    """The user's own code failed. The message names its line."""


class _AsWritten(SourceFileLoader):
    """Loads what the file says now. Python's cache of compiled modules takes a file of the same size and second for the same,
    and then another program would run than the parties have agreed on."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def load_program(path: str) -> Program:
    """The `@mpc.program` of a file: the one named `main`, else the only one. Its folder is on the import path."""
    file = Path(path).resolve()
    if not file.is_file():
        raise UsageError(f"no program file {path}: looked for from {Path.cwd()}. Give the Python file that holds @mpc.program")
    if file.suffix != ".py":
        raise UsageError(f"{path}: a program is a Python file (.py)")
    name = f"mpc_program_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file, loader=_AsWritten(name, str(file)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    sys.modules[name] = module  # dataclasses look their module up
    with user_code():
        spec.loader.exec_module(module)
    found = {n: v for n, v in vars(module).items() if isinstance(v, Program)}
    own = {n: v for n, v in found.items() if v.main.__module__ == name} or found
    if not own:
        raise UsageError(
            f"{path} has no function decorated with @mpc.program.\n"
            "    Write @mpc.program above it, and annotate its parameters with mpc.Input and its result with mpc.Output."
        )
    if "main" in own:
        return own["main"]
    if len({id(v) for v in own.values()}) > 1:
        raise UsageError(f"{path} has several programs ({', '.join(own)}); name the one to run `main`")
    return next(iter(own.values()))


@contextmanager
def user_code() -> Iterator[None]:
    """Turns an error of the user's code into one message with its line; our own bugs keep their traceback."""
    try:
        yield
    except (MPCError, KeyboardInterrupt):
        raise
    except SyntaxError as error:
        raise ProgramError(f"{Path(error.filename or '').name}:{error.lineno}: {error.msg}") from None
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen importlib")]
        theirs = [f for f in frames if not Path(f.filename).is_relative_to(PACKAGE)]
        if not theirs or (frames[-1] is not theirs[-1] and not isinstance(error, (ValueError, TypeError, ArithmeticError))):
            raise
        last = theirs[-1]
        text = f"    {last.line}" if last.line else ""
        raise ProgramError(f"{Path(last.filename).name}:{last.lineno}: {type(error).__name__}: {error}\n{text}") from None
