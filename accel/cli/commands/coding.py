"""`accel compress`: containers written, and what weights take, stage by stage and by format."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accel.cli.options import (
    BatchOption,
    CsvOption,
    DataOption,
    DensityOption,
    ImagesOption,
    InputShapeOption,
    JsonOption,
    LayoutOption,
    MeanOption,
    NetworkArgument,
    OutputOption,
    ScaleOption,
    SeedOption,
    TestImagesOption,
    TrainImagesOption,
    examples,
    read_input,
)
from accel.cli.output import STANDARD_OUTPUT, check_outputs, show, status, write_whole
from golden.errors import UserError

if TYPE_CHECKING:
    from accel.studies.coding import FineTuning

__all__ = ["commands"]

commands = typer.Typer(rich_markup_mode=None)


@commands.command(
    epilog=examples(
        "accel compress resnet8 --codebook 8,5",
        "accel compress model.onnx --images x.npy --density 0.2 -o model.safetensors",
        "accel compress model.pt --codebook 8,5 --fine-tune 3 --json sizes.json",
    )
)
def compress(
    network: NetworkArgument,
    output: OutputOption = None,
    images: ImagesOption = None,
    input_shape: InputShapeOption = None,
    layout: LayoutOption = None,
    mean: MeanOption = None,
    scale: ScaleOption = None,
    density: DensityOption = None,
    codebook: Annotated[
        str | None,
        typer.Option(
            help="Bits of shared weights in convolutions and fully connected layers, as 8,5.",
            metavar="BITS,BITS",
        ),
    ] = None,
    centroids: Annotated[
        str, typer.Option(help="Start of k-means: linear, density or random.", metavar="START")
    ] = "linear",
    region_filters: Annotated[
        int | None, typer.Option(help="A codebook for each so many filters.", metavar="N")
    ] = None,
    entropy: Annotated[
        str, typer.Option(help="Entropy coder: huffman or none.", metavar="NAME")
    ] = "huffman",
    index_bits: Annotated[
        str,
        typer.Option(
            help="Bits of a relative index; as 8,5 of convolutions and fully connected layers.",
            metavar="BITS[,BITS]",
        ),
    ] = "5",
    coded: Annotated[
        Path | None, typer.Option(help="Write the coded weights.", metavar="FILE.safetensors")
    ] = None,
    fine_tune: Annotated[
        int | None, typer.Option(help="Train the codebooks of a .pt model.", metavar="EPOCHS")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate of codebooks.", metavar="RATE")
    ] = None,
    data: DataOption = None,
    train_images: TrainImagesOption = None,
    test_images: TestImagesOption = None,
    batch: BatchOption = None,
    seed: SeedOption = 1,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            help="Of fine-tuning: build/compressed/NAME-BITS-BITS.",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    json: JsonOption = None,
    csv: CsvOption = None,
) -> None:
    """Prune, quantise and compress; show the sizes of weights.

    With -o alone a container is written from a float model. Interrupted, fine-tuning goes on
    where it was when it is called again.
    """
    check_outputs(output=output, coded=coded, json=json, csv=csv)
    for path in (output, coded):
        if path is not None and path.suffix != ".safetensors":
            raise UserError(f"Output {path} must end in .safetensors")
    given = read_input(input_shape, layout, mean, scale)
    from accel.studies import coding

    tuning = coding.FineTuning(
        epochs=fine_tune,
        rate=rate,
        data=coding.DataOptions(
            folder=data, train_images=train_images, test_images=test_images, batch=batch
        ),
        seed=seed,
        checkpoints=checkpoints,
    )
    if fine_tune is not None:
        _check_fine_tuning(network, codebook, density=density, images=images)
    if output is not None and codebook is None and not (coded or json or csv):
        with status(f"Compressing {network}"):
            lines = _write_container(network, output, images, density, tuning, given)
        show(*lines)
        return
    options = (
        None if codebook is None else coding.read_codebook(codebook, centroids, region_filters)
    )
    coding.check_coder(entropy)
    widths = coding.parse_bits(index_bits)
    if fine_tune is not None and options is not None:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        found = coding.fine_tune(Path(network), options, tuning)
    else:
        with status(f"Compressing {network}"):
            found = coding.code_network(
                network,
                images=images,
                calibration=coding.load_calibration(network, images, tuning),
                density=density,
                codebook=options,
                need_int8=output is not None,
                given=given,
            )
    sizes = coding.measure_sizes(found, widths, entropy)
    if output is not None and found.network is not None:
        size = coding.save_container(found.network, output)
        sizes.notes.append(f"{output}: {size} bytes, int8")
    if coded is not None:
        size = coding.save_coded(found, coded, widths, entropy)
        bits = sizes.representations[0].layers[-1].coded_bits
        sizes.notes.append(
            f"{coded}: {size} bytes of weights ({bits} bits, each layer filled up to bytes) and "
            f"{coded.stat().st_size - size} of header"
        )
    write_whole(json, sizes.to_json)
    write_whole(csv, sizes.to_csv)
    if STANDARD_OUTPUT not in (json, csv):
        from accel.report.studies import sizes_report

        show(*sizes_report(sizes))


def _check_fine_tuning(name: str, codebook: str | None, **left_out: object) -> None:
    if not name.endswith(".pt"):
        raise UserError(f"Model to fine-tune must be a .pt that `accel prune` wrote, not {name}")
    if codebook is None:
        raise UserError("Codebook to fine-tune must be given by --codebook")
    for option, value in left_out.items():
        if value is not None:
            raise UserError(f"Option --{option} must be left out with --fine-tune, not {value}")


def _write_container(
    name: str,
    output: Path,
    images: Path | None,
    density: float | None,
    tuning: FineTuning,
    given: dict[str, Any],
) -> list[str]:
    """Turn a float model into a container on disk; return what to say of it."""
    from accel import api
    from accel.studies.coding import load_calibration, save_container

    network = api.compress(name, load_calibration(name, images, tuning), density, **given)
    size = save_container(network, output)
    weights = sum(node.weights.size for node in network.convolutions)
    kept = sum(int((node.weights != 0).sum()) for node in network.convolutions)
    return [
        f"{output}: {len(network.convolutions)} layers, {kept} of {weights} weights "
        f"({100 * kept / max(weights, 1):.1f} %), {size} bytes",
        f"Source: {network.source}",
    ]
