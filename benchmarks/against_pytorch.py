"""Training step, cache refresh and extraction against PyTorch as OpenIBL and pytorch-NetVlad use it; see README.md.

    python benchmarks/against_pytorch.py --torch_python=TORCH_VENV/bin/python --output=benchmark.json
    python benchmarks/against_pytorch.py --torch_python=TORCH_VENV/bin/python --sizes=96x128 --rounds=2     # a trial

Each side is a process of its own with two threads; in every round both do all figures, one after the other, and the
order turns round by round. A ratio is that of one round, so that what slows the machine for a while slows both; given
are the median and the range over the rounds. Memory is that of processes that do nothing but steps.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sides import Side

Size = tuple[int, ...]

FLOAT = "float32"
PRECISIONS = {"float32": "float32", "mixed_bfloat16": "bfloat16"}
"""Precisions of a model, and the matrix product that is their floor."""


@dataclass(frozen=True)
class Figure:
    """What is compared.

    Attributes:
        name: of the figure on our side, and of its work.
        title: of the row.
        peer: figure on the other side.
        target: how many times faster it is to be.
        repeats: runs of ours in a round, so that a short one is measured as long as the other side's.
        per_image: whether seconds are those of an image; otherwise of a step.
    """

    name: str
    title: str
    peer: str
    target: float
    repeats: int = 1
    per_image: bool = False


FIGURES = (
    Figure("step_stored", "training step, store warm", "step", 6, repeats=4),
    Figure("step_pixels", "training step without store", "step", 1.4),
    Figure("refresh", "cache refresh an image, store warm", "extract", 8, per_image=True),
    Figure("extract", "extraction an image", "extract", 1.4, per_image=True),
)
STORED = 48
"""Images that a refresh describes: `keras_side.STORED`, which only the other environment can import."""


class Benchmark:
    """Both sides and the figures of one run.

    Args:
        flags: of the command line.
        folder: for images, store and weights.
    """

    def __init__(self, flags: argparse.Namespace, folder: Path) -> None:
        self.flags = flags
        self.folder = folder
        self.reference = folder / "reference.npz"
        self.figures = [figure for figure in FIGURES if figure.name in flags.figures.split(",")]
        self.peer = self._start_peer()
        self.ours = self._start_ours()

    def check(self, size: Size) -> float:
        """Largest difference between the sides' descriptors of the same images by the same weights."""
        self.peer("write_reference", path=str(self.reference), size=size, images=2)
        return self.ours("difference", size=size, images=2)["last"]

    def rounds(self, size: Size) -> list[dict[str, Any]]:
        """Measures all figures at one size, round by round."""
        done = []
        for number in range(self.flags.rounds):
            measured: dict[str, Any] = {}
            for side in (self._measure_peer, self._measure_ours)[:: 1 if number % 2 == 0 else -1]:
                measured |= dict(side(size))
            done.append(measured)
            print(f"round {number + 1} of {size[0]}x{size[1]} done", file=sys.stderr, flush=True)
        return done

    def memory(self, size: Size) -> dict[str, float]:
        """Bytes that a process with nothing but two steps takes at most, by figure."""
        peaks = {}
        for name in ("step", "step_stored", "step_pixels"):
            side = self._start_peer() if name == "step" else self._start_ours()
            options: dict[str, Any] = {} if name == "step" else {"precision": FLOAT}
            peaks[name] = side(name, size=size, images=2 + self.flags.negatives, **options)["peak"]
            side.close()
        return peaks

    def close(self) -> None:
        """Ends both sides."""
        self.peer.close()
        self.ours.close()

    def _start_peer(self) -> Side:
        return Side(self.flags.torch_python, "pytorch_peer.py")

    def _start_ours(self) -> Side:
        return Side(sys.executable, "keras_side.py", [str(self.folder), str(self.reference)])

    def _images(self, peer: str) -> int:
        return 2 + self.flags.negatives if peer == "step" else self.flags.batch

    def _measure_peer(self, size: Size) -> Iterator[tuple[str, Any]]:
        for name in sorted({figure.peer for figure in self.figures}):
            yield name, self.peer(name, size=size, images=self._images(name))

    def _measure_ours(self, size: Size) -> Iterator[tuple[str, Any]]:
        yield "rates", self.ours("rates")["last"]
        for figure, precision in itertools.product(self.figures, self.flags.precisions.split(",")):
            options: dict[str, Any] = {} if figure.name == "refresh" else {"images": self._images(figure.peer)}
            result = self.ours(figure.name, figure.repeats, size=size, precision=precision, **options)
            yield f"{figure.name} {precision}", result


def make_rows(results: dict[str, Any], figures: Sequence[Figure], negatives: int, batch: int) -> Iterator[list[str]]:
    """Rows of the table."""
    rates = [one["rates"] for size in results["sizes"].values() for one in size["rounds"]]
    best = {name: max(rate[name] for rate in rates) for name in rates[0]}
    for (name, size), figure in itertools.product(results["sizes"].items(), figures):
        for key in [key for key in size["rounds"][0] if key.startswith(f"{figure.name} ")]:
            precision = key.split()[1]
            images = 1 if figure.per_image else 2 + negatives
            per_peer, per_ours = (batch, STORED if figure.name == "refresh" else batch) if figure.per_image else (1, 1)
            peer = [one[figure.peer]["wall"] / per_peer for one in size["rounds"]]
            ours = [one[key]["wall"] / per_ours for one in size["rounds"]]
            ratios = [a / b for a, b in zip(peer, ours, strict=True)]
            processor = [
                one[figure.peer]["processor"] / per_peer / (one[key]["processor"] / per_ours) for one in size["rounds"]
            ]
            floor = images * size["work"][figure.name] / best[PRECISIONS[precision]]
            yield [
                f"{figure.title}, {name}" + ("" if precision == FLOAT else f", {precision}"),
                f"{statistics.median(peer):.3f}",
                f"{statistics.median(ours):.3f}",
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                f"{statistics.median(processor):.2f}",
                f"{figure.target:g}" if precision == FLOAT else "",
                f"{floor:.3f}",
                f"{statistics.median(ours) / floor:.2f}",
            ]


def print_report(results: dict[str, Any], figures: Sequence[Figure], flags: argparse.Namespace) -> None:
    """Prints the table and what belongs to it."""
    heads = ("figure", "PyTorch s", "ours s", "times faster", "by processor time", "target", "floor s", "ours / floor")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in make_rows(results, figures, flags.negatives, flags.batch):
        print(f"| {' | '.join(row)} |")
    print(f"\nA step is one tuple of 2 + {flags.negatives} images; extraction in batches of {flags.batch}.")
    for name, size in results["sizes"].items():
        rates = {key: max(one["rates"][key] for one in size["rounds"]) for key in size["rounds"][0]["rates"]}
        read = (2 + flags.negatives) * size["work"]["stored_bytes"]
        print(
            f"{name}: descriptors differ by {size['difference']:.1e} at most; matrix product "
            f"{rates['float32'] / 1e9:.0f} (float32) and {rates['bfloat16'] / 1e9:.0f} (bfloat16) G multiplications/s, "
            f"memory {rates['memory'] / 1e9:.1f} GB/s, disk {rates['disk'] / 1e9:.2f} GB/s. The store gives "
            f"{read / 1e6:.1f} MB a step: {1e3 * read / rates['memory']:.1f} ms by the memory's rate, "
            f"{1e3 * read / rates['disk']:.1f} ms by the disk's."
        )
        if memory := size.get("memory"):
            peaks = ", ".join(f"{key} {value / 2**30:.2f} GiB" for key, value in memory.items())
            shares = ", ".join(f"{memory[key] / memory['step']:.2f}" for key in ("step_stored", "step_pixels"))
            print(f"{name}: peak memory of a process with steps: PyTorch's {peaks}. Share of PyTorch's: {shares}")


def main() -> None:
    """Measures, prints a table and writes everything to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", default=sys.executable, help="Python with torch and torchvision.")
    parser.add_argument("--sizes", default="240x320,480x640", help="Of images, height x width.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8, help="Images in a batch of extraction.")
    parser.add_argument("--negatives", type=int, default=10)
    parser.add_argument("--figures", default=",".join(figure.name for figure in FIGURES))
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--memory", default="480x640", help="Size at which memory is measured; may be empty.")
    parser.add_argument("--folder", type=Path, help="For images and store; by default a temporary folder.")
    parser.add_argument("--output", type=Path, help="JSON file with every round.")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
        benchmark = Benchmark(flags, Path(folder))
        results: dict[str, Any] = {"flags": {k: str(v) for k, v in vars(flags).items()}, "sizes": {}}
        for name in flags.sizes.split(","):
            size = tuple(map(int, name.split("x")))
            measured = {"difference": benchmark.check(size), "rounds": benchmark.rounds(size)}
            results["sizes"][name] = {**measured, "work": benchmark.ours("work", size=size)["last"]}
        benchmark.close()
        if flags.memory in results["sizes"]:
            size = tuple(map(int, flags.memory.split("x")))
            results["sizes"][flags.memory]["memory"] = benchmark.memory(size)
    print_report(results, benchmark.figures, flags)
    if flags.output:
        flags.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
