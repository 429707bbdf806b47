"""Stages of `trainers.extract`: what can be known is checked, then the cost is told, then the work is done."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_sare.datasets import set_max_pixels
from keras_sare.datasets.images.pixel_limit import pixel_limit
from keras_sare.datasets.photo_sources.files import is_address
from keras_sare.datasets.photo_sources.open_photos import open_photos
from keras_sare.datasets.photo_sources.photo_source import PhotoSource
from keras_sare.localization import IndexRecord, PlaceIndex
from keras_sare.utils.files import check_writable_folder, lock
from keras_sare.utils.progress import progress
from trainers.config import ExtractConfig
from trainers.stages.extract.engine import Engine, ModelFacts
from trainers.stages.extract.estimate import Estimate, estimate
from trainers.stages.extract.extraction import Extraction
from trainers.stages.extract.left_out import FILE as LEFT_OUT
from trainers.stages.extract.left_out import LeftOut
from trainers.stages.extract.local import LocalEngine
from trainers.stages.extract.record import FILE, ExtractionRecord, Progress
from trainers.stages.extract.taken import TakenPhotos

logger = logging.getLogger("keras_sare.extract")

Say = Callable[[str], None]


def extract(config: ExtractConfig, say: Say) -> None:
    """Extracts the descriptors of photos into a place index.

    Args:
        config: of the extraction.
        say: is given what the program tells: the estimate, and what was done.
    """
    set_max_pixels(config.max_pixels)
    config = _with_whole_paths(config)
    output = Path(config.output)
    source = open_photos(config.photos)
    _check_output(output)
    with _engine(config, source.kind) as engine:
        if not config.estimate:
            lock(output.with_name(f".{output.name}.lock"))
        size = -(-config.shard // engine.facts.block) * engine.facts.block
        record, index = _begin(config, output, engine.facts, source, size)
        cost = estimate(engine, source, record.progress.after, record.progress.seen)
        if not cost.dim and index is None:
            raise ValueError(f"`photos` must hold photos. Received: {config.photos!r}, without any")
        if cost.dim:
            say(cost.text(output))
        if config.estimate:
            return
        cost.check_room(output)
        index_record = _index_record(engine.facts, source.kind, cost.dim) if index is None else index.record
        left_out = LeftOut(record.progress.left_out, record.progress.seen, config.max_corrupt_share)
        extraction = Extraction(output, record, index, index_record, left_out, size)
        say(_summary(output, _run(extraction, engine, source, record.progress, cost, size)))


def _index_record(facts: ModelFacts, kind: str, dim: int) -> IndexRecord:
    return IndexRecord(facts.identity, facts.name, dim, kind, facts.preprocessing)


def _run(
    extraction: Extraction, engine: Engine, source: PhotoSource, done: Progress, cost: Estimate, size: int
) -> Progress:
    taken = TakenPhotos(source.photos(done.after), size)
    total = done.seen + cost.photos
    described = progress(engine.describe(taken), "extract", total, "photo", len, done.seen)
    return extraction.run(described, taken)


def _engine(config: ExtractConfig, kind: str) -> Engine:
    if config.engine == "local":
        return LocalEngine(config, kind)
    from trainers.stages.extract.ray_engine import RayEngine

    return RayEngine(config, kind)


def _check_output(output: Path) -> None:
    """Checks that an extraction may begin or go on in a folder."""
    check_writable_folder(output)
    if output.exists() and not (output / FILE).is_file():
        raise FileExistsError(
            "`output` must be new, or the folder of an extraction to go on with; name another. "
            f"Received: {str(output)!r}"
        )


def _begin(
    config: ExtractConfig, output: Path, facts: ModelFacts, source: PhotoSource, size: int
) -> tuple[ExtractionRecord, PlaceIndex | None]:
    settings = _settings(config, facts, size)
    state = source.state()
    if not output.exists():
        source.check_names(1e9 * config.memory_gb)
        return ExtractionRecord(settings, state), None
    found = ExtractionRecord.read(output)
    found.check_same(settings, state, output)
    index = PlaceIndex(output)
    settled = found.settled(index)
    if settled != found:
        settled.write(output)
    return settled, index


def _with_whole_paths(config: ExtractConfig) -> ExtractConfig:
    """Paths as seen from anywhere: other processes have other folders."""
    here = {name: getattr(config, name) for name in ("model", "photos")}
    return config.changed({name: path if is_address(path) else os.path.abspath(path) for name, path in here.items()})


def _settings(config: ExtractConfig, facts: ModelFacts, size: int) -> dict[str, Any]:
    return {
        "model": facts.identity,
        "preprocessing": facts.preprocessing,
        "photos": config.photos,
        "batch": config.batch,
        "shard": size,
        "max_pixels": pixel_limit(),
        "max_file_mb": config.max_file_mb,
    }


def _summary(output: Path, done: Progress) -> str:
    left_out = f", {done.left_out} left out: see {output / LEFT_OUT}" if done.left_out else ""
    return f"{output}: {done.photos} photos in {done.shards} shards{left_out}"
