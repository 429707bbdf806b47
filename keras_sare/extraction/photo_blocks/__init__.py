"""Photos of a source to descriptors, block by block: read, decoded and described, what fails left out with the reason.

Every engine of `trainers.extract` does it with `BlockExtractor`, on one machine or many.
"""
