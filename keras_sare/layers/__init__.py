"""Keras layers: poolings that make a descriptor of a feature map, whitening and preprocessing."""

from keras_sare.layers.mac import MAC
from keras_sare.layers.netvlad import NetVLAD
from keras_sare.layers.normalize import l2_normalize
from keras_sare.layers.preprocessing import ImagePreprocessing
from keras_sare.layers.whitening import Whitening

__all__ = ["MAC", "ImagePreprocessing", "NetVLAD", "Whitening", "l2_normalize"]
