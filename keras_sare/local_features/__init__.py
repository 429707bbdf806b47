"""Local features: points of a photo that another photo of the place shows too, found, described and matched.

* `XFeat`: photos in, `LocalFeatures` out: keypoints and their descriptors.
* `match_mutual`, `LighterGlue`: which keypoints of two photos show the same point, by descriptors or by a network.
* `count_inliers`: how many of the matches one geometry of two cameras explains.
"""

from keras_sare.local_features.features import LocalFeatures
from keras_sare.local_features.geometry import count_inliers
from keras_sare.local_features.lighterglue import LighterGlue
from keras_sare.local_features.matching import match_mutual
from keras_sare.local_features.xfeat import XFeat

__all__ = ["LighterGlue", "LocalFeatures", "XFeat", "count_inliers", "match_mutual"]
