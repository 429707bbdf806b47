"""Writes torchvision_oracle.npz: what torchvision's ResNet-50, ResNet-101 and AlexNet give with drawn weights.

And what PyTorch makes of a grid of position embeddings as DINOv2's code resizes them.

Weights are not stored: `drawn_weights` draws them from a layer's name and their shapes in Keras's layout, here and in
the test. Run with torch and torchvision installed:

    python tests/data/make_torchvision_oracle.py
"""

import re
import zlib
from pathlib import Path

import numpy as np
import torch
import torchvision

SHAPE = (1, 75, 64, 3)
KEPT = 500


def drawn_weights(name: str, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Kernel and bias of a convolution, or gamma, beta, mean and variance, from the layer's name."""
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if len(shapes) == 4:
        drawn = [0.1 + 0.4 * rng.rand(*shapes[0]), 0.1 * rng.randn(*shapes[1])]
        drawn += [0.1 * rng.randn(*shapes[2]), 0.5 + rng.rand(*shapes[3])]
    else:
        scale = np.sqrt(2 / np.prod(shapes[0][:-1]))
        drawn = [scale * rng.randn(*shapes[0]), *(0.1 * rng.randn(*shape) for shape in shapes[1:])]
    return [array.astype("float32") for array in drawn]


def keras_name(module: str, alexnet: bool) -> str:
    """Name here of a module of torchvision: conv2_block1_0_bn for layer1.0.downsample.1."""
    if alexnet:
        return f"conv{(0, 3, 6, 8, 10).index(int(module.removeprefix('features.'))) + 1}"
    if match := re.fullmatch(r"(conv|bn)1", module):
        return f"conv1_{match[1]}"
    if match := re.fullmatch(r"layer(\d)\.(\d+)\.downsample\.(\d)", module):
        return f"conv{int(match[1]) + 1}_block{int(match[2]) + 1}_0_{('conv', 'bn')[int(match[3])]}"
    if match := re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn)(\d)", module):
        return f"conv{int(match[1]) + 1}_block{int(match[2]) + 1}_{match[4]}_{match[3]}"
    raise ValueError(module)


def draw_into(network: torch.nn.Module, alexnet: bool) -> None:
    """Gives every convolution and batch normalisation its drawn weights."""
    for module_name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            shape = tuple(module.weight.shape)
            shapes = [(shape[2], shape[3], shape[1], shape[0])] + ([(shape[0],)] if module.bias is not None else [])
            kernel, *bias = drawn_weights(keras_name(module_name, alexnet), shapes)
            module.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()))
            if bias:
                module.bias.copy_(torch.from_numpy(bias[0]))
        elif isinstance(module, torch.nn.BatchNorm2d):
            drawn = drawn_weights(keras_name(module_name, alexnet), [(module.num_features,)] * 4)
            for target, array in zip(
                (module.weight, module.bias, module.running_mean, module.running_var), drawn, strict=True
            ):
                target.copy_(torch.from_numpy(array))


def outputs(name: str, images: torch.Tensor) -> dict[str, np.ndarray]:
    """Feature maps [batch, height, width, channels] where the network is cut."""
    alexnet = name == "alexnet"
    network = getattr(torchvision.models, name)(weights=None).eval()
    draw_into(network, alexnet)
    if alexnet:
        maps = {"conv5": network.features[:12](images), "pool5": network.features(images)}
    else:
        x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        conv4 = network.layer3(network.layer2(network.layer1(x)))
        maps = {"conv4": conv4, "conv5": network.layer4(conv4)}
    return {f"{name}_{part}": value.permute(0, 2, 3, 1).numpy() for part, value in maps.items()}


def main() -> None:
    """Draws an image and stores the shape, the largest value and some values of every output."""
    torch.set_num_threads(1)
    images = np.random.RandomState(0).rand(*SHAPE).astype("float32") * 4 - 2
    stored: dict[str, np.ndarray] = {}
    with torch.no_grad():
        for name in ("resnet50", "resnet101", "alexnet"):
            found = outputs(name, torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())
            for part, maps in found.items():
                chosen = np.random.RandomState(1).permutation(maps.size)[:KEPT]
                stored |= {f"{part}_shape": np.array(maps.shape), f"{part}_largest": np.abs(maps).max()}
                stored |= {f"{part}_indices": chosen, f"{part}_values": maps.ravel()[chosen]}
    grid = torch.from_numpy(np.random.RandomState(2).rand(1, 2, 37, 37).astype("float32"))
    for rows, columns in ((4, 6), (16, 16), (40, 37)):
        # As DINOv2's code resizes its position embeddings: by factors, with a tenth of a position added.
        factors = ((rows + 0.1) / 37, (columns + 0.1) / 37)
        resized = torch.nn.functional.interpolate(grid, scale_factor=factors, mode="bicubic")
        stored[f"positions_{rows}_{columns}"] = resized[0].permute(1, 2, 0).numpy()
    np.savez_compressed(Path(__file__).with_name("torchvision_oracle.npz"), **stored)


if __name__ == "__main__":
    main()
