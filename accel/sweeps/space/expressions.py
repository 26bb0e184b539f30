"""Expressions over a point's fields, such as ``units * clusters <= 1024``: they only compute."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from golden.errors import UserError

__all__ = ["Expression"]

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.Not: operator.not_,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}
#: Longer ones are a mistake, or an attack.
_CHARACTERS_MAX = 1000


class Expression:
    """An expression in Python's syntax.

    It has numbers, texts, lists, names of fields, ``+ - * / // %``, comparisons (``in`` too),
    ``and or not``, ``a if b else c``, ``min``, ``max`` and ``abs``.

    Raises
    ------
    UserError
        It is not such an expression.
    """

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        if len(self.text) > _CHARACTERS_MAX:
            raise UserError(f"Expression must have at most {_CHARACTERS_MAX} characters")
        try:
            self._tree = ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise UserError(f"Expression must be in Python's syntax, not {self.text!r}") from None
        self.names = {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}
        self.names -= set(_FUNCTIONS)
        for node in ast.walk(self._tree):
            self._check(node)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def value(self, fields: Mapping[str, Any]) -> Any:
        """Return its value at a point.

        Raises
        ------
        UserError
            It has none there: a division by zero, or text where a number should be.
        """
        try:
            return self._value(self._tree, fields)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise UserError(f"Expression {self.text!r} must have a value: {error}") from None

    def _check(self, node: ast.AST) -> None:
        known = (
            ast.Name, ast.Constant, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp,
            ast.List, ast.Tuple, ast.Load, ast.boolop, *_BINARY, *_UNARY, *_COMPARE,
        )  # fmt: skip
        is_call = (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in _FUNCTIONS
            and not node.keywords
        )
        if not is_call and not isinstance(node, known):
            raise UserError(
                f"Expression must be arithmetic and comparisons of fields, not {self.text!r}"
            )

    def _value(self, node: ast.AST, fields: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return fields[node.id]
            case ast.BinOp():
                left, right = self._value(node.left, fields), self._value(node.right, fields)
                if isinstance(left, (str, list)) or isinstance(right, (str, list)):
                    raise TypeError("arithmetic is for numbers")
                return _BINARY[type(node.op)](left, right)
            case ast.UnaryOp():
                return _UNARY[type(node.op)](self._value(node.operand, fields))
            case ast.BoolOp():
                values = [bool(self._value(each, fields)) for each in node.values]
                return all(values) if isinstance(node.op, ast.And) else any(values)
            case ast.Compare():
                left = self._value(node.left, fields)
                for test, right_node in zip(node.ops, node.comparators, strict=True):
                    right = self._value(right_node, fields)
                    if not _COMPARE[type(test)](left, right):
                        return False
                    left = right
                return True
            case ast.IfExp():
                chosen = node.body if self._value(node.test, fields) else node.orelse
                return self._value(chosen, fields)
            case ast.List() | ast.Tuple():
                return [self._value(each, fields) for each in node.elts]
            case ast.Call(func=ast.Name(id=name)):
                return _FUNCTIONS[name](*(self._value(each, fields) for each in node.args))
        raise UserError(f"Expression must be arithmetic and comparisons, not {self.text!r}")
