"""Keras layers: poolings that make a descriptor of a feature map, whitening and preprocessing."""

from keras_sare.layers.convap import ConvAP
from keras_sare.layers.crow import CroW
from keras_sare.layers.gem import GeM
from keras_sare.layers.mac import MAC
from keras_sare.layers.mixvpr import MixVPR
from keras_sare.layers.netvlad import NetVLAD
from keras_sare.layers.normalize import l2_normalize
from keras_sare.layers.preprocessing import ImagePreprocessing
from keras_sare.layers.rmac import RMAC, region_grid
from keras_sare.layers.salad import SALAD
from keras_sare.layers.spoc import SPoC
from keras_sare.layers.whitening import Whitening

__all__ = [
    "MAC",
    "RMAC",
    "SALAD",
    "ConvAP",
    "CroW",
    "GeM",
    "ImagePreprocessing",
    "MixVPR",
    "NetVLAD",
    "SPoC",
    "Whitening",
    "l2_normalize",
    "region_grid",
]
