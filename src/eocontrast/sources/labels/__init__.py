"""Labels in a file of their own: polygons, points or one raster, brought to the grid of each patch.

`vectors` reads polygons and points, `burn` draws them, `warp` reads a raster, and `masks` writes
one mask per patch.
"""
