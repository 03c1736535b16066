"""Raster files: open, read, resample, and the table of pairs.

`open` decides which files are rasters, `bands` which band is which, `values` which pixels are
missing, `units` and `offsets` what the others mean, `grids` where they lie, and `masks` what a mask
holds. `files`, `groups`, `image` and `read` put them together, from one file to the bands of a
sensor. Imports `runtime`, `labels`, `modalities`, `patches`.
"""
