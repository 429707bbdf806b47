"""Candidates of a search compared with the photo itself, point by point: `LocalReranker`, `RerankingSettings`.

They bring TensorFlow: `keras_sare.localization` alone does not need them.
"""
