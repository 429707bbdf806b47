"""Makes matlab_oracle.npz: descriptors of hloc's NetVLAD for a seeded MATLAB file, which the tests compare with ours.

It runs hloc's own extractor, from a checkout, in an environment with torch, torchvision, SciPy, h5py and Pillow:

    python tests/data/make_matlab_oracle.py --originals FOLDER --data DATA

FOLDER holds Hierarchical-Localization (cvg), DATA the photographs and ImageNet weights that KERAS_SARE_DATA names. The
file is written with SciPy in the structure that NetVLAD's sources imply (`matlab_parameters`); MATLAB is not involved.
With `--file FILE` it describes the photographs with another file instead and prints the differences.
"""

import argparse
import importlib
import sys
import tempfile
import types
from pathlib import Path

import matlab_parameters as seeded
import numpy as np
import torch
from scipy.io import savemat

NAME = "VGG16-NetVLAD-Pitts30K"


def extractor(originals: Path, file: Path, whiten: bool) -> torch.nn.Module:
    """hloc's extractor on `file`, which lies where hloc would download to."""
    folder = originals / "Hierarchical-Localization" / "hloc"
    # Empty packages in place of hloc and hloc.extractors: hloc's own __init__ needs pycolmap.
    for name, part in (("hloc", folder), ("hloc.extractors", folder / "extractors"), ("hloc.utils", folder / "utils")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(part)]
    module = importlib.import_module("hloc.extractors.netvlad")
    with tempfile.TemporaryDirectory() as hub:
        Path(hub, "netvlad").mkdir()
        Path(hub, "netvlad", f"{NAME}.mat").symlink_to(file.absolute())
        torch.hub.set_dir(hub)
        return module.NetVLAD({"model_name": NAME, "whiten": whiten}).eval()


def describe(originals: Path, file: Path, images: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Whitened descriptors, and every 61st element of those before the whitening."""
    descriptors = {}
    for whiten in (True, False):
        model = extractor(originals, file, whiten)
        with torch.no_grad():
            tensors = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255 for image in images)
            rows = [model({"image": tensor})["global_descriptor"][0].numpy() for tensor in tensors]
        descriptors["whitened" if whiten else "netvlad"] = (
            np.stack(rows) if whiten else np.stack(rows)[:, :: seeded.KEPT]
        )
    return descriptors


def main() -> None:
    """Writes matlab_oracle.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--originals", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    oracle = Path(__file__).with_name("matlab_oracle.npz")
    images = seeded.photos(arguments.data)
    if arguments.file:
        stored = np.load(oracle)
        for name, found in describe(arguments.originals, arguments.file, images).items():
            sys.stdout.write(f"{name}: largest difference {np.abs(found - stored[name]).max():.3g}\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "net.mat")
        net = seeded.network(seeded.convolutions(arguments.data), seeded.vlad_head())
        savemat(file, seeded.for_savemat({"net": net}))
        np.savez_compressed(oracle, **describe(arguments.originals, file, images))


if __name__ == "__main__":
    main()
