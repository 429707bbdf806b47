"""What `python -m serving.client` does with its photos."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import grpc

from keras_sare.utils.progress import progress
from keras_sare.utils.text import printable
from serving.client.embedding_client import EmbeddingClient
from serving.client.exchange import STRICT, TOLERANT, EmbeddingError, FileAnswer
from serving.client.outputs import errors_beside, write_errors, write_output
from serving.client.photos import PhotoNames
from serving.client.store import Store

_OUTPUTS = {TOLERANT: {"embedding", "error"}, STRICT: {"embedding"}}


def signature_for_files(client: EmbeddingClient) -> str:
    """The signature that photos are sent to: `tolerant` where the model has it.

    Raises:
        EmbeddingError: the server does not answer, or does not know the model.
        ValueError: no signature of the model takes files.
    """
    try:
        signatures = client.signatures()
    except EmbeddingError as error:
        if error.code == grpc.StatusCode.UNIMPLEMENTED:
            return STRICT
        raise
    for name, wanted in _OUTPUTS.items():
        inputs, outputs = signatures.get(name, (set(), set()))
        if inputs == {"image_bytes"} and wanted <= outputs:
            return name
    raise ValueError(
        f"`model` must have a signature {' or '.join(_OUTPUTS)} from `image_bytes` to `embedding`; export it with "
        f"`python -m export`. Received: signatures={sorted(signatures)}"
    )


def embed_to_file(
    client: EmbeddingClient, names: PhotoNames, output: Path, batch_size: int, signature: str, root: str | None
) -> str:
    """Embeds photos into a file; goes on where an earlier run was broken off.

    Args:
        client: of the server. Its version of the model must be settled, so that no other gets into the same file.
        names: the photos.
        output: file to write.
        batch_size: photos in a request.
        signature: that they are sent to.
        root: folder that the names in the output are relative to.

    Returns:
        What was done, a line of text.

    Raises:
        ValueError: no photo could be embedded, or a run was broken off that was another one.
    """
    header = {
        "photos": [len(names), names.digest],
        "model": client.model,
        "version": client.settings.version,
        "signature": signature,
        "batch_size": batch_size,
        "max_bytes": client.settings.max_bytes,
    }
    with Store(output, header, client.settings.clock) as store:
        remaining = islice(names, store.done, None)
        with closing(client.stream_files(remaining, batch_size, signature)) as answers:
            for answer in progress(answers, "embedding", len(names) - store.done, "photo", lambda one: len(one.paths)):
                store.add(answer)
        return _finished(store, names, output, root)


def embed_to_table(client: EmbeddingClient, names: PhotoNames, batch_size: int, signature: str) -> None:
    """Embeds photos and writes a line for each to standard output, as the answers come.

    Raises:
        ValueError: no photo could be embedded.
    """
    embedded = 0
    error = ""
    write = sys.stdout.write
    for number, answer in enumerate(client.stream_files(names, batch_size, signature)):
        if not number:
            write(f"{'photo':<{names.longest}}  dimension  first values\n")
        embedded += len(answer.embeddings)
        error = error or next(filter(None, answer.errors), "")
        for line in _lines(answer, names.longest):
            write(line)
    _check_some(embedded, error)


def _lines(answer: FileAnswer, width: int) -> Iterator[str]:
    embeddings = iter(answer.embeddings)
    for path, error in zip(answer.paths, answer.errors, strict=True):
        if error:
            yield f"{printable(path):<{width}}  no embedding: {printable(error)}\n"
            continue
        embedding = next(embeddings)
        values = " ".join(f"{value:.4f}" for value in embedding[:4])
        yield f"{printable(path):<{width}}  {len(embedding):>9}  {values}\n"


def _finished(store: Store, names: PhotoNames, output: Path, root: str | None) -> str:
    store.finish()
    relative = _Relative(names, root)
    text = f"{store.rows} embeddings of {store.dimension} dimensions in {output}"
    _, error = next(store.errors(), (0, ""))
    if not store.rows:
        write_errors(output, relative, store)
    else:
        write_output(output, relative, store)
    if error:
        where = "in its column `error`" if output.suffix == ".parquet" else f"in {errors_beside(output)}"
        text += f"; {len(names) - store.rows} photos have none, the reasons are {where}"
    embedded = store.rows
    store.remove()
    _check_some(embedded, error)
    return text


def _check_some(embedded: int, error: str) -> None:
    if not embedded:
        raise ValueError(f"`photos` must hold one that can be embedded. Received: none; of the first: {error}")


class _Relative:
    """Names relative to a folder, where they are in it."""

    def __init__(self, names: Iterable[str], root: str | None) -> None:
        self._names = names
        self._of: Callable[[str], str] = lambda name: name
        if root is not None:
            prefix = os.path.join(root, "")
            self._of = lambda name: name.removeprefix(prefix)

    def __iter__(self) -> Iterator[str]:
        return map(self._of, self._names)
