"""A runner of cocotb in a process of its own: ``python -m rtl.sim.runner``.

It takes what it is told from the environment and gives it to the simulator, so that whoever starts
this process chooses that environment. Its one argument is JSON: the simulator, the method
(``build`` or ``test``), and the method's arguments.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["run"]


def run(
    simulator: str, method: str, environment: dict[str, str], folder: Path, **arguments: Any
) -> None:
    """Build or run a bench.

    Parameters
    ----------
    environment : dict of str to str
        Variables beside this process's own.
    folder : Path
        Where the log goes, as ``build.log`` or ``test.log``.

    Raises
    ------
    RuntimeError
        It failed; with the end of the log.
    """
    log = folder / f"{method}.log"
    work = json.dumps([simulator, method, {**arguments, "log_file": str(log)}])
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    # Under pytest the runner would look for the results of its own tests.
    variables.pop("PYTEST_CURRENT_TEST", None)
    done = subprocess.run(
        [sys.executable, "-m", "rtl.sim.runner", work],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        text = log.read_text("utf-8", "replace") if log.exists() else ""
        raise RuntimeError(f"{done.stderr[-1000:]}\n{text[-2000:]}")


def _main(work: str) -> None:
    from cocotb_tools.runner import get_runner

    simulator, method, arguments = json.loads(work)
    getattr(get_runner(simulator), method)(**arguments)


if __name__ == "__main__":
    _main(*sys.argv[1:])
