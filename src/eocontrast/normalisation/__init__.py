"""From rasters to the patch store: audit, encode, write. Imports `rasters` and `patches`."""
