"""Verilog of yosys with legal names, so that none must be escaped, and without its notes."""

from __future__ import annotations

import re

__all__ = ["tidy"]

#: An attribute in front of a declaration or within an expression.
_ATTRIBUTE = re.compile(r"(?m)^ *\(\* (\w+) = [^*]*\*\)\n|\(\* (\w+) = [^*]*\*\) ?")
#: Attributes that synthesis heeds.
_KEPT = {"keep"}
#: An escaped name and the space that ends it; more of it only before what needs none.
_ESCAPED = re.compile(r"\\(\S+) (?: +(?=[;,)\[]))?")
_WORD = re.compile(r"(?<![\w$'\\.])[A-Za-z_]\w*")
_LEGAL = re.compile(r"[A-Za-z_]\w*")


def tidy(text: str) -> str:
    """Return Verilog as it is read more easily.

    Yosys names what has no name after its neighbours, with characters that must be escaped.
    """
    modules = re.split(r"(?m)^(?=module )", text)
    return "".join([modules[0], *(_tidy_module(module) for module in modules[1:])])


def _tidy_module(text: str) -> str:
    text = _ATTRIBUTE.sub(lambda m: m[0] if _KEPT & {m[1], m[2]} else "", text)
    taken = set(_WORD.findall(text))
    names: dict[str, str] = {}

    def legal(match: re.Match[str]) -> str:
        old = match[1]
        if _LEGAL.fullmatch(old):  # a keyword, which may be a port: the same in all modules
            return f"{old}_"
        if old not in names:
            names[old] = _free(_plain(old), taken)
        return names[old]

    return _ESCAPED.sub(legal, text)


def _plain(name: str) -> str:
    """Return a legal name: of what is part of a signal, that signal's, and which part.

    Yosys calls the input of ``count``'s flip-flop ``count_$dff_Q_D``, that of a multiplexer before
    it ``count_$dff_Q_D_$mux_Y_A``, and so on for hundreds of characters.
    """
    root, _, way = name.partition("_$")
    if way:
        root = f"{root}_next" if way == "dff_Q_D" else f"{root}_part"
    return re.sub(r"[\W_]+", "_", root).strip("_")


def _free(name: str, taken: set[str]) -> str:
    """Return the name, or one like it where it is taken; it is taken from now on."""
    if not name[0].isalpha():
        name = f"n{name}"
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found
