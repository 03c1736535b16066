"""One module per data set: fetch it and describe it. Imports `rasters` and `config`."""
