"""Audit rasters and encode them into the patch store. Imports `rasters` and `patches`."""
