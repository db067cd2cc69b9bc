"""`python -m mpc.cli` is `mpc`."""

from . import main

main()
