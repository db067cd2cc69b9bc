"""`python -m mpc.cli` is `mpc`."""

from .commands import main

main()
