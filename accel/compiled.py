"""`njit` for the whole package: how kernels are compiled, and where compiled ones are kept.

Numba keeps a compiled kernel until the kernel's own file changes and does not see the files of
what it calls. Here the folder is named by a digest of all files that kernels are made of.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numba.core.config
from numba.core.event import Event, Listener, register, unregister

from golden.files import cache_folder, user_temporary_folder

__all__ = ["helper", "inlined", "kernel_folder", "njit"]

# Numba's own types leave out what is set at run time, and how options are given.
numba_njit: Any = numba.njit
numba_config: Any = numba.core.config

_ROOT = Path(__file__).resolve().parents[1]
_IMPORT = re.compile(r"^from ((?:accel|golden)(?:\.\w+)*) import", re.MULTILINE)
#: Folders of kernels that nobody has used for so long are removed.
_DAYS_KEPT = 30


def njit(function: Callable) -> Any:
    """Compile a function when it is first called from Python, and keep it on disk; a decorator."""
    options = {"error_model": "numpy", "nogil": True}
    folder = kernel_folder()
    if folder is None:
        return numba_njit(**options)(function)
    # Numba reads this while it decorates. Kernels of others stay where they are.
    elsewhere = numba_config.CACHE_DIR
    numba_config.CACHE_DIR = str(folder)
    try:
        return numba_njit(cache=True, **options)(function)
    finally:
        numba_config.CACHE_DIR = elsewhere


def helper(function: Callable) -> Any:
    """Compile a function that only compiled ones call, as part of them; a decorator."""
    return numba_njit(error_model="numpy", no_cfunc_wrapper=True)(function)


def inlined(function: Callable) -> Any:
    """Put a function's own code in the place of each call, before anything is compiled.

    Each level of helpers is optimised once more with those above it; these are not.
    """
    return numba_njit(error_model="numpy", inline="always")(function)


@cache
def kernel_folder() -> Path | None:
    """Return the folder of compiled kernels, or None where none can be written.

    It is in ``NUMBA_CACHE_DIR`` where that is set, else in the user's cache, else among temporary
    files.
    """
    name = f"kernels-{_digest()}"
    asked_for = numba_config.CACHE_DIR
    bases = [Path(asked_for) / "innerjoin"] if asked_for else []
    for base in (*bases, cache_folder(), user_temporary_folder()):
        if _can_write(base / name):
            return base / name
    return None


class _Announcer(Listener):
    """Says on a terminal that something of this package is being compiled, once a process."""

    def on_start(self, event: Event) -> None:
        if event.data and event.data["dispatcher"].py_func.__module__.startswith("accel."):
            unregister("numba:compile", self)
            if sys.stderr.isatty():
                print("Compiling the simulator's kernels, once ...", file=sys.stderr, flush=True)

    def on_end(self, event: Event) -> None:
        pass


register("numba:compile", _Announcer())


def _can_write(folder: Path) -> bool:
    """Make a folder that nobody else can write; say whether that is so."""
    try:
        made = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What is read from there is run.
        if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o022:
            return False
        tempfile.TemporaryFile(dir=folder).close()
        if made:
            _remove_old(folder.parent)
        os.utime(folder)
    except OSError:
        return False
    return True


def _remove_old(base: Path) -> None:
    """Remove folders of kernels that have not been used for long."""
    for folder in base.glob("kernels-*"):
        if time.time() - folder.stat().st_mtime > _DAYS_KEPT * 24 * 3600:
            shutil.rmtree(folder, ignore_errors=True)


def _digest() -> str:
    """Digest the files that define kernels, and those that they import."""
    found = {
        path
        for path in (_ROOT / "accel").rglob("*.py")
        if b"from accel.compiled import" in path.read_bytes()
    }
    found.add(Path(__file__))
    left = list(found)
    while left:
        for module in _IMPORT.findall(left.pop().read_text(encoding="utf-8")):
            path = _ROOT.joinpath(*module.split(".")).with_suffix(".py")
            if path.exists() and path not in found:
                found.add(path)
                left.append(path)
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
