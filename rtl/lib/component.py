"""The base of all blocks: a component whose ports come from a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from amaranth.hdl import Module
from amaranth.lib import wiring

__all__ = ["Component", "ports"]


class Component(wiring.Component):
    """A component; the members of its signature are its attributes."""

    if TYPE_CHECKING:
        # Signatures are made at run time, so that no annotation can name their members.
        def __getattr__(self, name: str) -> Any: ...
        def elaborate(self, platform: Any) -> Module: ...


def ports(signature: wiring.Signature, interface: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, member and value of each port of an interface, flattened as in Verilog."""
    for path, member, value in signature.flatten(interface):
        yield "__".join(map(str, path)), member, value
