"""Float ONNX to int8 by the standard route: ONNX Runtime's static quantisation.

Weights are int8, symmetric, one scale an output channel. Activations are uint8 with zero
point 0 where calibration saw no negative value, else uint8 around 128, which the importer
reads as int8 around 0: a zero is the code 0 either way.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from golden.errors import UserError
from sw.images import check_images
from sw.onnx.file import is_quantised, model_input
from sw.onnx.prepare import quiet

__all__ = ["CALIBRATION_METHODS", "quantise"]

CALIBRATION_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}

#: Operators between codes; whatever else a model holds, the importer refuses by name.
_OPERATORS = [
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "Conv",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "MatMul",
    "MaxPool",
    "Pad",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Squeeze",
    "Sum",
    "Transpose",
    "Unsqueeze",
]


class _Images(CalibrationDataReader):
    """Hands calibration images to ONNX Runtime one by one."""

    def __init__(self, name: str, images: NDArray[np.float32]) -> None:
        self._feeds: Iterator[dict[str, NDArray[np.float32]]] = (
            {name: image[None]} for image in images
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:  # type: ignore[override]
        return next(self._feeds, None)


def quantise(
    model: ModelProto,
    images: NDArray[np.float32],
    method: str = "minmax",
    operator_format: bool = False,
) -> ModelProto:
    """Quantise a float model, prepared by ``sw.onnx.prepare.prepare``.

    Parameters
    ----------
    images : ndarray of float32, axes n, c, y, x (or n, c)
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
    item = model_input(model)
    shape = tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim)
    images = check_images(images, shape[1:])
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "quantised.onnx"
        try:
            quantize_static(
                model,
                path,
                _Images(item.name, images),
                quant_format=QuantFormat.QOperator if operator_format else QuantFormat.QDQ,
                op_types_to_quantize=_OPERATORS,
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
        # ONNX Runtime's exceptions share no base but Exception.
        except Exception as error:
            raise UserError(f"Model can't be quantised by ONNX Runtime: {error}") from None
        return onnx.load(path)
