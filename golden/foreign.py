"""One gate for other libraries: silent while they work, and their exceptions in our words."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager

from golden.errors import FormatError, UserError, one_line

__all__ = ["foreign"]

#: How ONNX Runtime begins where a node fails: the node, and a place of its source.
_NODE = re.compile(
    r"^Non-zero status code returned while running (\w+) node\. Name:'([^']*)' "
    r"Status Message: (\S+\.(?:cc|h):\d+ .*? : )?"
)

_ORIGIN = re.compile(
    r"^\[ONNXRuntimeError\] : (\d+ : [A-Z_]+ : )?(This is an invalid model\. )?(/\S+:\d+ .*?\) )?"
)


@contextmanager
def foreign(words: str, error: type[UserError] = FormatError) -> Generator[None]:
    """Run another library on what a user gave.

    Its warnings and log records are dropped. Whatever it raises becomes an ``error`` that
    begins with ``words``: libraries document few of the exceptions that damaged files cause
    (``tokenize.TokenError``, ``zipfile.BadZipFile``, ``RecursionError``, a plain Exception).

    Parameters
    ----------
    words : str
        What has failed and what was expected, such as "Model x.onnx must be ONNX".

    Raises
    ------
    UserError
        Of type ``error``; those that are raised inside pass as they are.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except MemoryError:
        raise error(f"{words}: there is not enough memory for it") from None
    except RecursionError:
        raise error(f"{words}: it is nested too deeply") from None
    except OSError as problem:
        raise error(f"{words}: {problem.strerror or _reason(problem)}") from None
    except Exception as problem:
        raise error(f"{words}: {_reason(problem)}") from None
    finally:
        logging.disable(before)


def _reason(problem: Exception) -> str:
    """Return the first line of a message, or the exception's name where there is none."""
    if isinstance(problem, KeyError):
        return one_line(f"it lacks {problem}", 160)
    if isinstance(problem, TypeError | AttributeError | IndexError):
        return "a part of it has another form"
    if isinstance(problem, EOFError):
        return "it is cut short"
    if "weights_only" in str(problem):  # PyTorch's advice is to run what a file holds
        return "it holds something else than weights"
    # ONNX Runtime begins with its name, a number, its word for it, and a place of its source.
    lines = _NODE.sub(r"\1 node \2: ", _ORIGIN.sub("", str(problem).strip())).splitlines()
    return one_line(lines[0], 160) if lines else type(problem).__name__
