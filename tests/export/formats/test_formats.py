"""What every format must say of itself, whichever it is."""

import subprocess
import sys
from importlib import metadata

import pytest

from export.artefacts import plan
from export.formats import FORMATS
from export.formats.format import Request
from export.source import Source
from keras_sare.evaluation.plots.pictures import COLOURS


def test_every_format_can_be_told_from_the_others():
    colours = [one.colour for one in FORMATS.values()]
    assert len({*colours}) == len(FORMATS)
    assert all(colour is None or colour in range(len(COLOURS)) for colour in colours)
    options = [option.name for one in FORMATS.values() for option in one.options]
    assert len({*options}) == len(options)
    assert [name for name, one in FORMATS.items() if one.name != name] == []


@pytest.mark.parametrize("one", FORMATS.values(), ids=FORMATS)
def test_what_is_written_is_the_formats_own_and_lies_in_its_folder(one, whitened_model, tmp_path):
    request = Request(Source(whitened_model, (24, 32), "small_mac", "test"), tmp_path)
    artefacts = plan([one.name], request)
    assert artefacts
    assert {artefact.kind for artefact in artefacts} == {artefact.name.split("/")[0] for artefact in artefacts}
    assert {artefact.kind for artefact in artefacts} == {one.name}
    assert not list(tmp_path.iterdir())


def test_packages_are_those_of_the_extra_that_is_named():
    required = metadata.requires("keras-sare") or []
    for one in FORMATS.values():
        assert (one.extra is None) == (not one.modules) == (not one.packages)
        of_extra = [line for line in required if f'extra == "{one.extra}"' in line]
        for package in one.packages:
            assert any(line.startswith(package) for line in of_extra), package
            assert metadata.version(package)
        assert one.missing() is None


def test_flags_of_the_formats_are_known_without_the_libraries():
    program = (
        "import sys\n"
        "from export.formats import FORMATS\n"
        "assert not {'tensorflow', 'keras', 'keras_sare', 'onnxruntime', 'ai_edge_litert'} & {*sys.modules}\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
