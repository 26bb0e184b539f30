"""The ONNX project's backend test cases; what is compared is in ``backend_cases``."""

from fnmatch import fnmatch

import pytest

from golden.errors import UserError
from tests.sw.backend_cases import load_cases, prepare_case, run_case

CASES = load_cases()

NOT_AN_IMAGE = "must have axes n, c, y, x or n, c"
ONE_SCALE = "activations must have one scale"

#: Refused by name, as they should be: pattern of the case, what the message says.
REFUSED = {
    "test_averagepool_1d_*": NOT_AN_IMAGE,
    "test_averagepool_2d_dilations": "dilations must be 1",
    "test_averagepool_3d_*": NOT_AN_IMAGE,
    "test_batchnorm_*_training_mode": "training_mode must be 0",
    "test_concat_1d_*": "axis must be that of channels",
    "test_concat_2d_*": "axis must be that of channels",
    "test_concat_3d_axis_[12]": "axis must be that of channels",
    "test_concat_3d_axis_negative_[12]": "axis must be that of channels",
    "test_dequantizelinear_axis": ONE_SCALE,
    "test_dequantizelinear_blocked": ONE_SCALE,
    "test_dropout_default": NOT_AN_IMAGE,
    "test_dropout_default_*mask*": NOT_AN_IMAGE,
    "test_dropout_default_ratio": NOT_AN_IMAGE,
    "test_dropout_random_old": NOT_AN_IMAGE,
    "test_edge_pad": "must be float, uint8 or int8",
    "test_identity_sequence": NOT_AN_IMAGE,
    "test_matmul_3d": NOT_AN_IMAGE,
    "test_matmul_4d*": "weights must be a matrix",
    "test_matmul_bcast": "weights must be a matrix",
    "test_maxpool_1d_*": NOT_AN_IMAGE,
    "test_maxpool_2d_dilations": "dilations must be 1",
    "test_maxpool_3d_*": NOT_AN_IMAGE,
    "test_maxpool_with_argmax_*": "indices",
    "test_qlinearmatmul_2D_*": "must fit int8",
    "test_qlinearmatmul_3D_*": NOT_AN_IMAGE,
    "test_quantizelinear": "Images must lie within",
    "test_quantizelinear_axis": ONE_SCALE,
    "test_quantizelinear_blocked_*": ONE_SCALE,
    "test_quantizelinear_*int16": "must be uint8 or int8",
    "test_reduce_mean_*": NOT_AN_IMAGE,
    "test_reflect_pad": "must be float, uint8 or int8",
    "test_reshape_[enor]*": NOT_AN_IMAGE,
    "test_reshape_zero_*": NOT_AN_IMAGE,
    "test_softmax_axis_?": NOT_AN_IMAGE,
    "test_softmax_default_axis": NOT_AN_IMAGE,
    "test_softmax_negative_axis": NOT_AN_IMAGE,
    "test_training_dropout*": NOT_AN_IMAGE,
    "test_transpose_*": NOT_AN_IMAGE,
    "test_unsqueeze_axis_?": NOT_AN_IMAGE,
    "test_unsqueeze_t*_axes": NOT_AN_IMAGE,
    "test_unsqueeze_unsorted_axes": NOT_AN_IMAGE,
    "test_wrap_pad": "must be float, uint8 or int8",
}

#: Not run: pattern of the case, why.
SKIPPED = {
    "*_expanded*": "the operator's function body, in operators that the importer does not know",
    "test_add_bcast": "adds a row of pixels to all rows; operands differ in shape",
    "test_add_*int*": "integers that wrap around; codes of a network saturate",
    "test_dequantizelinear_*int16": "16-bit codes",
    "test_dequantizelinear_*int[24]": "2-bit and 4-bit codes, which NumPy can't hold",
    "test_*quantizelinear_e[45]m*": "8-bit floats",
    "test_*quantizelinear_float4*": "4-bit floats",
    "test_quantizelinear_*int[24]": "2-bit and 4-bit codes, which NumPy can't hold",
    "test_dropout_default_old": "a vector without batch",
    "test_flatten_axis[023]": "flattens the batch",
    "test_flatten_negative_axis[124]": "flattens the batch",
    "test_gemm_all_attributes": "transA: the batch is not the first axis",
    "test_gemm_transposeA": "transA: the batch is not the first axis",
    "test_gemm_default_matrix_bias": "another bias for every image of the batch",
    "test_matmul_1d_*": "a vector without batch",
    "test_reshape_allowzero_reordered": "an empty tensor",
    "test_softmax_example": "a final softmax is left out",
    "test_softmax_large_number": "a final softmax is left out",
    "test_squeeze": "removes the batch",
}


def _listed(name, table):
    return next((value for pattern, value in table.items() if fnmatch(name, pattern)), None)


RUN = sorted(
    name for name in CASES if _listed(name, SKIPPED) is None and _listed(name, REFUSED) is None
)


@pytest.mark.parametrize("name", RUN)
def test_case_gives_what_onnx_says(name):
    distance, allowed = run_case(prepare_case(CASES[name]))
    assert distance <= allowed * (1 + 1e-6) + 1e-6 * (allowed > 0)


@pytest.mark.parametrize(
    "name", sorted(name for name in CASES if _listed(name, REFUSED) and not _listed(name, SKIPPED))
)
def test_case_is_refused_by_name(name):
    with pytest.raises(UserError, match=_listed(name, REFUSED)):
        run_case(prepare_case(CASES[name]))


def test_integer_cases_are_held_to_exact_equality():
    exact = [name for name in RUN if prepare_case(CASES[name]).tolerance == 0]
    wanted = """
        averagepool_2d_precomputed_strides basic_conv_with_padding conv_with_autopad_same
        conv_with_strides_and_asymmetric_padding maxpool_2d_ceil maxpool_2d_uint8 qlinearconv
    """
    assert {f"test_{name}" for name in wanted.split()} <= set(exact)


@pytest.mark.parametrize("table", [REFUSED, SKIPPED])
def test_every_pattern_of_the_tables_names_a_case(table):
    unused = [pattern for pattern in table if not any(fnmatch(name, pattern) for name in CASES)]
    assert unused == []
