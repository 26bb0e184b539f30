"""Fixed-width vectors of uint16 inside Numba functions, which LLVM would else have to find itself.

A `Vector` is an LLVM vector of a block of units. LLVM splits it into the processor's registers,
whatever their width, so the kernels that use it are portable.
"""

from __future__ import annotations

import operator
from typing import Any, cast

from llvmlite import ir
from numba import extending, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model

__all__ = [
    "HALF_BLOCK",
    "LANES",
    "WHOLE_BLOCK",
    "Vector",
    "count_byte_ones",
    "count_ones",
    "element",
    "excess",
    "largest",
    "load",
    "maximum",
    "nonzero_mask",
    "put",
    "record",
    "row",
    "rows",
    "splat",
    "store",
]

#: Lanes of a tag's unit of length: a tag is a tuple, whose length is known when code is compiled.
LANES = 16
#: Tags of vectors of 16 and of 32 lanes.
HALF_BLOCK = (0,)
WHOLE_BLOCK = (0, 0)

#: Callers don't give the first parameter, the typing context, which type checkers can't know.
intrinsic = cast(Any, extending.intrinsic)


class Vector(types.Type):
    """Numba type of ``lanes`` unsigned integers of 16 bits."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Vector({lanes})")

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(ir.IntType(16), self.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, vector.llvm)


def _call(builder, name, vector, arguments, result=None):
    """Call an LLVM intrinsic that is overloaded on an LLVM vector type."""
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(result or vector, [argument.type for argument in arguments]),
        f"llvm.{name}.v{vector.count}i{vector.element.width}",
    )
    return builder.call(function, arguments)


def _pointer(context, builder, memory_type, memory, at):
    """Return the address of an element of an array or pointer."""
    if isinstance(memory_type, types.Array):
        memory = context.make_array(memory_type)(context, builder, memory).data
    return builder.gep(memory, [at])


def _vector_pointer(context, builder, memory_type, arguments, vector):
    pointer = _pointer(context, builder, memory_type, *arguments[:2])
    return builder.bitcast(pointer, ir.PointerType(vector))


@intrinsic
def rows(typingctx, group, at):
    """Replace each array of a NamedTuple by the address of its element with flat index ``at``.

    Addresses cost nothing to pass on, while an array is seven values and a reference count.
    Nobody checks them, and the arrays must outlive them. They can be moved on like arrays.
    """
    del typingctx, at
    arrays = [each for each in group if isinstance(each, types.Array)]
    if any(each.layout != "C" for each in arrays):
        raise TypingError(f"arrays must be C-ordered, not {group}")
    fields = [types.CPointer(each.dtype) if each in arrays else each for each in group]

    def generate(context, builder, signature, arguments):
        values = cgutils.unpack_tuple(builder, arguments[0])
        moved = [
            _pointer(context, builder, each, value, arguments[1])
            if isinstance(each, (types.Array, types.CPointer))
            else value
            for each, value in zip(signature.args[0], values, strict=True)
        ]
        return context.make_tuple(builder, signature.return_type, moved)

    return types.NamedTuple(fields, group.instance_class)(group, types.intp), generate


@intrinsic
def row(typingctx, memory, at):
    """Return the address of an element, like `rows`."""
    del typingctx, at

    def generate(context, builder, signature, arguments):
        return _pointer(context, builder, signature.args[0], *arguments)

    return types.CPointer(memory.dtype)(memory, types.intp), generate


@intrinsic
def record(typingctx, memory, at):
    """Return a record of an array of records, which may be given by its address."""
    del typingctx, at

    def generate(context, builder, signature, arguments):
        return _pointer(context, builder, signature.args[0], *arguments)

    return memory.dtype(memory, types.intp), generate


@intrinsic
def element(typingctx, memory, at):
    """Read one element of a C-ordered array or row at an index that is known not to be negative."""
    del typingctx, at

    def generate(context, builder, signature, arguments):
        return builder.load(_pointer(context, builder, signature.args[0], *arguments))

    return memory.dtype(memory, types.intp), generate


@intrinsic
def put(typingctx, memory, at, value):
    """Write one element, like `element`."""
    del typingctx, at, value

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], pointer)
        return context.get_dummy_value()

    return types.none(memory, types.intp, memory.dtype), generate


@intrinsic
def load(typingctx, memory, at, tag):
    """Load ``len(tag) * LANES`` elements of uint16 from index ``at`` on."""
    del typingctx, at
    vector = Vector(len(tag) * LANES)

    def generate(context, builder, signature, arguments):
        pointer = _vector_pointer(context, builder, signature.args[0], arguments, vector.llvm)
        return builder.load(pointer, align=2)

    return vector(memory, types.intp, tag), generate


@intrinsic
def store(typingctx, memory, at, vector):
    """Store a vector in elements of uint16 from index ``at`` on."""
    del typingctx, at

    def generate(context, builder, signature, arguments):
        pointer = _vector_pointer(context, builder, signature.args[0], arguments, vector.llvm)
        builder.store(arguments[2], pointer, align=2)
        return context.get_dummy_value()

    return types.none(memory, types.intp, vector), generate


@intrinsic
def splat(typingctx, value, tag):
    """Give all ``len(tag) * LANES`` lanes one value, the low 16 bits of an integer."""
    del typingctx
    vector = Vector(len(tag) * LANES)

    def generate(context, builder, signature, arguments):
        del context, signature
        low = arguments[0]
        if low.type.width > 16:
            low = builder.trunc(low, ir.IntType(16))
        empty = ir.Constant(vector.llvm, ir.Undefined)
        first = builder.insert_element(empty, low, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
        return builder.shuffle_vector(first, empty, lanes)

    return vector(value, tag), generate


@intrinsic
def count_byte_ones(typingctx, vector):
    """Count the ones of the two bytes of each lane, each count in its byte."""
    del typingctx
    octets = ir.VectorType(ir.IntType(8), 2 * vector.lanes)

    def generate(context, builder, signature, arguments):
        del context, signature
        ones = _call(builder, "ctpop", octets, [builder.bitcast(arguments[0], octets)])
        return builder.bitcast(ones, vector.llvm)

    return vector(vector), generate


@intrinsic
def largest(typingctx, vector):
    """Return the largest lane as an int64."""
    del typingctx

    def generate(context, builder, signature, arguments):
        del context, signature
        lane = _call(builder, "vector.reduce.umax", vector.llvm, arguments, ir.IntType(16))
        return builder.zext(lane, ir.IntType(64))

    return types.int64(vector), generate


def _by_llvm(name: str, description: str):
    """Make an intrinsic of one of LLVM's that takes two vectors."""

    @intrinsic
    def apply(typingctx, first, second):
        del typingctx

        def generate(context, builder, signature, arguments):
            del context, signature
            return _call(builder, name, first.llvm, arguments)

        return first(first, second), generate

    apply.__doc__ = description
    return apply


maximum = _by_llvm("umax", "Take the larger of each two lanes.")
excess = _by_llvm(
    "usub.sat", "Say by how much each first lane exceeds the second, 0 if it doesn't."
)


def _register(symbol, instruction: str) -> None:
    """Let an operator of two vectors be one of LLVM's instructions."""

    @cast(Any, infer_global)(symbol)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            del kws
            if len(args) == 2 and isinstance(args[0], Vector) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    @lower_builtin(symbol, Vector, Vector)
    def _lower(context, builder, signature, arguments):
        del context, signature
        return getattr(builder, instruction)(*arguments)


_register(operator.add, "add")
_register(operator.sub, "sub")
_register(operator.and_, "and_")
_register(operator.rshift, "lshr")


# -- scalars ----------------------------------------------------------------------------------


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
    octets = ir.VectorType(ir.IntType(8), 64)

    def generate(context, builder, signature, arguments):
        pointer = _vector_pointer(context, builder, signature.args[0], arguments, octets)
        elements = builder.load(pointer, align=1)
        nonzero = builder.icmp_unsigned("!=", elements, ir.Constant(octets, None))
        return builder.bitcast(nonzero, ir.IntType(64))

    return types.uint64(array, types.intp), generate
