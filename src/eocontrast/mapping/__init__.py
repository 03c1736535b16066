"""Maps and embeddings of whole scenes. Imports `rasters`, `patches`, `training`, `models`."""
