"""Folders that survive a power cut: an entry is on the disk itself only when its folder was synced too."""

from __future__ import annotations

import os
from pathlib import Path


def sync(folder: Path) -> None:
    """Brings the entries of a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make(folder: Path) -> None:
    """Makes a folder for this user alone, and those above it, unless they are there; what is new is on the disk."""
    absent = [f for f in (folder, *folder.parents) if not f.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for new in reversed(absent):
        sync(new.parent)
