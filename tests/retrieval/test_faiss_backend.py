import builtins
import importlib.metadata
from types import SimpleNamespace

import numpy as np
import pytest

from keras_sare.retrieval import faiss_backend
from keras_sare.retrieval.faiss_backend import import_faiss, knn


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


class _FaissWithGpu:
    """What faiss looks like where it is built for GPUs and finds one."""

    def __init__(self, error=None):
        self.calls = []
        self.error = error

    def get_num_gpus(self):
        return 1

    def StandardGpuResources(self):  # noqa: N802
        return "resources"

    def knn_gpu(self, resources, queries, database, k):
        self.calls.append((resources, k))
        if self.error:
            raise self.error
        return import_faiss().knn(queries, database, k)

    def knn(self, queries, database, k):
        self.calls.append(("processor", k))
        return import_faiss().knn(queries, database, k)


@pytest.fixture
def with_gpu(monkeypatch):
    fake = _FaissWithGpu()
    monkeypatch.setattr(faiss_backend, "faiss_in_use", lambda: fake)
    monkeypatch.setattr(faiss_backend, "gpu_resources", fake.StandardGpuResources)
    return fake


LINE = np.arange(3000, dtype=np.float32)[:, None]


def test_a_gpu_is_used_where_faiss_has_one(with_gpu):
    indices = knn(LINE[:2], LINE, 2)[1]

    assert with_gpu.calls == [("resources", 2)]
    np.testing.assert_array_equal(indices, [[0, 1], [1, 0]])


def test_more_neighbours_than_a_gpu_finds_are_looked_for_on_the_processor(with_gpu):
    knn(LINE[:1], LINE, 2049)

    assert with_gpu.calls == [("processor", 2049)]


def test_a_gpu_that_cannot_search_is_replaced_by_the_processor_with_a_warning(with_gpu, caplog):
    with_gpu.error = RuntimeError("out of memory")

    assert knn(LINE[:1], LINE, 1)[1].tolist() == [[0]]
    assert "faiss cannot search on the GPU (out of memory): searching on the processor" in caplog.text


def test_a_few_hundred_queries_are_searched_with_matrix_products():
    knn(LINE[:2], LINE, 1)

    # From so many queries (old releases) or numbers in all queries together (new ones) faiss uses them.
    assert import_faiss().cvar.distance_compute_blas_threshold == 4
