"""The schema of params.yaml. Imports `runtime`, `modalities` and `models.fusion`."""
