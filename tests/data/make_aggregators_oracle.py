"""Makes aggregators_oracle.npz: descriptors of the original MixVPR, Conv-AP and SALAD, to compare ours with.

The originals are public and are not part of this project. Give the folder that holds their checkouts, from
https://github.com/amaralibey/MixVPR, https://github.com/amaralibey/gsv-cities and https://github.com/serizba/salad:

    pip install torch numpy
    python tests/data/make_aggregators_oracle.py --originals checkouts

Only outputs are stored. Maps [2, height, width, channels] come from RandomState(1), the token after them, and weights
from RandomState(2): every parameter in the original's order and shape, normal with deviation 0.3.
"""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

CONVAP_MAPS = ((7, 5, 2, 2), (6, 9, 3, 2), (2, 1, 3, 2), (4, 4, 1, 1))
SALAD_MAPS = ((4, 5), (3, 3))


def original(path: Path, name: str) -> type:
    """The class `name` of the file `path`."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def with_weights(module: torch.nn.Module) -> torch.nn.Module:
    """The module in inference mode with drawn weights."""
    random = np.random.RandomState(2)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.tensor(0.3 * random.normal(size=tuple(weight.shape))))
    return module.eval()


def inputs(height: int, width: int, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps [2, channels, height, width] and a token [2, channels]."""
    random = np.random.RandomState(1)
    maps = random.normal(size=(2, height, width, channels)).transpose(0, 3, 1, 2)
    token = random.normal(size=(2, channels))
    return torch.tensor(maps, dtype=torch.float32), torch.tensor(token, dtype=torch.float32)


def descriptors(originals: Path) -> dict[str, np.ndarray]:
    """Descriptor of every case by its name."""
    mixvpr = original(originals / "MixVPR/models/aggregators/mixvpr.py", "MixVPR")
    convap = original(originals / "gsv-cities/models/aggregators/convap.py", "ConvAP")
    salad = original(originals / "salad/models/aggregators/salad.py", "SALAD")
    cases: dict[str, torch.Tensor] = {}
    for ratio in (1, 1.5):
        module = with_weights(mixvpr(6, 4, 5, out_channels=7, mix_depth=2, mlp_ratio=ratio, out_rows=3))
        cases[f"mixvpr_{ratio}"] = module(inputs(4, 5, 6)[0])
    for height, width, s1, s2 in CONVAP_MAPS:
        module = with_weights(convap(6, out_channels=4, s1=s1, s2=s2))
        cases[f"convap_{height}x{width}_{s1}x{s2}"] = module(inputs(height, width, 6)[0])
    for height, width in SALAD_MAPS:
        module = with_weights(salad(num_channels=6, num_clusters=4, cluster_dim=5, token_dim=3))
        cases[f"salad_{height}x{width}"] = module(inputs(height, width, 6))
    return {name: value.numpy() for name, value in cases.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes aggregators_oracle.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=Path, required=True, help="folder of the checkouts")
    torch.set_num_threads(1)
    with torch.no_grad():
        np.savez(
            Path(__file__).with_name("aggregators_oracle.npz"),
            **descriptors(parser.parse_args(arguments).originals),
        )


if __name__ == "__main__":
    main()
