"""Raster files: open, read, resample, and the table of pairs.

Imports `runtime`, `labels`, `modalities`.
"""
