"""Maps and embeddings of whole scenes.

Imports `models`, `patches`, `rasters`, `training` and the layers below them.
"""
