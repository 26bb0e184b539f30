"""Float ONNX to int8 by the standard route: ONNX Runtime's static quantisation.

Weights are int8, symmetric, one scale an output channel. Activations are uint8 with zero
point 0 where calibration saw no negative value, else uint8 around 128, which the importer
reads as int8 around 0: a zero is the code 0 either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from numpy.typing import NDArray
from onnx import ModelProto

from golden.errors import UserError
from golden.files import temporary_folder
from sw.images import Images, images_by_input
from sw.onnx.file import is_quantised, model_inputs
from sw.onnx.operators.elementwise import FUNCTIONS
from sw.onnx.runtime import quiet

from onnxruntime.quantization import (  # isort: skip  (behind sw.onnx.runtime, which silences it)
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

__all__ = ["CALIBRATION_METHODS", "quantise"]

CALIBRATION_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}

#: Operators between codes. Functions of one tensor are none of them: they become tables, with
#: all that follows up to the next code.
_OPERATORS = """
    Add AveragePool Clip Concat Conv ConvTranspose Flatten Gemm GlobalAveragePool GlobalMaxPool
    MatMul MaxPool Mul Pad ReduceMax ReduceMean Relu Reshape Slice Split Squeeze Sub Sum Transpose
    Unsqueeze
""".split()

#: Operators whose second operand must be constant to run on the machine.
_WITH_WEIGHTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class _Images(CalibrationDataReader):
    """Hands calibration images to ONNX Runtime one by one."""

    def __init__(self, images: Mapping[str, NDArray]) -> None:
        count = len(next(iter(images.values())))
        self._feeds: Iterator[dict[str, NDArray]] = (
            {name: values[index][None] for name, values in images.items()} for index in range(count)
        )

    def get_next(self) -> dict[str, NDArray] | None:  # type: ignore[override]
        return next(self._feeds, None)


def quantise(
    model: ModelProto,
    images: Images,
    method: str = "minmax",
    operator_format: bool = False,
) -> ModelProto:
    """Quantise a float model, prepared by ``sw.onnx.prepare.prepare``.

    Parameters
    ----------
    images : ndarray of float32, axes n, c, y, x (or n, c), or a mapping of one an input
        Calibration images, as the model takes them.
    method : str
        How ranges are taken from calibration: ``minmax``, ``entropy`` or ``percentile``.
    operator_format : bool
        QLinear operators (QOperator) instead of QuantizeLinear/DequantizeLinear pairs.

    Raises
    ------
    UserError
        The model is quantised already, the images do not fit it, or the method is unknown.
    """
    if is_quantised(model):
        raise UserError("Model to quantise must be float, not quantised already")
    if method not in CALIBRATION_METHODS:
        accepted = ", ".join(CALIBRATION_METHODS)
        raise UserError(f"Calibration method must be one of {accepted}, not {method!r}")
    feeds = images_by_input(images, model_inputs(model))
    try:
        return _quantise(model, feeds, method, operator_format)
    except UserError as error:
        if not str(error).endswith(": scale issue"):
            raise
        raise UserError(
            "Model can't be quantised: on these images it makes values that are infinite, or no "
            "numbers; give others, or mend what divides by 0 or overflows"
        ) from None


def _quantise(
    model: ModelProto, feeds: Mapping[str, NDArray], method: str, operator_format: bool
) -> ModelProto:
    with (
        temporary_folder() as folder,
        quiet("Model can't be quantised by ONNX Runtime", UserError),
    ):
        path = folder / "quantised.onnx"
        quantize_static(
            model,
            path,
            _Images(feeds),
            quant_format=QuantFormat.QOperator if operator_format else QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            nodes_to_exclude=_left_out(model),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CALIBRATION_METHODS[method],
            extra_options={
                "ActivationRestrictedAsymmetric": True,
                "WeightSymmetric": True,
                "ForceQuantizeNoInputCheck": True,
            },
        )
        return ModelProto.FromString(path.read_bytes())


def _left_out(model: ModelProto) -> list[str]:
    """Name the nodes of listed operators that are to compute on floats; all nodes get names.

    Those are functions of one tensor (an activation written as several nodes), sums and
    products with a constant, and products of two activations, which no machine here does.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    bases: dict[str, str] = {}
    left_out = []
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
        variable = [name for name in node.input if name and name not in constants]
        roots = {bases.get(name, name) for name in variable}
        if node.op_type in FUNCTIONS and len(roots) == 1:
            is_bare = node.op_type in ("Relu", "Clip") and variable[0] not in bases
            if not is_bare:
                bases[node.output[0]] = roots.pop()
                left_out.append(node.name)
        else:
            has_constant = len(variable) < len(node.input)
            weights_vary = len(variable) > 1 or any(x not in constants for x in node.input[1:2])
            if (node.op_type in ("Add", "Mul", "Sub") and has_constant) or (
                node.op_type in _WITH_WEIGHTS and weights_vary
            ):
                left_out.append(node.name)
    return left_out
