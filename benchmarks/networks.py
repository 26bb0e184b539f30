"""Networks of torchvision and timm, brought in as a user would: which run, and how equal they are.

    pip install -e '.[dev,train,zoo]'
    python -m benchmarks.networks build/networks.jsonl [NAME ...]

Weights are drawn; the statistics of batch norms are those of two photos of scikit-learn, one of
which is then the calibration image and the image that is run. What `accel run` does is done in a
process of its own, so that memory and time are those of one network; imports are not counted. A
line is written for each network; what the file has already is not done again. At the end the table
of ``docs/networks.md`` is printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["NETWORKS", "measure", "table"]

#: Presets that hold 224 x 224 networks; the first one is run.
PRESETS = ("output-major", "segmented", "sparten-1k")
MACHINES = ("scnn", "extensor", "cambricon-s", "cambricon-x", "dense")
_TV, _TIMM = "torchvision", "timm"
#: Networks that are exported at once, and what a process has imported before it measures one.
_AT_ONCE = 5
_PRELOADED = ("accel.run", "accel.machines.cluster.model", "sw.compress", "tests.sw.replay")

#: Package, name and pixels of a side; cheap ones first.
NETWORKS: tuple[tuple[str, str, int], ...] = (
    (_TIMM, "lcnet_050", 224),
    (_TIMM, "tinynet_e", 106),
    (_TIMM, "mobilenetv3_small_050", 224),
    (_TV, "shufflenet_v2_x0_5", 224),
    (_TV, "mobilenet_v3_small", 224),
    (_TIMM, "repghostnet_050", 224),
    (_TV, "mnasnet0_5", 224),
    (_TV, "shufflenet_v2_x1_0", 224),
    (_TIMM, "ghostnet_100", 224),
    (_TIMM, "mobilenetv4_conv_small", 224),
    (_TV, "mobilenet_v3_large", 224),
    (_TIMM, "hardcorenas_a", 224),
    (_TIMM, "mixnet_s", 224),
    (_TIMM, "efficientnet_lite0", 224),
    (_TIMM, "mobileone_s0", 224),
    (_TV, "mobilenet_v2", 224),
    (_TV, "mnasnet1_0", 224),
    (_TIMM, "spnasnet_100", 224),
    (_TV, "squeezenet1_1", 224),
    (_TV, "efficientnet_b0", 224),
    (_TIMM, "fbnetc_100", 224),
    (_TIMM, "rexnet_100", 224),
    (_TIMM, "starnet_s1", 224),
    (_TIMM, "mobilevit_xxs", 256),
    (_TIMM, "edgenext_xx_small", 256),
    (_TIMM, "levit_128s", 224),
    (_TV, "regnet_y_400mf", 224),
    (_TV, "regnet_x_400mf", 224),
    (_TV, "lraspp_mobilenet_v3_large", 224),
    (_TV, "alexnet", 224),
    (_TV, "squeezenet1_0", 224),
    (_TIMM, "resnet10t", 224),
    (_TV, "googlenet", 224),
    (_TIMM, "deit_tiny_patch16_224", 224),
    (_TIMM, "repvgg_a0", 224),
    (_TV, "resnet18", 224),
    (_TIMM, "skresnet18", 224),
    (_TIMM, "ese_vovnet19b_dw", 224),
    (_TV, "densenet121", 224),
    (_TIMM, "selecsls42b", 224),
    (_TIMM, "hrnet_w18_small", 224),
    (_TIMM, "dla34", 224),
    (_TV, "resnet34", 224),
    (_TV, "resnet50", 224),
    (_TV, "resnext50_32x4d", 224),
    (_TIMM, "poolformer_s12", 224),
    (_TV, "inception_v3", 299),
    (_TV, "convnext_tiny", 224),
    (_TIMM, "darknet53", 224),
    (_TV, "vgg11_bn", 224),
)


def export(package: str, name: str, pixels: int, folder: Path) -> None:
    """Draw a network and write it with its image."""
    import torch

    warnings.simplefilter("ignore")
    torch.manual_seed(1)
    torch.set_num_threads(1)
    if package == _TV:
        from torchvision import models

        is_segmenter = name.startswith(("lraspp", "deeplab", "fcn"))
        options = {"weights_backbone": None} if is_segmenter else {}
        if name in ("googlenet", "inception_v3"):
            options = {"aux_logits": False, "init_weights": True}
        model = models.get_model(name, weights=None, **options)
    else:
        import timm

        model = timm.create_model(name, exportable=True)
    model.eval()
    images = torch.from_numpy(photos(pixels))
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.train()
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        model(images)
    model.eval()
    torch.onnx.export(model, (images[:1],), folder / "model.onnx", dynamo=False, opset_version=17,
                      input_names=["images"])  # fmt: skip
    np.save(folder / "x.npy", images[:1].numpy())


def _declare_operators() -> None:
    """Let torchvision be imported beside PyTorch for CPUs.

    Its wheel on the index is built for CUDA. Detectors alone use what it compiles.
    """
    import torch

    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor a, Tensor b, float c) -> Tensor")


def photos(pixels: int) -> np.ndarray:
    """Return two photos, axes n, c, y, x, normalised as ImageNet's."""
    from PIL import Image, ImageOps
    from sklearn.datasets import load_sample_images

    mean, deviation = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
    cut = [
        np.asarray(ImageOps.fit(Image.fromarray(photo), (pixels, pixels)), np.float32)
        for photo in load_sample_images().images
    ]
    return ((np.stack(cut) - mean) / deviation).transpose(0, 3, 1, 2).copy()


def measure(folder: Path, name: str) -> dict[str, Any]:
    """Quantise, import, compare node by node with ONNX Runtime, and simulate."""
    import accel
    from accel.activations.functional import run_node
    from accel.loading import LoadedNetwork
    from accel.placement import fitting_settings, network_tasks, shortages
    from golden.network import Convolution, HostNode
    from sw.compress import channel_density, onnx_activations
    from sw.images import load_images, network_codes
    from sw.onnx.file import load_model
    from sw.onnx.importer import import_codes
    from sw.onnx.prepare import prepare
    from sw.quantise import quantise
    from tests.sw.replay import from_half

    began = time.process_time()
    images = load_images(folder / "x.npy")
    model = quantise(prepare(load_model(folder / "model.onnx")), images)
    network, known = import_codes(model, name, "drawn weights")
    expected = dict(onnx_activations(model, known)(images))
    network.channel_density.update(channel_density(network, images, lambda _: expected))
    tasks = network_tasks(network)
    fitting = [
        preset for preset in (*PRESETS, *MACHINES) if not shortages(accel.machine(preset), tasks)
    ]
    machine = accel.machine(PRESETS[0])
    settings = fitting_settings(machine, tasks)
    chosen = type(machine)(machine.config.replace(**settings))
    codes = network_codes(images, network)
    cycles = accel.simulate(LoadedNetwork(network, codes), chosen, modes=["both"]).total.cycles
    cpu_seconds = time.process_time() - began

    tensors = network.input_values(codes[0])
    known_codes = apart = largest = 0
    from_half_max = 0.0
    unequal: dict[str, int] = {}
    for node in network.nodes:
        infos = tuple(network.tensor(source) for source in node.inputs)
        result = run_node(node, tuple(tensors[source] for source in node.inputs), infos)
        wanted = expected.get(node.output.name)
        tensors[node.output.name] = result if wanted is None else wanted
        if wanted is None or isinstance(node, HostNode):
            continue
        difference = np.abs(result.astype(np.int64) - wanted)
        known_codes += difference.size
        if count := int(np.count_nonzero(difference)):
            apart += count
            largest = max(largest, int(difference.max()))
            kind = type(node).__name__
            unequal[kind] = unequal.get(kind, 0) + count
            if isinstance(node, Convolution):
                source = tensors[node.input]
                distances = (from_half(node, source, place) for place in np.argwhere(difference))
                from_half_max = max(from_half_max, *distances)
    host: dict[str, int] = {}
    for node in network.host_nodes:
        host[node.operator] = host.get(node.operator, 0) + 1
    return {
        "layers": len(network.convolutions),
        "macs": sum(node.layer.dense_macs for node in network.convolutions)
        + sum(node.macs for node in network.host_nodes),
        "machine_share": network.machine_share,
        "host": host,
        "fits": fitting,
        "settings": settings,
        "cycles": cycles,
        "cpu_s": cpu_seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "codes": known_codes,
        "codes_apart": apart,
        "largest_difference": largest,
        "apart_by_kind": unequal,
        "from_half_max": from_half_max,
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    rows = [
        "| network | pixels | GMAC | on machine | preset | cycles | CPU s | MiB | codes apart |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        name = f"{line['name']} ({line['package']})"
        if "error" in line:
            rows.append(f"| {name} | {line['pixels']} | | {line['error']} | | | | | |")
            continue
        settings = "".join(f", {key}={value}" for key, value in line["settings"].items())
        apart = f"{line['codes_apart']:,} of {line['codes']:,}"
        if line["largest_difference"] > 1:
            apart += f", at most {line['largest_difference']}"
        rows.append(
            f"| {name} | {line['pixels']} | {line['macs'] / 1e9:.2f} | "
            f"{100 * line['machine_share']:.1f} % | {PRESETS[0]}{settings} | {line['cycles']:,} | "
            f"{line['cpu_s']:.0f} | {line['peak_mib']:.0f} | {apart} |"
        )
    return "\n".join(rows) + "\n"


def _export_all(names: list[str], folder: Path) -> None:
    """Export networks in one process; what went wrong with one is left in its folder."""
    command = [sys.executable, "-m", "benchmarks.networks", str(folder), *names, "--export"]
    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)


def _measure_alone(folder: Path, name: str, limit_s: int) -> dict[str, Any]:
    """Measure in a process of its own, forked from one that has imported what all need."""
    if (folder / "error").exists():
        return {"error": (folder / "error").read_text()}
    process = multiprocessing.get_context("forkserver").Process(
        target=_measure_to_file, args=(folder, name)
    )
    process.start()
    process.join(limit_s)
    if process.is_alive():
        process.kill()
        return {"error": f"not done in {limit_s} s"}
    result = folder / "result.json"
    return json.loads(result.read_text()) if result.exists() else {"error": "killed"}


def _measure_to_file(folder: Path, name: str) -> None:
    try:
        found = measure(folder, name)
    except Exception as error:  # one network's failure is a line of the table
        found = {"error": f"{type(error).__name__}: {error}"[:200]}
    (folder / "result.json").write_text(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="a .jsonl file, which grows")
    parser.add_argument("names", nargs="*", help="all where none is named")
    parser.add_argument("--limit", type=int, default=3600, help="seconds for each network")
    parser.add_argument("--export", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    known = {name: (package, pixels) for package, name, pixels in NETWORKS}
    if given.export:
        _declare_operators()
        for name in given.names:
            folder = given.results / name
            folder.mkdir()
            try:
                export(*known[name][:1], name, known[name][1], folder)
            except Exception as error:
                (folder / "error").write_text(f"{type(error).__name__}: {error}"[:200])
        return
    done: list[dict[str, Any]] = []
    if given.results.exists():
        done = [json.loads(line) for line in given.results.read_text().splitlines()]
    found = {line["name"] for line in done}
    names = [name for name in given.names or known if name not in found]
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(_PRELOADED))
    for first in range(0, len(names), _AT_ONCE):
        some = names[first : first + _AT_ONCE]
        with tempfile.TemporaryDirectory() as place:
            _export_all(some, Path(place))
            for name in some:
                package, pixels = known[name]
                line: dict[str, Any] = {"name": name, "package": package, "pixels": pixels}
                line |= _measure_alone(Path(place) / name, name, given.limit)
                done.append(line)
                with given.results.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    order = list(known)
    print(table(sorted(done, key=lambda line: order.index(line["name"]))))


if __name__ == "__main__":
    main()
