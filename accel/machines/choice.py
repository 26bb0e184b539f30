"""Which machine a description means: a name, a preset, a file, a configuration; and its modes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golden.config import TomlConfig
from golden.errors import ConfigError, UserError
from golden.machines import registry
from golden.machines.cluster.config import SkipMode

if TYPE_CHECKING:
    from accel.machines.machine import Machine

__all__ = ["choose_config", "machine", "read_mode", "read_modes"]


def machine(
    described: str | TomlConfig | Machine,
    multipliers: int | None = None,
    *,
    hardware: bool = False,
) -> Machine:
    """Return a machine as its description says.

    Parameters
    ----------
    described : str, TomlConfig or Machine
        A name (``accel machines``), a preset of the default machine, ``machine:preset``, or a
        configuration of any kind of machine.
    multipliers : int, optional
        Scale a machine that is named without a preset to so many multipliers.
    hardware : bool
        It must have hardware; one that is named without a preset is small.

    Raises
    ------
    ConfigError
        There is no such machine or preset, or it can't have so many multipliers.
    """
    chosen = _describe(described, multipliers, hardware)
    if hardware:
        registry.find(chosen.name).require_hardware()
    return chosen


def _describe(
    described: str | TomlConfig | Machine, multipliers: int | None, hardware: bool
) -> Machine:
    if isinstance(described, TomlConfig):
        model = registry.find(registry.kind_of(described)).load_model()
        return model(described)
    if not isinstance(described, str):
        return described
    name, _, preset = described.partition(":")
    if not preset and name not in registry.MACHINES:
        presets = registry.find(registry.DEFAULT).load_config().preset_names()
        if name not in presets:
            raise ConfigError(
                f"Machine must be one of {', '.join(registry.MACHINES)}, a preset of "
                f"{registry.DEFAULT} ({', '.join(presets)}) or NAME:PRESET, not {described!r}"
            )
        name, preset = registry.DEFAULT, name
    kind = registry.find(name)
    model = kind.load_model()
    if multipliers is not None and not preset:
        return model.with_multipliers(multipliers)
    default = model.hardware_preset if hardware else model.preset
    return model(kind.load_config().preset(preset or default))


def choose_config(
    name: str = registry.DEFAULT,
    *,
    preset: str | None = None,
    config: str | os.PathLike[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    hardware: bool = False,
) -> Machine:
    """Return a named machine from a preset or a file, with some fields changed.

    Parameters
    ----------
    name : str
        A machine (``accel machines``).
    preset : str, optional
        One of its presets; the machine's own where neither is given.
    config : path, optional
        A TOML file with all keys.
    changes : dict of str to object, optional
        Fields to change; they are added to the machine's name.
    hardware : bool
        It must have hardware; its small configuration is meant where none is named.

    Raises
    ------
    ConfigError
        Both a preset and a file are given, or a key or value is bad.
    """
    if preset is not None and config is not None:
        raise ConfigError("A machine must be given by --preset or by --config, not by both")
    kind = registry.find(name)
    if hardware:
        kind.require_hardware()
    model, cls = kind.load_model(), kind.load_config()
    default = model.hardware_preset if hardware else model.preset
    chosen = cls.from_toml(Path(config)) if config is not None else cls.preset(preset or default)
    if not changes:
        return model(chosen)
    fields = {**chosen.to_dict(), **changes}
    if "name" not in changes:
        described = ", ".join(f"{key}={value}" for key, value in changes.items())
        fields["name"] = f"{fields['name']} with {described}"
    return model(cls.from_dict(fields, where="--set"))


def read_mode(machine: Machine, mode: SkipMode | str | None) -> SkipMode:
    """Return the mode that is meant; the one that skips most where None.

    Raises
    ------
    UserError
        The machine has no such mode.
    """
    return read_modes(machine, machine.modes[-1:] if mode is None else [mode])[0]


def read_modes(machine: Machine, modes: Iterable[SkipMode | str] | None) -> tuple[SkipMode, ...]:
    """Return the modes that are meant; all that the machine has where None.

    Raises
    ------
    UserError
        The machine has no such mode.
    """
    if modes is None:
        return machine.modes
    given = [modes] if isinstance(modes, str) else list(modes)
    accepted = ", ".join(mode.value for mode in machine.modes)
    if not given:
        raise UserError(f"Skip modes of {machine.name} must be one or more of {accepted}, not none")
    for mode in given:
        if mode not in list(machine.modes):
            raise UserError(
                f"Skip mode of {machine.name} must be one of {accepted}, not {str(mode)!r}"
            )
    return tuple(dict.fromkeys(SkipMode(mode) for mode in given))
