"""Makes multi_scale_oracle.npz: multi-scale descriptors by the public code on seeded images, to compare ours with.

It runs the project's own code, from a checkout in a folder, in an environment with torch and torchvision:

    python tests/data/make_multi_scale_oracle.py --originals FOLDER

FOLDER holds cnnimageretrieval-pytorch (filipradenovic). What it writes, for each pooling and each set of scales:
`<pooling>/<scales>/<height>x<width>` [CHANNELS]. The images and the one convolution of the network come from a seed.

The code is of the days before PyTorch 1.6, when `interpolate` stretched an image over the whole of its new size; since
then it cuts off what the rounded size leaves over, unless it is told otherwise. It is told so here.
"""

import argparse
import functools
import sys
from pathlib import Path

import numpy as np

CHANNELS = 8
SEED = 5
POWER = 3.0
SIZES = ((160, 192), (131, 177))
SCALES = {"multi": (1.0, 2**-0.5, 0.5), "whitened": (1.0, 2**0.5, 2**-0.5), "half": (0.5,)}


def inputs() -> tuple[list[np.ndarray], np.ndarray]:
    """Images float32 [height, width, 3] in 0..255, and a kernel float32 [3, 3, 3, CHANNELS] that Keras takes."""
    random = np.random.RandomState(SEED)
    images = [random.uniform(0, 255, (*size, 3)).astype("float32") for size in SIZES]
    return images, (random.normal(size=(3, 3, 3, CHANNELS)) / 100).astype("float32")


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--originals", type=Path, required=True)
    sys.path.append(str(parser.parse_args().originals / "cnnimageretrieval-pytorch"))
    import torch
    from cirtorch.layers.normalization import L2N
    from cirtorch.layers.pooling import MAC, GeM
    from cirtorch.networks.imageretrievalnet import extract_ms

    torch.nn.functional.interpolate = functools.partial(torch.nn.functional.interpolate, recompute_scale_factor=True)
    images, kernel = inputs()
    outputs = {}
    for pooling, layer, power in (("mac", MAC(), 1.0), ("gem", GeM(p=POWER), POWER)):
        convolution = torch.nn.Conv2d(3, CHANNELS, 3, 2, bias=False)
        convolution.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
        network = torch.nn.Sequential(convolution, torch.nn.ReLU(), layer, L2N(), torch.nn.Flatten())
        network.meta = {"outputdim": CHANNELS}
        for image in images:
            batch = torch.tensor(image.transpose(2, 0, 1)[None].copy())
            for name, scales in SCALES.items():
                with torch.no_grad():
                    key = f"{pooling}/{name}/{image.shape[0]}x{image.shape[1]}"
                    outputs[key] = extract_ms(network, batch, scales, power).numpy()
    np.savez_compressed(Path(__file__).with_name("multi_scale_oracle.npz"), **outputs)


if __name__ == "__main__":
    main()
