"""The command line: `mpc run`, `mpc cost`, `mpc audit`, `mpc protocols`."""

from .commands import main
from .progress import run_live
