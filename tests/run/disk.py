"""What a folder looks like after a crash: at every call that changes it, as a killed process leaves it and as a power cut does.

A power cut keeps of a file what was last fsynced, and of a folder the entries it had when it was last fsynced.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CALLS = ("open", "fsync", "replace", "rename", "unlink", "mkdir", "write")


class Disk:
    """Watches the folder `root` through the calls of `os`, and keeps its images in `images`, in pairs (killed, power cut)."""

    def __init__(self, root: Path, images: Path) -> None:
        self.root, self.folder, self.count, self.lock, self.busy = root, images, 0, threading.RLock(), False
        self.contents: dict[int, bytes] = {}  # inode -> what is on the disk itself
        self.entries: dict[int, dict[str, int]] = {}  # inode of a folder -> name, inode
        for path in [root, *root.rglob("*")]:
            self.sync(path)

    def sync(self, path: Path) -> None:
        inode = path.stat().st_ino
        if path.is_dir():
            self.entries[inode] = {p.name: p.stat().st_ino for p in path.iterdir()}
        else:
            self.contents[inode] = path.read_bytes()

    def snapshot(self) -> None:
        killed, cut = (self.folder / f"{self.count}-{kind}" for kind in ("killed", "cut"))
        shutil.copytree(self.root, killed)
        self._rebuild(self.root.stat().st_ino, cut)
        self.count += 1

    def _rebuild(self, inode: int, path: Path) -> None:
        if inode in self.entries:
            path.mkdir(mode=0o700)
            for name, child in self.entries[inode].items():
                self._rebuild(child, path / name)
        else:
            path.write_bytes(self.contents.get(inode, b""))
            path.chmod(0o600)

    def images(self) -> Iterator[Path]:
        """What may be left, in order of time."""
        for k in range(self.count):
            for kind in ("killed", "cut"):
                yield self.folder / f"{k}-{kind}"


@contextmanager
def watched(root: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """An image after every call in the block, and one at its end."""
    disk = Disk(root, images)
    folders: dict[int, dict[str, int]] = disk.entries

    def through(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            with disk.lock:
                result = real(*args, **options)
                if disk.busy:  # our own
                    return result
                disk.busy = True
                if name == "fsync":
                    path = Path(os.readlink(f"/proc/self/fd/{args[0]}"))
                    if path.is_relative_to(root):
                        disk.sync(path)
                elif name == "mkdir" and Path(args[0]).is_relative_to(root):
                    folders[Path(args[0]).stat().st_ino] = {}
                disk.snapshot()
                disk.busy = False
                return result

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, through(name, getattr(os, name)))
        yield disk
    disk.snapshot()
