"""The command line: `mpc run`, `mpc cost`, `mpc audit`, `mpc bench`, and what parties on separate hosts need."""

from .bench import bench, report
from .commands import main
from .doctor import doctor
from .keygen import compare, keygen
from .parties import approve, party
from .progress import run_live

for command in (approve, compare, doctor, keygen, party):
    main.add_command(command)
