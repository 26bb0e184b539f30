"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from golden.errors import UserError

__all__ = ["write_whole"]


def write_whole(path: Path, data: bytes, name: str) -> None:
    """Write a file beside its place, then rename it.

    Parameters
    ----------
    name : str
        What messages call the file.

    Raises
    ------
    UserError
        It can't be written; what was there before is still there.
    """
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise UserError(f"{name} can't be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
