"""The command line: `mpc run`, `mpc cost`, `mpc audit`, `mpc protocols`, `mpc bench`, `mpc report`."""

from .bench import bench, report
from .commands import main
from .progress import run_live
