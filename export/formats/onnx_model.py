"""ONNX files, for ONNX Runtime and whatever else reads the format; `export.converters.onnx_model` writes them."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from export.formats.format import Artefact, Format, Loaded, Request, import_package


def _plan(request: Request, _: Mapping[str, Any]) -> Iterator[Artefact]:
    from export.converters.onnx_model import write_onnx

    yield Artefact("onnx", "onnx/model.onnx", partial(write_onnx, request.source))


def _load(path: str, threads: int) -> Loaded:
    onnxruntime = import_package("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    [source] = session.get_inputs()
    shape = tuple(side if isinstance(side, int) else None for side in source.shape)
    return lambda images: session.run(None, {source.name: images})[0], shape, None


FORMAT = Format(
    name="onnx",
    description="onnx/model.onnx, for ONNX Runtime and other runtimes",
    plan=_plan,
    load=_load,
    colour=2,
    extra="onnx",
    modules=("tf2onnx", "onnx", "onnxruntime"),
    packages=("tf2onnx", "onnx", "onnxruntime"),
    in_all=False,
)
