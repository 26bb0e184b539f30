"""A network as one image of a chip's memory, with what a C program needs beside it."""

from __future__ import annotations

import os
from pathlib import Path

from accel.chip.simulator import choose_chip
from accel.loading import LoadedNetwork, load_if_named
from golden.chip.compiler import compile_network
from golden.chip.config import ChipConfig
from golden.errors import UserError
from golden.files import write_whole
from golden.machines.cluster.config import SkipMode

__all__ = ["export"]


def export(
    net: LoadedNetwork | str,
    path: str | os.PathLike[str],
    chip: ChipConfig | str | os.PathLike[str] = "board",
    *,
    image: int | None = None,
    skip: SkipMode = SkipMode.BOTH,
    driver: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Write a network as one image of a chip's memory, with a C header beside it.

    The header has sizes, addresses and scales; beside it lies that of the chip's registers, which
    is the same for every network. ``docs/soc.md`` says what to do with them.

    Parameters
    ----------
    path : path
        A ``.bin`` file.
    chip : ChipConfig, str or path
        A chip, its preset's name, or its TOML file.
    image : int, optional
        Store this of the network's images, from 0; none where None.
    skip : SkipMode
        Which zeros the chip skips.
    driver : path, optional
        Folder that the driver's C files are written to as well; it is made where there is none.

    Returns
    -------
    list of path
        What was written.

    Raises
    ------
    CapacityError
        A layer does not fit the chip.
    UserError
        The chip can't run the network, there is no such image, or a file can't be written.
    """
    from rtl.chip.control.partition import COUNTERS
    from rtl.chip.driver.headers import driver_sources, image_header, registers_header

    target = Path(path)
    if target.suffix != ".bin":
        raise UserError(f"Image must be written to a .bin file, not {str(path)!r}")
    loaded = load_if_named(net)
    if image is not None and not 0 <= image < len(loaded.images):
        raise UserError(f"Image must be from 0 to {len(loaded.images) - 1}, not {image}")
    config = choose_chip(chip if isinstance(chip, ChipConfig) else Path(chip))
    program = compile_network(loaded.network, config, skip)
    octets = program.image if image is None else program.memory(loaded.images[image])
    header = image_header(program, target.stem, has_image=image is not None)
    files: dict[Path, bytes | str] = {
        target: octets.tobytes(),
        target.with_suffix(".h"): header,
        target.with_name("innerjoin_registers.h"): registers_header(COUNTERS),
    }
    if driver is not None:
        folder = Path(driver)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"Folder {folder} can't be made: {error.strerror}") from None
        files |= {folder / name: text for name, text in driver_sources().items()}
    for place, data in files.items():
        write_whole(place, data, f"File {place}")
    return list(files)
