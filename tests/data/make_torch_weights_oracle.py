"""Makes torch_weights_oracle.npz: descriptors by the networks of other projects, to compare imported ones with.

It builds each project's own model class, from checkouts side by side in one folder, in an environment with torch,
torchvision, h5py and packaging, and runs it on two photographs behind the project's own preprocessing:

    python tests/data/make_torch_weights_oracle.py --originals FOLDER --data DATA

FOLDER holds OpenIBL (yxgeee), pytorch-NetVlad (Nanne), Patch-NetVLAD (QVPR), deep-visual-geo-localization-benchmark
(gmberton) and cnnimageretrieval-pytorch (filipradenovic). DATA holds kitay_gorod, ie_tower and weights. Parameters are
VGG16's convolutions, k-means centres of what the network gives for photographs, which are written to
netvlad_centres.npz first, and random numbers, see torch_weights_parameters.py. What it writes, for every case:

* `<case>/descriptors` [2, dim], see `shortened` there;
* `<case>/shapes`: JSON of the names and shapes of the original's state dict, in its order;
* `<case>/meta`: JSON of what cirtorch stores beside it;

and `photos`, the SHA-256 of the photographs. Beside it come torch_weights_zip.pth and torch_weights_legacy.pth, small
files by `torch.save` in both of its formats, torch_weights_network.pth, a whole network by `torch.save`, and
torch_weights_program.pth, a TorchScript program.
"""

import argparse
import collections
import configparser
import functools
import hashlib
import importlib
import io
import json
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torchvision
from PIL import Image
from torch_weights_parameters import CENTRES, learned_whitening, photos, seeded_state, shortened
from torchvision import transforms

HERE = Path(__file__).parent
NETWORKS = ("vgg16", "alexnet", "resnet50", "resnet101")
ABSENT = ("cv2", "faiss", "sklearn", "sklearn.neighbors", "tqdm", "transformers", "google_drive_downloader")

Case = tuple[str, torch.nn.Module, Callable[[torch.nn.Module, torch.Tensor], torch.Tensor], Callable]
"""Name, network, (network, prepared images) -> descriptors, transform of a PIL image."""


def call(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Descriptors of a network that returns nothing else."""
    return network(images)


def pooled(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Descriptors as pytorch-NetVlad's program computes them of encoder and pool."""
    return network.pool(network.encoder(images))


def openibl(folder: Path) -> Iterator[Case]:
    """EmbedNet and EmbedNetPCA."""
    # The package's own __init__ imports its training programs.
    package = types.ModuleType("ibl")
    package.__path__ = [str(folder / "ibl")]
    sys.modules["ibl"] = package
    models = importlib.import_module("ibl.models")
    data = importlib.import_module("ibl.utils.data")
    transform = data.get_transformer_test(160, 120)
    for name, clusters, extra in (("embednet", 64, {}), ("embednetpca", 64, {"dim": 16})):
        base = models.create("vgg16", pretrained=False)
        network = models.create(name, base, models.create("netvlad", num_clusters=clusters, dim=512), **extra)
        yield f"openibl_{name}", network, (call if extra else lambda n, x: n(x)[1]), transform


def nanne(folder: Path) -> Iterator[Case]:
    """Encoder and pool as main.py puts them together."""
    sys.path.insert(0, str(folder))
    netvlad = importlib.import_module("netvlad")
    with mock.patch("os.path.exists", return_value=True):
        transform = importlib.import_module("pittsburgh").input_transform()
    for name, architecture, channels, clusters, version2 in (
        ("vgg16", "vgg16", 512, 64, False),
        ("v2_parallel", "alexnet", 256, 8, True),
    ):
        network = torch.nn.Module()
        layers = list(getattr(torchvision.models, architecture)().features.children())[:-2]
        network.add_module("encoder", torch.nn.Sequential(*layers))
        network.add_module("pool", netvlad.NetVLAD(num_clusters=clusters, dim=channels, vladv2=version2))
        if version2:
            network.encoder = torch.nn.DataParallel(network.encoder)
            network.pool = torch.nn.DataParallel(network.pool)
        yield f"nanne_{name}", network, pooled, transform


def patch_netvlad(folder: Path) -> Iterator[Case]:
    """The global descriptor, 16 clusters as in the models for Mapillary."""
    sys.path.insert(0, str(folder))
    models = importlib.import_module("patchnetvlad.models.models_generic")
    transform = importlib.import_module("patchnetvlad.tools.datasets").input_transform((160, 120))
    config = configparser.ConfigParser()
    settings = {"pooling": "patchnetvlad", "num_clusters": 16, "vladv2": False, "num_pcs": 16}
    config.read_dict({"global_params": {**settings, "patch_sizes": 2, "strides": 1}})
    channels, encoder = models.get_backend()
    network = models.get_model(encoder, channels, config["global_params"], append_pca_layer=True)
    yield "patch_netvlad", network, lambda n, x: models.get_pca_encoding(n, pooled(n, x)[1]), transform


def vgb(folder: Path) -> Iterator[Case]:
    """GeoLocalizationNet."""
    sys.path.insert(0, str(folder))
    sys.modules["model.cct"] = mock.MagicMock()  # A transformer, which wants timm.
    network = importlib.import_module("model.network")
    transform = importlib.import_module("datasets_ws").base_transform
    for name, backbone, aggregation, l2, dim in (
        ("vgg16_netvlad", "vgg16", "netvlad", "before_pool", None),
        ("resnet50_netvlad", "resnet50conv4", "netvlad", "before_pool", None),
        ("vgg16_gem", "vgg16", "gem", "before_pool", None),
        ("alexnet_gem_fc", "alexnet", "gem", "after_pool", 64),
        ("alexnet_gem_wide_fc", "alexnet", "gem", "before_pool", 512),
        ("alexnet_rmac", "alexnet", "rmac", "before_pool", None),
        ("alexnet_spoc", "alexnet", "spoc", "after_pool", None),
    ):
        args = types.SimpleNamespace(backbone=backbone, aggregation=aggregation, l2=l2, fc_output_dim=dim)
        args.pretrain = "imagenet"
        args.netvlad_clusters = 64 if backbone == "vgg16" else 16
        yield f"vgb_{name}", network.GeoLocalizationNet(args), call, transform


def cirtorch(folder: Path) -> Iterator[Case]:
    """ImageRetrievalNet, whose descriptors are columns."""
    sys.path.insert(0, str(folder))
    networks = importlib.import_module("cirtorch.networks.imageretrievalnet")
    whiten = importlib.import_module("cirtorch.utils.whiten")

    def columns(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        return network(images).T

    def whitened(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        vectors = network(images).numpy()
        return torch.tensor(whiten.whitenapply(vectors, *learned_whitening(len(vectors)).values()).T)

    for name, architecture, pooling, extra in (
        ("vgg16_gem_whiten", "vgg16", "gem", {"whitening": True}),
        ("resnet101_gem", "resnet101", "gem", {}),
        ("alexnet_gemmp_lw", "alexnet", "gemmp", {}),
        ("alexnet_rmac", "alexnet", "rmac", {}),
        ("alexnet_regional_mac", "alexnet", "mac", {"regional": True}),
    ):
        params = {"architecture": architecture, "pooling": pooling, "pretrained": False, **extra}
        network = networks.init_network(params)
        normalize = transforms.Normalize(mean=network.meta["mean"], std=network.meta["std"])
        transform = transforms.Compose([transforms.ToTensor(), normalize])
        yield f"cirtorch_{name}", network, (whitened if name.endswith("lw") else columns), transform


def of_torchvision(folder: Path) -> Iterator[Case]:
    """Maxima of the last feature map of classification networks."""
    weights = torchvision.models.VGG16_Weights.IMAGENET1K_V1.transforms()
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean=weights.mean, std=weights.std)])

    def mac(network: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
        # Up to the last ReLU: without the last pooling of VGG16 and AlexNet.
        resnet = [child for name, child in network.named_children() if name not in ("avgpool", "fc")]
        layers = network.features[:-1] if hasattr(network, "features") else torch.nn.Sequential(*resnet)
        return torch.nn.functional.normalize(layers(images).amax((2, 3)))

    for name in ("vgg16", "alexnet", "resnet50"):
        yield f"torchvision_{name}", getattr(torchvision.models, name)(), mac, transform


def local_descriptors(case: Case, data: Path) -> np.ndarray:
    """What NetVLAD is given for photographs of both places, thinned out as those of the tests: [n, channels]."""
    _, network, describe, transform = case
    seen: list[torch.Tensor] = []
    layer = next(module for module in network.modules() if isinstance(getattr(module, "centroids", None), torch.Tensor))
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(2).transpose(1, 2)))
    files = [*sorted((data / "kitay_gorod" / "images").glob("*.jpg"))[1::2]]
    files += sorted((data / "ie_tower" / "images").rglob("*.jpg"))[::8]
    for file in files:
        photo = np.asarray(Image.open(file).convert("RGB"))
        step = max(photo.shape) // 160
        describe(network, transform(Image.fromarray(photo[::step, ::step].copy()))[None])
    hook.remove()
    return torch.nn.functional.normalize(torch.cat([maps[0] for maps in seen])).numpy().astype("float64")


def k_means(sample: np.ndarray, clusters: int) -> tuple[np.ndarray, float]:
    """Centres by Lloyd's algorithm, and the alpha that NetVLAD's appendix A makes of them."""
    random = np.random.RandomState(1)
    centres = sample[random.permutation(len(sample))[:clusters]]
    for _ in range(50):
        nearest = (2 * sample @ centres.T - np.square(centres).sum(1)).argmax(1)
        members = [sample[nearest == k] for k in range(clusters)]
        centres = np.stack([m.mean(0) if len(m) else c for m, c in zip(members, centres, strict=True)])
    scores = np.sort(sample @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T, axis=1)
    return centres, -np.log(0.01) / np.mean(scores[:, -1] - scores[:, -2])


def run(case: Case, data: Path) -> dict[str, np.ndarray]:
    """Gives a network its parameters and describes the photographs."""
    name, network, describe, transform = case
    shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    # Classifiers are large and play no part.
    wanted = {key: shape for key, shape in shapes.items() if not key.startswith("classifier.")}
    clusters = next((shape for key, shape in wanted.items() if key.endswith("centroids")), None)
    with torch.no_grad():
        if clusters and (shape := "x".join(map(str, clusters))) not in (centres := dict(np.load(CENTRES))):
            backbone = {key: size for key, size in wanted.items() if "centroids" not in key}
            load(network, seeded_state(backbone, data), strict=False)
            found, alpha = k_means(local_descriptors(case, data), clusters[0])
            np.savez_compressed(CENTRES, **centres, **{shape: found.astype("f2"), f"alpha_{shape}": np.float32(alpha)})
        load(network, seeded_state(wanted, data), strict=wanted == shapes)
        images = torch.stack([transform(Image.fromarray(photo)) for photo in photos(data)])
        descriptors = describe(network, images).numpy().astype("float32")
    meta = json.dumps(getattr(network, "meta", None))
    return {
        f"{name}/descriptors": shortened(descriptors),
        f"{name}/shapes": np.asarray(json.dumps(shapes)),
        f"{name}/meta": np.asarray(meta),
    }


def load(network: torch.nn.Module, state: dict[str, np.ndarray], strict: bool) -> None:
    """Gives a network parameters, for inference."""
    network.load_state_dict({key: torch.from_numpy(array) for key, array in state.items()}, strict=strict)
    network.eval()


def save_small_files() -> None:
    """Writes files that hold one of everything that checkpoints hold, in both formats of torch."""
    table = torch.arange(24.0).reshape(4, 6)
    state = collections.OrderedDict(
        transposed=table.T,
        row=table[2],
        column=table[:, 1],
        expanded=torch.arange(3.0).expand(1, 3),
        half=torch.tensor([1.5, -2.0]).half(),
        bfloat16=torch.tensor([1.5, -2.0]).bfloat16(),
        double=torch.ones(2, dtype=torch.float64) / 3,
        long=torch.tensor([1, -2]),
        bytes=torch.tensor([1, 255], dtype=torch.uint8),
        flags=torch.tensor([True, False]),
        scalar=torch.tensor(7),
        empty=torch.zeros(0, 3),
        parameter=torch.nn.Parameter(torch.full((2, 2), 0.5)),
    )
    state._metadata = collections.OrderedDict(version=1)
    content = {
        "state_dict": state,
        "epoch": 3,
        "recalls": {1: np.float64(0.25)},
        "Lw": {"m": np.arange(3.0)[:, None], "P": np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3))},
        "args": argparse.Namespace(lr=1e-3),
        "size": torch.Size([2, 3]),
        "device": torch.device("cuda:0"),
        "seen": {1, 2},
        "optimizer": {"state": collections.defaultdict(dict, {0: {"step": 5}}), "param_groups": [{"lr": 0.001}]},
    }
    torch.save(content, HERE / "torch_weights_zip.pth")
    torch.save(content, HERE / "torch_weights_legacy.pth", _use_new_zipfile_serialization=False)


def save_what_is_not_weights() -> None:
    """Writes the other two kinds of files that people take for weights."""
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    torch.save(network, HERE / "torch_weights_network.pth")
    program = io.BytesIO()
    torch.jit.save(torch.jit.script(network), program)
    with (
        zipfile.ZipFile(program) as archive,
        zipfile.ZipFile(HERE / "torch_weights_program.pth", "w") as target,
    ):
        for info in archive.infolist():
            # The places of the source code, which depend on the installation.
            if not info.filename.endswith(".debug_pkl"):
                target.writestr(info, archive.read(info))


def main() -> None:
    """Writes the files beside this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--originals", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    save_small_files()
    save_what_is_not_weights()
    # What the projects want these for is not run here; nor are weights downloaded.
    sys.modules |= {name: mock.MagicMock() for name in ABSENT}
    for name in NETWORKS:
        untrained = functools.partial(getattr(torchvision.models, name))
        setattr(torchvision.models, name, lambda *args, untrained=untrained, **kwargs: untrained())
    np.savez_compressed(CENTRES)
    oracle = {"photos": np.asarray(hashlib.sha256(photos(flags.data).tobytes()).hexdigest())}
    for project, folder in (
        (openibl, "OpenIBL"),
        (nanne, "pytorch-NetVlad"),
        (patch_netvlad, "Patch-NetVLAD"),
        (vgb, "deep-visual-geo-localization-benchmark"),
        (cirtorch, "cnnimageretrieval-pytorch"),
        (of_torchvision, ""),
    ):
        for case in project(flags.originals / folder):
            oracle |= run(case, flags.data)
    np.savez_compressed(HERE / "torch_weights_oracle.npz", **oracle)


if __name__ == "__main__":
    main()
