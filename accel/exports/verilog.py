"""A machine's hardware as Verilog, with a layer for its bench."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from accel.loading import LoadedNetwork, load_if_named
from accel.machines.choice import machine as choose_machine
from accel.machines.choice import read_mode
from accel.verification.layers import LayerCase, load_hardware
from golden.config import TomlConfig
from golden.machines.cluster.config import SkipMode

if TYPE_CHECKING:
    from accel.machines.machine import Machine

__all__ = ["write_verilog"]


def write_verilog(
    machine: str | TomlConfig | Machine,
    folder: str | os.PathLike[str],
    net: LoadedNetwork | str | None = None,
    layer: str | None = None,
    *,
    image: int = 0,
    rows: int | None = None,
    mode: SkipMode | str | None = None,
) -> list[Path]:
    """Write a machine's hardware as Verilog, a description of it, and a bench that runs it.

    With a network, the bench has a layer of it: what the hardware is given, the golden model's
    outputs and the simulator's counters. ``docs/verilog.md`` says what each file is.

    Parameters
    ----------
    machine : str, TomlConfig or Machine
        One that has hardware; small where it is named without a preset.
    folder : path
        It is made where there is none.
    net : LoadedNetwork or str, optional
    layer : str, optional
        Its name; the smallest of the network where None.
    image : int
        Which image, from 0.
    rows : int, optional
        Only so many output rows, from the first.
    mode : SkipMode, optional
        The mode that skips most where None.

    Returns
    -------
    list of path
        What was written.

    Raises
    ------
    CapacityError, ConfigError
        There is no such hardware, it can't do what the configuration asks for, or the layer does
        not fit.
    UserError
        There is no such layer or image, the folder can't be written, or a package is missing.
    """
    chosen = choose_machine(machine, hardware=True)
    hardware = load_hardware(chosen)
    from rtl.verilog.writer import LayerAnswer, write

    answers: list[LayerAnswer] = []
    if net is not None:
        loaded = load_if_named(net)
        case = LayerCase.build(loaded, layer, chosen, image, rows)
        skip = read_mode(chosen, mode)
        name = case.node.layer.name
        answers.append(
            LayerAnswer(
                name=f"{loaded.name}_{name}",
                run=case.run,
                mode=skip,
                codes=case.golden,
                counters=case.counters(skip),
                about={
                    "network": loaded.name,
                    "layer": name,
                    "image": image,
                    "rows": case.run.task.layer.out_height,
                },
            )
        )
    return write(hardware, chosen.config, Path(folder), answers)
