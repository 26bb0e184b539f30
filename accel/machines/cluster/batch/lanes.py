"""Vectors of fixed width inside Numba functions, whose lanes are machines or columns.

A `LaneVector` holds unsigned integers: 16 or 32 of 16 bits, or 32 of 8 bits. Arrays are given by
their addresses (`addresses`), and indices are flat; nobody checks them.
"""

from __future__ import annotations

import operator
from typing import Any, cast

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.core.typing import templates
from numba.core.typing.templates import AbstractTemplate, signature
from numba.extending import models, register_model

__all__ = [
    "COLUMNS",
    "MACHINES",
    "LaneVector",
    "addresses",
    "count_ones",
    "excess",
    "largest",
    "load_columns",
    "load_machines",
    "maximum",
    "splat_columns",
    "splat_machines",
    "store",
    "widen",
]

#: Machines of a batch, side by side.
MACHINES = 16
#: Columns, one for each unit of a pass, that are counted at once.
COLUMNS = 32

#: Callers don't give the first parameter, the typing context, which type checkers can't know.
intrinsic = cast(Any, extending.intrinsic)
infer_global = cast(Any, templates.infer_global)
lower_builtin = cast(Any, extending.lower_builtin)


class LaneVector(types.Type):
    """Numba type of ``lanes`` unsigned integers of ``bits`` bits."""

    def __init__(self, lanes: int, bits: int) -> None:
        self.lanes = lanes
        self.bits = bits
        super().__init__(name=f"LaneVector({lanes}, {bits})")

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(ir.IntType(self.bits), self.lanes)


@register_model(LaneVector)
class _LaneVectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, vector.llvm)


def _call(builder, name, vector, arguments, result=None):
    """Call an LLVM intrinsic that is overloaded on a vector type."""
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(result or vector.llvm, [argument.type for argument in arguments]),
        f"llvm.{name}.v{vector.lanes}i{vector.bits}",
    )
    return builder.call(function, arguments)


@intrinsic
def addresses(typingctx, group):
    """Replace each array of a NamedTuple by its address.

    Addresses cost nothing to pass on, while an array has a reference count. The arrays must
    outlive them.
    """
    del typingctx
    fields = [
        types.CPointer(each.dtype) if isinstance(each, types.Array) else each for each in group
    ]

    def generate(context, builder, signature, arguments):
        values = [
            context.make_array(each)(context, builder, value).data
            if isinstance(each, types.Array)
            else value
            for each, value in zip(
                signature.args[0], cgutils.unpack_tuple(builder, arguments[0]), strict=True
            )
        ]
        return context.make_tuple(builder, signature.return_type, values)

    return types.NamedTuple(fields, group.instance_class)(group), generate


def _make_load(lanes: int):
    @intrinsic
    def load(typingctx, memory, at):
        del typingctx, at
        vector = LaneVector(lanes, memory.dtype.bitwidth)

        def generate(context, builder, signature, arguments):
            del context, signature
            address = builder.gep(arguments[0], [arguments[1]])
            pointer = builder.bitcast(address, ir.PointerType(vector.llvm))
            return builder.load(pointer, align=vector.bits // 8)

        return vector(memory, types.intp), generate

    return load


def _make_splat(lanes: int):
    @intrinsic
    def splat(typingctx, value):
        del typingctx
        vector = LaneVector(lanes, value.bitwidth)

        def generate(context, builder, signature, arguments):
            del context, signature
            empty = ir.Constant(vector.llvm, ir.Undefined)
            first = builder.insert_element(empty, arguments[0], ir.Constant(ir.IntType(32), 0))
            order = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            return builder.shuffle_vector(first, empty, order)

        return vector(value), generate

    return splat


load_machines, load_columns = _make_load(MACHINES), _make_load(COLUMNS)
splat_machines, splat_columns = _make_splat(MACHINES), _make_splat(COLUMNS)


@intrinsic
def store(typingctx, memory, at, vector):
    """Store a vector from flat index ``at`` on."""
    del typingctx, at

    def generate(context, builder, signature, arguments):
        del signature
        address = builder.gep(arguments[0], [arguments[1]])
        pointer = builder.bitcast(address, ir.PointerType(vector.llvm))
        builder.store(arguments[2], pointer, align=vector.bits // 8)
        return context.get_dummy_value()

    return types.none(memory, types.intp, vector), generate


def _make_binary(name: str):
    @intrinsic
    def apply(typingctx, first, second):
        del typingctx

        def generate(context, builder, signature, arguments):
            del context, signature
            return _call(builder, name, first, arguments)

        return first(first, second), generate

    return apply


#: The larger of each two lanes, and the first less the second where it is larger, else 0.
maximum, excess = _make_binary("umax"), _make_binary("usub.sat")


@intrinsic
def count_ones(typingctx, vector):
    """Count the ones of each lane."""
    del typingctx

    def generate(context, builder, signature, arguments):
        del context, signature
        return _call(builder, "ctpop", vector, [arguments[0]])

    return vector(vector), generate


@intrinsic
def widen(typingctx, vector):
    """Make every lane twice as wide."""
    del typingctx
    wide = LaneVector(vector.lanes, 2 * vector.bits)

    def generate(context, builder, signature, arguments):
        del context, signature
        return builder.zext(arguments[0], wide.llvm)

    return wide(vector), generate


@intrinsic
def largest(typingctx, vector):
    """Return the largest lane."""
    del typingctx
    scalar = types.Integer.from_bitwidth(vector.bits, signed=False)

    def generate(context, builder, signature, arguments):
        del context, signature
        return _call(builder, "vector.reduce.umax", vector, arguments, ir.IntType(vector.bits))

    return scalar(vector), generate


def _register(symbol, operation: str) -> None:
    """Make an operator of Python mean an instruction on two vectors of a kind."""

    @infer_global(symbol)
    class _Template(AbstractTemplate):
        def generic(self, args, kws):
            if not kws and isinstance(args[0], LaneVector) and args[0] == args[-1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(symbol, LaneVector, LaneVector)
    def _lower(context, builder, signature, arguments):
        del context, signature
        return getattr(builder, operation)(*arguments)


_register(operator.add, "add")
_register(operator.sub, "sub")
_register(operator.and_, "and_")
_register(operator.xor, "xor")
_register(operator.rshift, "lshr")
