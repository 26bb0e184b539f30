"""The command line. What a command needs is imported inside it, so that help is instant."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from golden.errors import UserError
from golden.machines.cluster.config import Balance, SkipMode

__all__ = ["app", "main"]

#: The machine that `accel run`, `accel verilog` and, left to itself, `accel verify` are about.
CLUSTER = "cluster"

#: Exit statuses: all is well; what was verified differs; bad input; Ctrl-C.
DIFFERENT, BAD_INPUT, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help costs a third of the 0.3 s that help may take
    help="A sparse-CNN accelerator: its cycles, its bits and its Verilog.",
)
matrix = typer.Typer(rich_markup_mode=None, help="Multiply sparse matrices on ExTensor.")
app.add_typer(matrix, name="matrix")

_NETWORK = typer.Argument(
    help="A shipped network (`accel networks`), a .safetensors container, a .onnx or .pt model."
)
NetworkArgument = Annotated[str, _NETWORK]
ImagesOption = Annotated[
    Path | None,
    typer.Option(help="Images, a .npy file; a shipped network brings some.", metavar="FILE.npy"),
]
DensityOption = Annotated[
    float | None,
    typer.Option(help="Prune by magnitude to this share of weights.", metavar="0..1"),
]
MachineOption = Annotated[
    str, typer.Option(help="cluster, cambricon-s or extensor.", metavar="NAME")
]
PresetOption = Annotated[
    str | None, typer.Option(help="A shipped machine (`accel presets`).", metavar="NAME")
]
ConfigOption = Annotated[
    Path | None, typer.Option(help="A machine of your own, all keys given.", metavar="FILE.toml")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one key of the machine; repeatable.", metavar="KEY=VALUE"),
]
BalanceOption = Annotated[
    Balance | None, typer.Option(help="How filters are dealt to units; short for --set balance=.")
]

DataOption = Annotated[
    Path | None,
    typer.Option(help="Folder of a data set; Fashion-MNIST where Debian puts it.",
                 metavar="FOLDER"),
]  # fmt: skip
TrainImagesOption = Annotated[
    int | None, typer.Option(help="Train with only so many images.", metavar="N")
]

MatrixArgument = Annotated[
    Path, typer.Argument(help="A Matrix Market file.", metavar="FILE.mtx", show_default=False)
]
PesOption = Annotated[
    int | None, typer.Option(help="Processing elements, 1 to 4096.", metavar="NUMBER")
]
BandwidthOption = Annotated[
    float | None,
    typer.Option(
        help="Bytes from and to DRAM in a cycle; without it DRAM is never waited for.",
        metavar="NUMBER",
    ),
]


@app.command()
def run(
    network: NetworkArgument,
    images: ImagesOption = None,
    limit: Annotated[int, typer.Option(help="Use at most so many images.", min=1)] = 1,
    density: DensityOption = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    changes: SetOption = None,
    skip: Annotated[
        str, typer.Option(help="all, or one of dense, static, dynamic, both.", metavar="MODE")
    ] = "all",
    balance: BalanceOption = None,
    per_unit: Annotated[bool, typer.Option(help="Counters of every unit, in --json.")] = False,
    json: Annotated[
        str | None, typer.Option(help="All results as JSON; - is standard output.", metavar="FILE")
    ] = None,
    csv: Annotated[
        str | None, typer.Option(help="A row a layer as CSV; - is standard output.", metavar="FILE")
    ] = None,
) -> None:
    """Simulate a network: cycles, speed-ups, waits."""
    from accel.cli import machine as cli_machine
    from accel.cli import network as cli_network

    cli_network.run(
        network,
        machine=cli_machine.choose(preset, config, changes or [], balance),
        images=images,
        limit=limit,
        density=density,
        skips=tuple(SkipMode) if skip == "all" else (_skip_mode(skip),),
        per_unit=per_unit,
        json=json,
        csv=csv,
    )


@app.command()
def verify(
    network: Annotated[str, _NETWORK] = "resnet8",
    layer: Annotated[
        str | None,
        typer.Option(help="Name of the layer; the smallest if left out.", metavar="NAME"),
    ] = None,
    simulator: Annotated[
        str, typer.Option(help="amaranth, icarus or verilator.", metavar="NAME")
    ] = "amaranth",
    machine: MachineOption = CLUSTER,
    images: ImagesOption = None,
    image: Annotated[int, typer.Option(help="Which image, from 0.", min=0)] = 0,
    rows: Annotated[
        int | None, typer.Option(help="Only so many output rows, from the first.", min=1)
    ] = None,
    density: DensityOption = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    changes: SetOption = None,
    skip: Annotated[
        str | None,
        typer.Option(
            help="all, or one of dense, static, dynamic, both (a cluster's).", metavar="MODE"
        ),
    ] = None,
    balance: BalanceOption = None,
) -> None:
    """Run a layer on the hardware and compare all.

    Its bits must be those of the golden model and of the simulator, its counters those of the
    simulator; exit status 1 where one differs.
    """
    from accel.cli import hardware as cli_hardware
    from accel.cli import machine as cli_machine

    subject = {"images": images, "image": image, "rows": rows, "density": density}
    if machine == CLUSTER:
        equal = cli_hardware.verify(
            network,
            layer,
            simulator,
            machine=cli_machine.choose(preset, config, changes or [], balance, default="small"),
            skips=tuple(SkipMode) if skip == "all" else (_skip_mode(skip or "both"),),
            **subject,
        )
    else:
        if skip is not None or balance is not None:
            raise UserError(f"Options --skip and --balance must be left out for {machine}")
        kind = cli_machine.kind_of(machine)
        equal = cli_hardware.verify_machine(
            network,
            layer,
            simulator,
            machine=machine,
            config=cli_machine.choose(preset, config, changes or [], default="toy", kind=kind),
            **subject,
        )
    if not equal:
        raise typer.Exit(DIFFERENT)


@app.command()
def verilog(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder.", metavar="FOLDER")],
    machine: MachineOption = CLUSTER,
    preset: PresetOption = None,
    config: ConfigOption = None,
    changes: SetOption = None,
) -> None:
    """Write a machine as Verilog, for cocotb benches too."""
    from accel.cli import hardware as cli_hardware
    from accel.cli import machine as cli_machine

    if machine == CLUSTER:
        cluster = cli_machine.choose(preset, config, changes or [], default="small")
        cli_hardware.write(cluster, output)
        return
    kind = cli_machine.kind_of(machine)
    chosen = cli_machine.choose(preset, config, changes or [], default="toy", kind=kind)
    cli_hardware.write_machine(machine, chosen, output)


@app.command()
def compress(
    network: NetworkArgument,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The container.", metavar="FILE.safetensors"),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Calibration images.", metavar="FILE.npy"),
    ] = None,
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
    index_bits: Annotated[int, typer.Option(help="Bits of a relative index.", metavar="BITS")] = 5,
    coded: Annotated[
        Path | None,
        typer.Option(help="Write the coded weights.", metavar="FILE.safetensors"),
    ] = None,
    fine_tune: Annotated[
        int | None, typer.Option(help="Train the codebooks of a .pt model.", metavar="EPOCHS")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate of codebooks.", metavar="RATE")
    ] = None,
    data: DataOption = None,
    train_images: TrainImagesOption = None,
    seed: Annotated[int, typer.Option(help="All that is random follows from it.")] = 1,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            help="Of fine-tuning: build/compressed/NAME-BITS-BITS.",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        str | None, typer.Option(help="All sizes as JSON; - is standard output.", metavar="FILE")
    ] = None,
    csv: Annotated[
        str | None, typer.Option(help="A row a layer as CSV; - is standard output.", metavar="FILE")
    ] = None,
) -> None:
    """Prune, quantise and compress; show the sizes of weights.

    With -o alone a container is written from a float model. Interrupted, fine-tuning goes on
    where it was when it is called again.
    """
    from accel.cli import coding as cli_coding

    cli_coding.compress(
        network,
        output=output,
        images=images,
        density=density,
        codebook=codebook,
        start=centroids,
        region_filters=region_filters,
        entropy=entropy,
        index_bits=index_bits,
        coded=coded,
        fine_tuning=cli_coding.FineTuning(
            epochs=fine_tune,
            rate=rate,
            data=data,
            images=train_images,
            seed=seed,
            checkpoints=checkpoints,
        ),
        json=json,
        csv=csv,
    )


@app.command()
def prune(
    network: Annotated[
        str | None, typer.Argument(help="A network to train (--list).", show_default=False)
    ] = None,
    method: Annotated[str, typer.Option(help="How (--list).", metavar="NAME")] = "magnitude",
    show_list: Annotated[
        bool, typer.Option("--list", help="List methods and networks, and do nothing else.")
    ] = False,
    density: Annotated[
        float | None, typer.Option(help="Share of weights that stay.", metavar="0..1")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Steps of pruning and retraining.", metavar="N")
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(help="Input channels, filters, columns, rows.", metavar="N,N,N,N"),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another option of the method; repeatable.",
                     metavar="KEY=VALUE"),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Of retraining after a step.", metavar="N")] = 3,
    dense: Annotated[
        Path | None, typer.Option(help="Start from this trained model.", metavar="FILE.pt")
    ] = None,
    dense_epochs: Annotated[
        int | None, typer.Option(help="Of dense training; by the recipe.", metavar="N")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Distil from this trained model.", metavar="FILE.pt")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Of distillation.", metavar="T")] = 4.0,
    mixing: Annotated[
        float, typer.Option(help="Share of the teacher in the loss.", metavar="0..1")
    ] = 0.9,
    data: DataOption = None,
    train_images: TrainImagesOption = None,
    seed: Annotated[int, typer.Option(help="All that is random follows from it.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="build/pruned/NAME.", metavar="FOLDER",
                     show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Of what is written; NETWORK-METHOD.", show_default=False),
    ] = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
) -> None:  # fmt: skip
    """Train, prune and retrain a network.

    Interrupted, it goes on where it was when it is called again.
    """
    from accel.cli import machine as cli_machine
    from accel.cli import prune as cli_prune

    if show_list:
        cli_prune.list_methods()
        return
    if network is None:
        raise UserError("Network to prune must be given (accel prune --list)")
    cli_prune.prune(
        network,
        method=method,
        options={"density": density, "rounds": rounds, "block": block},
        changes=changes or [],
        machine=cli_machine.choose(preset, config, [], default="small"),
        data=data,
        images=train_images,
        output=output,
        name=name,
        seed=seed,
        epochs=epochs,
        dense=dense,
        dense_epochs=dense_epochs,
        teacher=teacher,
        temperature=temperature,
        mixing=mixing,
    )


@app.command()
def study(
    name: Annotated[
        str | None, typer.Argument(help="Left out: list the studies.", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(help="Times that everything is trained.")] = 3,
    scale: Annotated[
        float, typer.Option(help="Multiplies epochs; below 1 for a quick look.")
    ] = 1.0,
    data: DataOption = None,
    train_images: TrainImagesOption = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="For checkpoints: build/studies.", metavar="FOLDER",
                     show_default=False),
    ] = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    plot: Annotated[
        Path | None, typer.Option(help="Plots as one page.", metavar="FILE.html")
    ] = None,
    json: Annotated[
        str | None, typer.Option(help="All rows as JSON; - is standard output.", metavar="FILE")
    ] = None,
    csv: Annotated[
        str | None,
        typer.Option(help="A row a network and seed as CSV; - is standard output.",
                     metavar="FILE"),
    ] = None,
) -> None:  # fmt: skip
    """Train and prune several networks, and compare them."""
    from accel.cli import machine as cli_machine
    from accel.cli import prune as cli_prune

    if name is None:
        cli_prune.list_studies()
        return
    cli_prune.study(
        name,
        machine=cli_machine.choose(preset, config, [], default="small"),
        data=data,
        images=train_images,
        output=output,
        seeds=seeds,
        scale=scale,
        plot=plot,
        json=json,
        csv=csv,
    )


@matrix.command()
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
    from accel.cli import matrix as cli_matrix

    if not cli_matrix.spmspm(a, b, pes, dram_bytes_per_cycle):
        raise typer.Exit(DIFFERENT)


@matrix.command()
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
    from accel.cli import matrix as cli_matrix

    if not cli_matrix.sddmm(s, a, b, pes, dram_bytes_per_cycle):
        raise typer.Exit(DIFFERENT)


@app.command()
def compare(
    network: NetworkArgument,
    machines: Annotated[
        str,
        typer.Option(help="Which, separated by commas (`accel machines`).", metavar="NAMES"),
    ] = "all",
    multipliers: Annotated[
        int, typer.Option(help="Multipliers of every machine.", min=1, metavar="N")
    ] = 256,
    images: ImagesOption = None,
    limit: Annotated[int, typer.Option(help="Use at most so many images.", min=1)] = 1,
    density: DensityOption = None,
    node: Annotated[
        str, typer.Option(help="Technology node of the energies: 45nm or 7nm.", metavar="NODE")
    ] = "45nm",
    plot: Annotated[
        Path | None, typer.Option(help="Plots as one page.", metavar="FILE.html")
    ] = None,
    json: Annotated[
        str | None, typer.Option(help="All results as JSON; - is standard output.", metavar="FILE")
    ] = None,
    csv: Annotated[
        str | None,
        typer.Option(help="A row a machine and layer as CSV; - is standard output.",
                     metavar="FILE"),
    ] = None,
) -> None:  # fmt: skip
    """Run a network on several machines of equal multipliers."""
    from accel.cli import compare as cli_compare

    cli_compare.compare(
        network,
        machines=machines,
        multipliers=multipliers,
        images=images,
        limit=limit,
        density=density,
        node=node,
        plot=plot,
        json=json,
        csv=csv,
    )


@app.command()
def reproduce(
    paper: Annotated[str, typer.Argument(help="sparten, cambricon-s, extensor or scnn.")],
) -> None:
    """Show a paper's headline figures beside ours."""
    from accel.cli import compare as cli_compare

    cli_compare.reproduce(paper)


@app.command()
def machines(
    area: Annotated[
        int | None,
        typer.Option(help="Show the cells on an ECP5 of so many multipliers.", metavar="N", min=1),
    ] = None,
) -> None:
    """List the machines that can be compared."""
    from accel.cli import compare as cli_compare

    cli_compare.list_machines(area)


@app.command()
def networks() -> None:
    """List the shipped networks."""
    from accel.cli import network as cli_network

    cli_network.list_networks()


@app.command()
def presets() -> None:
    """List the shipped machines."""
    from accel.cli import machine as cli_machine

    cli_machine.list_presets()


@app.command()
def doctor() -> None:
    """Show which tools are here, and how to get others."""
    from accel.cli import doctor as cli_doctor

    cli_doctor.report()


def _skip_mode(name: str) -> SkipMode:
    try:
        return SkipMode(name)
    except ValueError:
        accepted = ", ".join(mode.value for mode in SkipMode)
        raise UserError(f"Skip mode must be all or one of {accepted}, not {name!r}") from None


def main(arguments: list[str] | None = None) -> None:
    """Run the command line: bad input is one line on standard error and exit status 2."""
    # Tools that were installed beside this interpreter are found without activating anything.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    sys.exit(_status(lambda: app(arguments, standalone_mode=False)))


def _status(command: Callable[[], Any]) -> int:
    """Run a command and return its exit status, having said what went wrong."""
    try:
        status = command()
        sys.stdout.flush()
    except UserError as error:
        return _complain(str(error), BAD_INPUT)
    except typer.TyperException as error:  # an unknown command or option
        return _complain(getattr(error, "format_message", error.__str__)(), BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone: leave, and keep the interpreter from flushing once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, say
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", BAD_INPUT)
    if status == INTERRUPTED:
        return _complain("interrupted", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _complain(message: str, status: int) -> int:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    return status
