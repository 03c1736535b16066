"""Raster files: open, read, resample, and the table of pairs.

`open` decides which files are rasters, `bands` which band is which, `values` which pixels are
missing and what the others mean, `grids` where pixels lie, `masks` what a mask holds, and `read`
puts them together. Imports `runtime`, `labels`, `modalities`.
"""
