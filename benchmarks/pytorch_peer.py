"""A training step and descriptor extraction the way OpenIBL and pytorch-NetVlad do them, to measure against.

Written anew; nothing of them is copied. Taken over is how the work is done:

- torchvision's VGG16 up to conv5_3, cut before its ReLU. All layers stay in the network; those before conv5_1 are
  frozen by `requires_grad = False`, so every step computes them again for every image.
- NetVLAD with 64 clusters builds the residuals of every local descriptor to every centre, [batch, clusters, channels,
  positions], and then weights and sums them, as OpenIBL does. (pytorch-NetVlad forms the same residuals cluster by
  cluster in a loop: "slower than non-looped, but lower memory usage".) Normalised per cluster, then as a whole.
- SARE independent: squared distances of expanded anchors, a softmax over (positive, negative) for each negative.
- SGD with momentum 0.9 and weight decay 1e-3 over the trained weights; one tuple of 1 + 1 + 10 images a step.
- Extraction in `eval` and `no_grad`, batch by batch.

Left out: their data loaders (images come as normalised tensors that lie in memory), CUDA, distribution. Weights are
random: the speed does not depend on them. `against_pytorch.py` runs this file; by itself it waits for commands.

Needs torch and torchvision, in any environment: `pip install torch torchvision`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from same_images import CLUSTERS, THREADS, pixels
from sides import serve
from torch.nn import functional

FIRST_TRAINED = 24
"""Index of conv5_1 in torchvision's `features`."""


class NetVLADNetwork(torch.nn.Module):
    """VGG16 and NetVLAD."""

    def __init__(self) -> None:
        super().__init__()
        features = torchvision.models.vgg16(weights=None).features
        self.backbone = features[:-2]
        for layer in self.backbone[:FIRST_TRAINED]:
            layer.requires_grad_(False)
        self.assignment = torch.nn.Conv2d(512, CLUSTERS, 1, bias=False)
        self.centroids = torch.nn.Parameter(torch.rand(CLUSTERS, 512))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Descriptors [batch, clusters * channels] of images [batch, 3, height, width]."""
        maps = functional.normalize(self.backbone(images), dim=1)
        weights = functional.softmax(self.assignment(maps).flatten(2), dim=1)
        residuals = maps.flatten(2).unsqueeze(1) - self.centroids[None, :, :, None]
        residuals *= weights.unsqueeze(2)
        vlad = functional.normalize(residuals.sum(-1), dim=2)
        return functional.normalize(vlad.flatten(1), dim=1)


def sare(descriptors: torch.Tensor) -> torch.Tensor:
    """SARE independent of one tuple: query, positive, negatives."""
    query = descriptors[:1]
    positive = descriptors[1:2]
    negatives = descriptors[2:]
    negative_distances = ((query.expand_as(negatives) - negatives) ** 2).sum(1)
    positive_distances = ((query - positive) ** 2).sum(1).expand_as(negative_distances)
    logits = -torch.stack([positive_distances, negative_distances], dim=1)
    return -functional.log_softmax(logits, dim=1)[:, 0].mean()


def images_for(size: tuple[int, int], count: int) -> torch.Tensor:
    """Images as torchvision's weights want them, [count, 3, height, width]."""
    mean = torch.tensor([0.485, 0.456, 0.406])
    std = torch.tensor([0.229, 0.224, 0.225])
    scaled = (torch.from_numpy(pixels(size, count)) / 255 - mean) / std
    return scaled.permute(0, 3, 1, 2).contiguous()


def step(size: tuple[int, int], images: int) -> Callable[[], float]:
    """A training step on one tuple; gives the loss."""
    network = _network().train()
    batch = images_for(size, images)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3, momentum=0.9, weight_decay=1e-3)

    def run() -> float:
        loss = sare(network(batch))
        value = loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return value

    return run


def extract(size: tuple[int, int], images: int) -> Callable[[], None]:
    """Descriptors of a batch."""
    network = _network().eval()
    batch = images_for(size, images)

    def run() -> None:
        with torch.no_grad():
            network(batch)

    return run


def write_reference(path: str, size: tuple[int, int], images: int) -> Callable[[], None]:
    """Writes weights and descriptors, for the other side to compare with."""

    def run() -> None:
        network = _network().eval()
        with torch.no_grad():
            arrays: dict[str, Any] = {"descriptors": network(images_for(size, images)).numpy()}
        convolutions = [layer for layer in network.backbone if isinstance(layer, torch.nn.Conv2d)]
        for i, layer in enumerate(convolutions):
            arrays[f"kernel_{i}"] = layer.weight.detach().permute(2, 3, 1, 0).numpy()
            arrays[f"bias_{i}"] = layer.bias.detach().numpy()
        arrays["assignment"] = network.assignment.weight.detach()[:, :, 0, 0].T.numpy()
        arrays["centroids"] = network.centroids.detach().numpy()
        np.savez(Path(path), **arrays)

    return run


def _network() -> NetVLADNetwork:
    torch.manual_seed(0)
    return NetVLADNetwork()


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    serve({"step": step, "extract": extract, "write_reference": write_reference})
