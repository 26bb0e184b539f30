"""Reading and writing files that a user names: regular ones only, and whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from golden.errors import UserError

__all__ = [
    "cache_folder",
    "check_writable",
    "read_bytes",
    "temporary_folder",
    "user_temporary_folder",
    "write_whole",
]

#: How temporary files and folders begin; those of killed processes go after so long.
_PREFIXES = (".innerjoin-", "innerjoin-")
_LEFTOVER_SECONDS = 3600


def cache_folder() -> Path:
    """Return the folder of what is made once and kept; it may not exist, or not be writable.

    It is in ``XDG_CACHE_HOME`` where that is set, else in the user's cache, else among temporary
    files.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "innerjoin"
    except RuntimeError:  # nobody's home
        return user_temporary_folder()


def user_temporary_folder() -> Path:
    """Return the folder of this user among temporary files."""
    return Path(tempfile.gettempdir()) / f"innerjoin-{os.getuid()}"


def read_bytes(path: str | os.PathLike[str], name: str) -> bytes:
    """Return what a regular file holds; links are followed.

    Parameters
    ----------
    name : str
        What messages call the file, such as "Model x.onnx".

    Raises
    ------
    UserError
        There is none, it can't be read, or it is a folder, a device or a pipe.
    """
    with _told(name, "read"):
        # Not to wait for ever at a pipe that nobody writes.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UserError(f"{name} must be a regular file, not a folder, device or pipe")
            return file.read()


def check_writable(path: str | os.PathLike[str], name: str) -> Path:
    """Refuse a file that can't be written, before the work that would be lost.

    Returns
    -------
    Path
        The file that will be written: where ``path`` is a link, what it leads to.

    Raises
    ------
    UserError
        Its folder does not exist or can't be written, or it is a folder, a device or a pipe.
    """
    place = Path(path)
    with _told(name, "written"):
        try:
            target = place.resolve()
        except RuntimeError:  # a link that leads to itself, in older versions of Python
            raise UserError(f"{name} can't be written: its links lead in a circle") from None
        if target.exists() and not target.is_file():
            raise UserError(f"{name} must be a regular file, not a folder, device or pipe")
        if target.is_symlink():
            raise UserError(f"{name} can't be written: its links lead in a circle")
        if not target.parent.is_dir():
            raise UserError(
                f"{name} must lie in a folder that exists, not in {str(target.parent)!r}"
            )
        # Access bits say nothing on a read-only file system, and a name may be too long, so
        # both are tried.
        os.stat(target.parent)
        if not target.exists():
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            target.unlink()
        tempfile.TemporaryFile(dir=target.parent).close()
    return target


def write_whole(path: str | os.PathLike[str], data: bytes | str, name: str) -> None:
    """Write a file beside its place, then rename it; links are followed.

    Parameters
    ----------
    data : bytes or str
        Text is written as UTF-8.
    name : str
        What messages call the file.

    Raises
    ------
    UserError
        As ``check_writable``, or the disk is full; what was there before is still there.
    """
    target = check_writable(path, name)
    _sweep(target.parent, _PREFIXES[0])
    octets = data.encode() if isinstance(data, str) else data
    temporary = None
    with _told(name, "written"):
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=_PREFIXES[0], dir=target.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(octets)
                file.flush()
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~mask
            os.chmod(temporary, mode)
            os.replace(temporary, target)
            temporary = None
        finally:
            if temporary is not None:
                Path(temporary).unlink(missing_ok=True)


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Make a folder that is removed at the end, or by a later call where this one is killed."""
    _sweep(Path(tempfile.gettempdir()), _PREFIXES[1])
    with tempfile.TemporaryDirectory(prefix=_PREFIXES[1]) as folder:
        yield Path(folder)


def _sweep(folder: Path, prefix: str) -> None:
    """Remove what killed processes of this user left; what can't be removed stays."""
    for path in folder.glob(f"{prefix}*"):
        try:
            found = path.lstat()
            if found.st_uid != os.getuid() or time.time() - found.st_mtime < _LEFTOVER_SECONDS:
                continue
            if stat.S_ISDIR(found.st_mode):
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        except OSError:  # another process was faster
            continue


@contextmanager
def _told(name: str, done: str) -> Generator[None]:
    """Turn the system's errors into one line."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{name} can't be {done}: {error.strerror or error}") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name} can't be {done}: {error}") from None
