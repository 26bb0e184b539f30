"""The ONNX project's backend test cases; what is compared is in ``backend_cases``."""

from fnmatch import fnmatch

import pytest

from golden.errors import UserError
from tests.sw.backend_cases import load_cases, prepare_case, run_case

CASES = load_cases()

#: ONNX Runtime has no kernel for it either.
NOWHERE = "nor on the host"

#: Refused by name, as they should be: pattern of the case, what the message says.
REFUSED = {
    "test_batchnorm_*_training_mode": "training_mode must be 0",
    "test_dequantizelinear_axis": NOWHERE,
    "test_dequantizelinear_blocked": NOWHERE,
    "test_edge_pad": NOWHERE,
    "test_quantizelinear": "Images must lie within",
    "test_quantizelinear_axis": NOWHERE,
    "test_quantizelinear_blocked_*": NOWHERE,
    "test_quantizelinear_*int16": NOWHERE,
    "test_reflect_pad": NOWHERE,
    "test_training_dropout": "training_mode must be false",
    "test_training_dropout_default": "training_mode must be false",
    "test_training_dropout_default_mask": "training_mode must be false",
    "test_training_dropout_mask": "training_mode must be false",
    "test_wrap_pad": NOWHERE,
}

#: Not run: pattern of the case, why.
SKIPPED = {
    "*_expanded*": "the operator's function body, in other operators",
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
    "test_qlinearmatmul_3D_*": "several matrices on both sides; the batch is not the first axis",
    "test_matmul_3d": "several matrices on both sides; the batch is not the first axis",
    "test_reduce_mean_default_axes*": "reduces the batch",
    "test_reshape_allowzero_reordered": "an empty tensor",
    "test_reshape_extended_dims": "the batch is not the first axis",
    "test_reshape_negative_extended_dims": "the batch is not the first axis",
    "test_reshape_one_dim": "the batch is not the first axis",
    "test_reshape_reduced_dims": "the batch is not the first axis",
    "test_reshape_reordered_*": "the batch is not the first axis",
    "test_reshape_zero_dim": "the batch is not the first axis",
    "test_squeeze": "removes the batch",
    "test_transpose_*": "the batch is not the first axis",
    "test_unsqueeze_axis_0": "the batch is not the first axis",
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
