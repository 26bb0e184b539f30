"""Fixed-width integer vectors inside Numba functions: what LLVM would else have to find by itself.

A `Vector` is an LLVM vector of all units of a cluster. LLVM splits it into the machine's
registers, whatever their width, so the kernels that use it are portable; they hold the state of
the units in registers over a whole run of steps, which arrays can't be.

Numba keeps compiled kernels on disk until their own file changes: who changes this one must
touch those that import it.
"""

from __future__ import annotations

import operator
from typing import Any, cast

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, overload, register_model

__all__ = [
    "LANE_BLOCK",
    "Vector",
    "count_ones",
    "element",
    "largest",
    "load",
    "maximum",
    "nonzero_mask",
    "popcount",
    "splat",
    "store",
]

#: A tag of length n makes vectors of ``n * LANE_BLOCK`` lanes.
LANE_BLOCK = 16

#: Callers don't give the first parameter, the typing context, which type checkers can't know.
intrinsic = cast(Any, extending.intrinsic)


class Vector(types.Type):
    """Numba type of ``lanes`` integers of ``bits`` bits."""

    def __init__(self, lanes: int, bits: int) -> None:
        self.lanes = lanes
        self.bits = bits
        super().__init__(name=f"Vector({lanes}, {bits})")

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(ir.IntType(self.bits), self.lanes)

    @property
    def suffix(self) -> str:
        """What LLVM's intrinsics append to their name."""
        return f"v{self.lanes}i{self.bits}"


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, vector.llvm)


def _call(builder, name, vector, arguments, result=None):
    """Call an LLVM intrinsic that is overloaded on a vector type."""
    signature = ir.FunctionType(result or vector.llvm, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(
        builder.module, signature, f"llvm.{name}.{vector.suffix}"
    )
    return builder.call(function, arguments)


def _pointer(context, builder, array_type, array, at, vector):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), ir.PointerType(vector.llvm))


@intrinsic
def load(typingctx, array, at, tag):
    """Load ``len(tag) * LANE_BLOCK`` elements of a C-ordered array from flat index ``at``."""
    del typingctx, at
    vector = Vector(len(tag) * LANE_BLOCK, array.dtype.bitwidth)

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1], vector)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp, tag), generate


@intrinsic
def element(typingctx, array, at):
    """Read one element of a C-ordered array at a flat index that is known not to be negative."""
    del typingctx, at

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.load(builder.gep(data, [arguments[1]]))

    return array.dtype(array, types.intp), generate


@intrinsic
def store(typingctx, array, at, vector):
    """Store a vector in a C-ordered array from flat index ``at``."""
    del typingctx, at

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1], vector)
        builder.store(arguments[2], pointer, align=vector.bits // 8)
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), generate


@intrinsic
def splat(typingctx, value, like):
    """Give every lane of a vector like ``like`` one value."""
    del typingctx
    scalar = types.Integer.from_bitwidth(like.bits)

    def generate(context, builder, signature, arguments):
        del context, signature
        empty = ir.Constant(like.llvm, ir.Undefined)
        first = builder.insert_element(empty, arguments[0], ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), like.lanes), [0] * like.lanes)
        return builder.shuffle_vector(first, empty, lanes)

    del value
    return like(scalar, like), generate


@intrinsic
def popcount(typingctx, vector, like):
    """Count the ones of each lane; the counts have the width of the lanes of ``like``."""
    del typingctx
    counts = Vector(vector.lanes, like.bits)

    def generate(context, builder, signature, arguments):
        del context, signature
        ones = _call(builder, "ctpop", vector, [arguments[0]])
        return ones if counts.bits == vector.bits else builder.zext(ones, counts.llvm)

    return counts(vector, like), generate


@intrinsic
def count_ones(typingctx, word):
    """Count the ones of a uint64, as an int64."""
    del typingctx

    def generate(context, builder, signature, arguments):
        del context, signature
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic
def nonzero_mask(typingctx, array, at):
    """Return a uint64 whose bit i says that element ``at + i`` of an array of bytes is not 0."""
    del typingctx, at
    vector = Vector(64, 8)

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1], vector)
        elements = builder.load(pointer, align=1)
        nonzero = builder.icmp_unsigned("!=", elements, ir.Constant(vector.llvm, None))
        return builder.bitcast(nonzero, ir.IntType(64))

    return types.uint64(array, types.intp), generate


@intrinsic
def maximum(typingctx, first, second):
    """Take the larger (signed) of each two lanes."""
    del typingctx

    def generate(context, builder, signature, arguments):
        del context, signature
        return _call(builder, "smax", first, arguments)

    return first(first, second), generate


@intrinsic
def largest(typingctx, vector):
    """Return the largest (signed) lane."""
    del typingctx
    scalar = types.Integer.from_bitwidth(vector.bits)

    def generate(context, builder, signature, arguments):
        del context, signature
        return _call(builder, "vector.reduce.smax", vector, arguments, ir.IntType(vector.bits))

    return scalar(vector), generate


def _elementwise(operation: str):
    """Make an intrinsic of a two-operand instruction."""

    @intrinsic
    def apply(typingctx, first, second):
        del typingctx

        def generate(context, builder, signature, arguments):
            del context, signature
            return getattr(builder, operation)(*arguments)

        return first(first, second), generate

    return apply


_add, _subtract = _elementwise("add"), _elementwise("sub")
_intersect, _shift_right = _elementwise("and_"), _elementwise("ashr")


def _register(symbol, apply) -> None:
    @overload(symbol)
    def typed(first, second):
        if isinstance(first, Vector) and first == second:
            return lambda first, second: apply(first, second)
        return None


_register(operator.add, _add)
_register(operator.sub, _subtract)
_register(operator.and_, _intersect)
_register(operator.rshift, _shift_right)
