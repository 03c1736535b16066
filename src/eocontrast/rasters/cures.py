"""Advice about files of formats that are not read."""

from __future__ import annotations

from pathlib import Path

_CONTAINERS = {b"CDF": "netCDF", b"\x89HDF": "netCDF-4 or HDF5", b"GRIB": "GRIB"}
"""First bytes of formats that hold variables, of which GDAL reads some and others not."""


def cure(path: Path) -> str:
    """Return what to do about a file that is not opened."""
    with path.open("rb") as file:
        start = file.read(4)
    kind = next((name for sign, name in _CONTAINERS.items() if start.startswith(sign)), "")
    if kind:
        return (
            f"it is {kind}, whose variables are no bands: write each as GeoTIFF, such as by "
            f"gdal_translate 'NETCDF:{path}:B02' B02.tif"
        )
    if start.startswith(b"PK"):
        return "it is an archive: unpack it, and name the folder or the rasters in it"
    if start.startswith(b"\x93NUM"):
        return "it is an array of NumPy: write it as GeoTIFF, with the grid that it lies on"
    if path.suffix.lower() == ".dim":
        data = path.with_suffix(".data")
        return f"it is the header of BEAM-DIMAP: name the rasters by {data}/Sigma0_{{band}}.img"
    if path.suffix.lower() in (".xml", ".safe"):
        return f"if it is the metadata of a product, name its folder: {path.parent}"
    return "fetch it again, or convert it to one of these"
