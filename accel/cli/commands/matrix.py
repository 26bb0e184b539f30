"""`accel matrix`: sparse matrices on ExTensor, and whether the results are right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accel.cli.options import BandwidthOption, MatrixArgument, PesOption, examples
from accel.cli.output import show, status

if TYPE_CHECKING:
    from accel.studies.matrix import CheckedProduct

__all__ = ["commands"]

#: Exit status where a result is not SciPy's.
DIFFERENT = 1

commands = typer.Typer(rich_markup_mode=None, help="Multiply sparse matrices on ExTensor.")


@commands.command(
    epilog=examples(
        "accel matrix spmspm A.mtx", "accel matrix spmspm A.mtx B.mtx --dram-bytes-per-cycle 68"
    )
)
def spmspm(
    a: MatrixArgument,
    b: Annotated[
        Path | None,
        typer.Argument(help="Another one; without it A is squared.", metavar="FILE.mtx"),
    ] = None,
    pes: PesOption = None,
    dram_bytes_per_cycle: BandwidthOption = None,
) -> None:
    """Multiply two sparse matrices.

    The result must be SciPy's; exit status 1 where it differs.
    """
    from accel.studies import matrix

    with status("Multiplying"):
        product = matrix.spmspm(matrix.choose_machine(pes), a, b, dram_bytes_per_cycle)
    _finish(product)


@commands.command(epilog=examples("accel matrix sddmm S.mtx A.mtx B.mtx --pes 16"))
def sddmm(
    s: MatrixArgument,
    a: MatrixArgument,
    b: MatrixArgument,
    pes: PesOption = None,
    dram_bytes_per_cycle: BandwidthOption = None,
) -> None:
    """Multiply dense A and B where sparse S is not zero.

    The result must be SciPy's; exit status 1 where it differs.
    """
    from accel.studies import matrix

    with status("Multiplying"):
        product = matrix.sddmm(matrix.choose_machine(pes), s, a, b, dram_bytes_per_cycle)
    _finish(product)


def _finish(product: CheckedProduct) -> None:
    from accel.report.studies import product_report

    show(*product_report(product))
    if not product.equal:
        raise typer.Exit(DIFFERENT)
