import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare.datasets import image_batches
from keras_sare.layers import MAC, NetVLAD
from keras_sare.models import initialise_netvlad, warn_if_uninitialised
from keras_sare.models.initialise import DESCRIPTORS_PER_IMAGE, assignment_sharpness, sample_local_descriptors


def small_model(pooling):
    inputs = keras.Input((None, None, 3))
    return keras.Model(inputs, pooling(keras.layers.Conv2D(8, 3, name="conv")(inputs)))


def photos(batches=2):
    rng = np.random.default_rng(0)
    return [rng.random((3, 14, 16, 3)).astype("float32") for _ in range(batches)]


def test_centres_lie_at_the_k_means_centres_of_normalised_descriptors():
    """Feature maps made of four directions: the centres must be those directions."""
    directions = np.eye(4, 6, dtype="float32")
    maps = directions[np.random.default_rng(0).integers(0, 4, (5, 8, 8))] * 7
    inputs = keras.Input((None, None, 6))
    model = keras.Model(inputs, NetVLAD(4, name="netvlad")(inputs))
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(np.linalg.norm(model.layers[-1].get_weights()[1], axis=1), 1)
    alpha = initialise_netvlad(model, [maps], seed=3)
    assignment, centroids = model.get_layer("netvlad").get_weights()
    np.testing.assert_allclose(sorted(centroids.tolist()), sorted(directions.tolist()), atol=1e-6)
    assert alpha == pytest.approx(-math.log(0.01), rel=1e-5)  # best 1, second-best 0
    np.testing.assert_allclose(assignment, alpha * centroids.T, rtol=1e-5)


SAMPLE = np.array([[1.0, 0.0], [0.6, 0.8]])
CENTROIDS = np.array([[2.0, 0.0], [0.0, 0.5]])


def test_alpha_of_vlad_makes_the_second_best_direction_weigh_a_hundredth_on_average_margin():
    alpha = assignment_sharpness(SAMPLE, *NetVLAD(2).unit_assignment(CENTROIDS))
    assert alpha == pytest.approx(-math.log(0.01) / np.mean([1.0, 0.2]))


def test_alpha_of_vladv2_uses_the_squared_distances_to_the_two_nearest_centres():
    squared = np.sort([[np.sum((x - c) ** 2) for c in CENTROIDS] for x in SAMPLE], axis=1)
    alpha = assignment_sharpness(SAMPLE, *NetVLAD(2, "vladv2").unit_assignment(CENTROIDS))
    assert alpha == pytest.approx(-math.log(0.01) / np.mean(squared[:, 1] - squared[:, 0]))


@pytest.mark.parametrize("method", ["vladv2_preL2_intra", "vladv2"])
def test_vladv2_gets_the_assignment_of_its_own_formula(method):
    model = small_model(NetVLAD(4, method, name="netvlad"))
    alpha = initialise_netvlad(model, photos())
    assignment, centroids, bias = model.get_layer("netvlad").get_weights()
    np.testing.assert_allclose(assignment, 2 * alpha * centroids.T, rtol=1e-5)
    np.testing.assert_allclose(bias, -alpha * np.sum(centroids**2, axis=1), rtol=1e-5)


@pytest.mark.parametrize(("method", "scale"), [("vlad_preL2", 1), ("vlad", 7)])
def test_descriptors_are_normalised_before_k_means_only_where_the_method_does_so(method, scale):
    maps = 7 * np.eye(4, 6, dtype="float32")[np.random.default_rng(0).integers(0, 4, (5, 8, 8))]
    inputs = keras.Input((None, None, 6))
    model = keras.Model(inputs, NetVLAD(4, method, name="netvlad")(inputs))
    initialise_netvlad(model, [maps])
    centroids = model.get_layer("netvlad").get_weights()[1]
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), scale, rtol=1e-5)


def test_sample_takes_a_hundred_unit_descriptors_of_each_image():
    model = small_model(NetVLAD(4, name="netvlad"))
    sample = sample_local_descriptors(keras.Model(model.input, model.get_layer("conv").output), photos(), seed=0)
    assert sample.shape == (6 * DESCRIPTORS_PER_IMAGE, 8)
    np.testing.assert_allclose(np.linalg.norm(sample, axis=1), 1, rtol=1e-5)


def test_same_seed_gives_the_same_clusters():
    def clusters(seed):
        keras.utils.set_random_seed(1)
        model = small_model(NetVLAD(4, name="netvlad"))
        initialise_netvlad(model, photos(), seed)
        return model.get_layer("netvlad").get_weights()[1]

    np.testing.assert_array_equal(clusters(0), clusters(0))
    assert not np.array_equal(clusters(0), clusters(1))


def kinds_of_iterables(folder):
    """The same six images as everything that a user may hold them in."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 14, 16, 3), dtype=np.uint8)
    paths = [str(folder / f"{i}.png") for i in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    images = pixels.astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices(images)
    unknown = image_batches(paths, (14, 16), 3)
    with pytest.raises(TypeError, match="length is unknown"):
        len(unknown)
    return {
        "a list of batches": [images[:3], images[3:]],
        "a generator": (images[i : i + 1] for i in range(6)),
        "lists as batches": [images[:3].tolist(), images[3:].tolist()],
        "an array of images": images,
        "image_batches": unknown,
        "image_batches, mapped": unknown.map(lambda _, batch: batch),
        "a dataset of known length": dataset.batch(4),
        "a dataset of single images": dataset,
        "a dataset with indices": dataset.batch(4).enumerate(),
        "a dataset with labels": tf.data.Dataset.from_tensor_slices((images, np.arange(6))).batch(4),
        "a dataset without end": tf.data.Dataset.from_tensors(images).repeat(),
    }


def test_clusters_are_those_of_the_images_whatever_holds_them(tmp_path):
    centres = {}
    for kind, images in kinds_of_iterables(tmp_path).items():
        keras.utils.set_random_seed(1)
        model = small_model(NetVLAD(4, name="netvlad"))
        initialise_netvlad(model, images)
        centres[kind] = model.get_layer("netvlad").get_weights()[1]
    endless = centres.pop("a dataset without end")
    assert endless.any()
    for kind, found in centres.items():
        np.testing.assert_allclose(found, centres["a list of batches"], atol=1e-6, err_msg=kind)


def test_what_holds_no_images_is_named():
    model = small_model(NetVLAD(4))
    with pytest.raises(ValueError, match=r"`images` must yield images .* Received: tuple of ranks \[1, 2\]"):
        initialise_netvlad(model, [(np.arange(2), np.zeros((2, 5)))])


def test_model_without_netvlad_is_refused():
    with pytest.raises(ValueError, match="`model` must have a NetVLAD layer"):
        initialise_netvlad(small_model(MAC()), photos())


def test_too_few_descriptors_are_counted():
    with pytest.raises(ValueError, match="at least 128 local descriptors for 64 clusters. Received: 0 descriptors"):
        initialise_netvlad(small_model(NetVLAD(64)), [])


def test_uninitialised_netvlad_warns_and_initialised_does_not(recwarn):
    model = small_model(NetVLAD(4))
    with pytest.warns(UserWarning, match="is being exported without clusters.*initialise_netvlad"):
        warn_if_uninitialised(model, "exported")
    initialise_netvlad(model, photos())
    recwarn.clear()
    warn_if_uninitialised(model, "exported")
    assert not recwarn.list


def test_maps_that_are_fed_to_the_layer_itself_are_sampled_as_they_are():
    model = small_model(NetVLAD(4, name="netvlad"))
    maps = np.random.default_rng(0).random((3, 6, 7, 8)).astype("float32")
    initialise_netvlad(model, [maps], fed_to="netvlad")
    assert model.get_layer("netvlad").is_initialised
