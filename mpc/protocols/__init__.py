"""Shares: one file per protocol, over `ring` alone (no sockets, no programs)."""
