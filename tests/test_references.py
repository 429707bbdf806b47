"""What documents, docstrings and comments name exists: files, programs, and parts of the library."""

import ast
import importlib
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
TOPS = ("keras_sare", "trainers", "export", "serving", "benchmarks", "docs", "examples", "tests")
# The changelog names what there was, too.
DOCUMENTS = [path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")) if path.name != "CHANGELOG.md"]
DOCUMENTS += [*(ROOT / "benchmarks").glob("*.md"), *(ROOT / "serving").rglob("*.md")]
MAKEFILE = ROOT / "Makefile"
SOURCES = [path for top in TOPS for path in (ROOT / top).rglob("*.py")]
FILE = re.compile(rf"(?<![\w./-])(?:{'|'.join(TOPS)})/[\w/.-]*\w(?![\w*])")
PROGRAM = re.compile(r"python -m ((?:trainers|export|serving)[\w.]*\w)")
NAME = re.compile(r"`(keras_sare(?:\.\w+)+)`")


FLAG = re.compile(r"(?<![\w-])--([a-z][\w-]*)")
FOREIGN_FLAGS = {
    "allow_version_labels_for_unavailable_models",
    "batching_parameters_file",
    "cpp_out",
    "data-binary",
    "go-grpc_opt",
    "go-grpc_out",
    "go_opt",
    "go_out",
    "gpus",
    "grpc_max_threads",
    "grpc_out",
    "max_num_load_retries",
    "model_config_file",
    "monitoring_config_file",
    "no-deps",
    "plugin",
    "rest_api_port",
    "rm",
    "ssl_config_file",
}
"""Of docker, TensorFlow Serving, protoc and pip."""


def named(pattern, paths):
    return {(path.relative_to(ROOT), name) for path in paths for name in pattern.findall(text_of(path))}


def text_of(path):
    text = path.read_text()
    # The headings of a worked example name the files that it adds.
    return re.sub(r"^##+ .*", "", text, flags=re.MULTILINE) if path.parent.name == "extend" else text


def reach(name):
    """What is called so by its full name; None where there is nothing."""
    module, *parts = name.split(".")
    reached = importlib.import_module(module)
    for part in parts:
        module += f".{part}"
        try:
            reached = importlib.import_module(module)
        except ImportError:
            reached = getattr(reached, part, None)
            if reached is None:
                return None
    return reached


def test_files_that_are_named_exist():
    found = named(FILE, [*DOCUMENTS, MAKEFILE])
    # Of a program's own strings only those that can be meant for this repository.
    found |= {(path, name) for path, name in named(FILE, SOURCES) if name.endswith((".py", ".md"))}
    assert len(found) > 50
    assert sorted(f"{path}: {name}" for path, name in found if not (ROOT / name).exists()) == []


def test_programs_that_are_named_exist():
    found = named(PROGRAM, [*DOCUMENTS, MAKEFILE, *SOURCES])
    assert len(found) > 20
    missing = []
    for path, name in found:
        file = ROOT / name.replace(".", "/")
        if not (file.with_suffix(".py").exists() or (file / "__main__.py").exists()):
            missing.append(f"{path}: {name}")
    assert missing == []


def test_parts_of_the_library_that_are_named_exist():
    found = named(NAME, [*DOCUMENTS, *SOURCES])
    assert len(found) > 50
    assert sorted(f"{path}: {name}" for path, name in found if reach(name) is None) == []


def test_flags_that_documents_name_are_known_to_a_program():
    found = {(path, name) for path, name in named(FLAG, DOCUMENTS) if name not in FOREIGN_FLAGS}
    assert len(found) > 50
    known = set(re.findall(r"\w+", "\n".join(path.read_text() for path in SOURCES if "tests" not in path.parts)))
    missing = []
    for path, name in found:
        flag = name.replace("-", "_")
        if not {flag, flag.removeprefix("no")} & known:
            missing.append(f"{path}: --{name}")
    assert missing == []


def test_benchmarks_and_examples_use_what_there_is():
    missing = []
    for path in [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "examples").glob("*.py")]:
        tree = ast.parse(path.read_text())
        modules = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in TOPS:
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    reached = reach(name)
                    if reached is None:
                        missing.append(f"{path.name}: {name}")
                    elif isinstance(reached, ModuleType):
                        modules[alias.asname or alias.name] = reached
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                name = f"{modules[node.value.id].__name__}.{node.attr}"
                if reach(name) is None:
                    missing.append(f"{path.name}: {name}")
    assert missing == []
