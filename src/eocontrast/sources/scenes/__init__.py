"""Whole scenes cut into pairs of patches, in blocks that are trained on or tested on.

`inspect` finds bands and units, `cut` writes the patches, and `blocks` divides them.
"""
