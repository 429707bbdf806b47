"""Makes netvlad_tf_oracle.npz: descriptors of netvlad_tf_open for seeded variables, which the tests compare with ours.

It runs the project's own TensorFlow 1 code, from a checkout, and needs an environment of its own:

    python3.11 -m venv /tmp/tf1
    /tmp/tf1/bin/pip install tensorflow-cpu==2.15.1 'numpy<2' h5py pillow scipy
    /tmp/tf1/bin/python tests/data/make_netvlad_tf_oracle.py --originals FOLDER --data DATA

FOLDER holds netvlad_tf_open (uzh-rpg), DATA the photographs and ImageNet weights that KERAS_SARE_DATA names. Its fixed
4096 dimensions of whitening are replaced by fewer; all else is as published. With `--checkpoint PREFIX` it also keeps
the checkpoint that its Saver writes; with `--mat FILE` it runs its converter on a MATLAB file and prints how far the
descriptors are from the stored ones.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import matlab_parameters as seeded
import numpy as np
import tensorflow as tf

V1 = tf.compat.v1


def originals_modules(originals: Path) -> tuple:
    """The modules nets and net_from_mat, with TensorFlow 1's interface under the name that they import."""
    sys.modules["tensorflow"] = V1
    sys.path.insert(0, str(originals / "netvlad_tf_open" / "python"))
    import netvlad_tf.net_from_mat
    import netvlad_tf.nets

    return netvlad_tf.nets, netvlad_tf.net_from_mat


def fewer_dimensions(conv2d):
    """`tf.layers.conv2d` that makes the whitening `DIM` wide."""

    def narrow(inputs, filters, *arguments, **named):
        return conv2d(inputs, seeded.DIM if named.get("name") == "WPCA" else filters, *arguments, **named)

    return narrow


def describe(nets, images: list[np.ndarray], values: dict[str, np.ndarray], checkpoint: Path) -> dict[str, np.ndarray]:
    """Descriptors of colour and of gray images, through a checkpoint as in the project's own use."""
    V1.layers.conv2d = fewer_dimensions(V1.layers.conv2d)
    descriptors = {}
    for kind, channels in (("colour", 3), ("gray", 1)):
        V1.reset_default_graph()
        batch = V1.placeholder(V1.float32, [None, None, None, channels])
        output = nets.vgg16NetvladPca(batch)
        saver = V1.train.Saver()
        with V1.Session() as session:
            if kind == "colour":
                for variable in V1.global_variables():
                    variable.load(values[variable.op.name], session)
                saver.save(session, str(checkpoint))
            saver.restore(session, str(checkpoint))
            rows = [session.run(output, {batch: image[None, ..., :channels]})[0] for image in images]
        descriptors[kind] = np.stack(rows)
    return descriptors


def converted(net_from_mat, file: Path, images: list[np.ndarray]) -> np.ndarray:
    """Descriptors of what the project's converter makes of a MATLAB file."""
    net_from_mat.structedMatPath = lambda: str(file)
    V1.reset_default_graph()
    tensors = net_from_mat.netFromMat()
    with V1.Session() as session:
        session.run(V1.global_variables_initializer())
        return np.stack([session.run(tensors[-1], {tensors[0]: image[None]})[0] for image in images])


def main() -> None:
    """Writes netvlad_tf_oracle.npz beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--originals", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--mat", type=Path)
    arguments = parser.parse_args()
    V1.disable_eager_execution()
    V1.disable_v2_behavior()
    nets, net_from_mat = originals_modules(arguments.originals)
    images = seeded.photos(arguments.data)
    oracle = Path(__file__).with_name("netvlad_tf_oracle.npz")
    if arguments.mat:
        difference = np.abs(converted(net_from_mat, arguments.mat, images) - np.load(oracle)["colour"]).max()
        sys.stdout.write(f"converter: largest difference {difference:.3g}\n")
        return
    variables = seeded.checkpoint_variables(seeded.convolutions(arguments.data))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = arguments.checkpoint or Path(folder, "net")
        np.savez_compressed(oracle, **describe(nets, images, variables, checkpoint))


if __name__ == "__main__":
    main()
