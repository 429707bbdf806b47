"""Package metadata: the four import packages, their dependencies and extras."""

from pathlib import Path

from setuptools import find_packages, setup

FAISS = "1.15"
TENSORFLOW = ">=2.21,<2.22"

setup(
    name="keras-sare",
    version="0.1.0",
    description="Place recognition in Keras: train, whiten, export and serve image embeddings",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(
        include=[
            "keras_sare",
            "keras_sare.*",
            "trainers",
            "trainers.*",
            "export",
            "export.*",
            "serving",
            "serving.*",
        ]
    ),
    package_data={
        "keras_sare": ["py.typed"],
        "serving": [
            *("tf_serving/*", "deployment/*", "deployment/kubernetes/*", "localization/*.proto"),
            *("page/static/*", "page/static/leaflet/*"),
        ],
    },
    install_requires=[
        f"tensorflow{TENSORFLOW}",
        "keras>=3.15,<3.16",
        "numpy>=2.0,<3",
        "scipy>=1.15,<2",
        "scikit-learn>=1.5,<2",
        "absl-py>=2.1,<3",
        "h5py>=3.11,<4",
        "pillow>=11,<14",
        "matplotlib>=3.9,<4",
        "tensorboard>=2.20,<3",
        "tqdm>=4.66,<5",
        "wrapt>=1.15,<3",
    ],
    extras_require={
        # faiss-cpu and faiss-gpu install the same folder: choose exactly one of these two.
        "cpu": [f"faiss-cpu>={FAISS},<2"],
        # TensorFlow's wheel for Linux computes on GPUs, with NVIDIA's libraries, which it does not bring by itself.
        "gpu": [
            f"faiss-gpu>={FAISS},<2; sys_platform == 'linux'",
            f"tensorflow[and-cuda]{TENSORFLOW}; sys_platform == 'linux'",
        ],
        # The server: gRPC with health and reflection, REST, metrics.
        "serving": [
            "tensorflow-serving-api>=2.21,<2.22",
            "grpcio>=1.85,<2",
            "grpcio-health-checking>=1.85,<2",
            "grpcio-reflection>=1.85,<2",
            "prometheus-client>=0.26,<1",
            "starlette>=1.0,<2",
            "uvicorn>=0.50,<1",
        ],
        # What `serving.client` needs beyond numpy: it imports no TensorFlow.
        "client": ["grpcio>=1.85,<2", "protobuf>=6.31,<8", "pyarrow>=20"],
        # TFLite files, and warm-up requests in SavedModels.
        "export": ["ai-edge-litert>=2.3,<3", "ai-edge-quantizer>=0.10,<0.11", "tensorflow-serving-api>=2.21,<2.22"],
        "onnx": ["tf2onnx>=1.17,<2", "onnx>=1.23,<2", "onnxruntime>=1.31,<2"],
        # Structure from motion: `trainers.sfm` and the reader of COLMAP models.
        "sfm": ["pycolmap>=4.2,<5"],
        # One HTML file of an evaluation: charts as Vega-Lite, without network.
        "report": ["altair>=6.3,<7", "vl-convert-python>=1.9,<2"],
        # The place index of `keras_sare.localization`.
        "index": ["lancedb>=0.40,<0.41", "pyarrow>=20"],
        # `trainers.extract`: Parquet manifests, object storage, and the place index that it writes. What opens a store
        # itself, such as s3fs, gcsfs or adlfs, is the user's choice.
        "extract": ["fsspec>=2025.3", "lancedb>=0.40,<0.41", "pyarrow>=20"],
        # `trainers.extract` on several machines.
        "ray": ["ray>=2.60,<3"],
        # DINOv2 backbones.
        "dinov2": ["keras-hub>=0.32,<0.33"],
        # What `make backends` runs the layers, losses and readers of foreign weights against.
        "backends": ["jax>=0.10,<0.11", "torch>=2.13,<2.14"],
        # What benchmarks/against_pytorch.py runs against; it may live in an environment of its own.
        "benchmarks": ["torch>=2.13,<2.14", "torchvision>=0.28,<0.29"],
        "dev": [
            "httpx>=0.28,<1",
            "jsonschema>=4.23,<5",
            "mypy>=2.4,<3",
            "pytest>=9,<10",
            "pytest-xdist>=3.8,<4",
            "pyyaml>=6,<7",
            "ruff>=0.17,<0.18",
            "schemathesis>=4.20,<5",
        ],
    },
)
