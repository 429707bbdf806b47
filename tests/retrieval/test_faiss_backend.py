import builtins
import importlib.metadata
from types import SimpleNamespace

import pytest

from keras_sare.retrieval.faiss_backend import import_faiss


def _installed(monkeypatch, *names):
    found = [SimpleNamespace(name=name) for name in names]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: iter(found))


def _break_import(monkeypatch):
    real = builtins.__import__

    def broken(name, *args, **kwargs):
        if name == "faiss":
            raise ImportError("libcublas.so.12 is missing")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)


def test_the_module_searches():
    assert callable(import_faiss().knn)


@pytest.mark.parametrize("name", ["faiss-cpu", "faiss_gpu", "faiss-gpu-cu12"])
def test_one_distribution_of_any_kind_is_accepted(monkeypatch, name):
    _installed(monkeypatch, "numpy", name)

    assert import_faiss().__name__ == "faiss"


def test_a_distribution_listed_twice_counts_once(monkeypatch):
    _installed(monkeypatch, "faiss-cpu", "faiss_cpu")

    assert import_faiss().__name__ == "faiss"


def test_a_failing_import_names_both_extras_and_the_cause(monkeypatch):
    _installed(monkeypatch, "numpy")
    _break_import(monkeypatch)

    with pytest.raises(ImportError, match=r"libcublas.*keras-sare\[cpu\].*keras-sare\[gpu\].*exactly one"):
        import_faiss()


@pytest.mark.parametrize("second", ["faiss-gpu", "faiss_gpu_cu12"])
def test_two_distributions_are_refused_by_name(monkeypatch, second):
    _installed(monkeypatch, "faiss-cpu", second)

    with pytest.raises(ImportError, match=r"own the same folder.*pip uninstall faiss-cpu faiss-gpu.*keras-sare\[cpu\]"):
        import_faiss()
