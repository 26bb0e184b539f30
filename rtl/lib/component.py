"""The base of all blocks: a component whose ports come from a configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any

from amaranth.hdl import Fragment, Module, ResetInserter
from amaranth.lib import wiring

__all__ = ["Component", "Elaborate", "PlacingPlatform", "VerilogPlatform", "ports"]

Elaborate = Callable[[Any, Any], Module | Fragment]


class PlacingPlatform(ABC):
    """Given to ``elaborate`` by who wants to see each block of a design."""

    @abstractmethod
    def place(self, component: Component, elaborate: Elaborate) -> Module | Fragment:
        """Return what stands for a block where it is used.

        Parameters
        ----------
        elaborate : callable
            The block's own, which takes the block and the platform.
        """


class VerilogPlatform(PlacingPlatform):
    """The same where a design is written as Verilog, a module for each block."""


class Component(wiring.Component):
    """A component; the members of its signature are its attributes.

    Blocks of one class that are made of the same arguments are the same hardware.

    Attributes
    ----------
    made_of : tuple
        The arguments that it was made of.
    also_reset : Value or None
        Who uses the block may set it: it resets all of it as the reset of its clock domain does.
    """

    #: Written where it is used, not as a module of its own.
    inline = False
    made_of: tuple[Any, ...]
    also_reset: Any = None

    if TYPE_CHECKING:
        # Signatures are made at run time, so that no annotation can name their members.
        def __getattr__(self, name: str) -> Any: ...
        def elaborate(self, platform: Any) -> Any: ...

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        self = super().__new__(cls)
        self.made_of = (arguments, options)
        return self

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if (own := cls.__dict__.get("elaborate")) is not None and not cls.inline:
            setattr(cls, "elaborate", _placed(own))  # noqa: B010


def _placed(own: Elaborate) -> Elaborate:
    """Return an ``elaborate`` that asks the platform what stands for the block."""

    @wraps(own)
    def elaborate(self: Component, platform: Any) -> Module | Fragment:
        if isinstance(platform, PlacingPlatform):
            return platform.place(self, own)
        made = own(self, platform)
        return made if self.also_reset is None else ResetInserter(self.also_reset)(made)

    return elaborate


def ports(signature: wiring.Signature, interface: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, member and value of each port of an interface, flattened as in Verilog."""
    for path, member, value in signature.flatten(interface):
        yield "__".join(map(str, path)), member, value
