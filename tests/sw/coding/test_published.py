"""Deep Compression's published sizes against the formulas."""

import pytest

from sw.coding.published import PublishedSize, published_sizes, quantised_percent


def test_a_share_by_hand():
    size = PublishedSize(
        network="a", layer="b", weights=1024, kept_percent=50, weight_bits=2, index_bits=1,
        quantised_percent=0, coded_percent=0,
    )  # fmt: skip
    # 512 entries of 3 bits and 4 values of 32; a quarter of the runs is too long: 4/3 entries.
    assert quantised_percent(size, False) == pytest.approx(100 * (512 * 3 + 128) / 32768)
    assert quantised_percent(size, True) == pytest.approx(100 * (2048 + 128) / 32768)


def test_convolutions_follow_from_density_and_bits():
    """Percent as printed, densities rounded to 1 %, that is .2 of the share; conv1s have biases."""
    rows = [row for row in published_sizes() if row.network in ("AlexNet", "VGG-16")]
    for row in rows:
        if row.layer.startswith("conv") and row.layer not in ("conv1", "conv1_1"):
            assert quantised_percent(row, True) == pytest.approx(row.quantised_percent, abs=0.25)


@pytest.mark.parametrize("network", ["LeNet-300-100", "LeNet-5", "AlexNet", "VGG-16"])
def test_totals_follow_to_within_the_fillers(network):
    *rows, printed = [row for row in published_sizes() if row.network == network]
    assert sum(row.weights for row in rows) == printed.weights
    without, drawn = (
        sum(quantised_percent(row, fillers) * row.weights for row in rows) / printed.weights
        for fillers in (False, True)
    )
    assert without < printed.quantised_percent
    assert drawn == pytest.approx(printed.quantised_percent, rel=0.065)
