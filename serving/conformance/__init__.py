"""Compares an endpoint with TensorFlow Serving, behaviour by behaviour.

The behaviours are those read in TensorFlow Serving's source, release 2.20.
"""
