"""The patch store as models read it: inputs, batches, windows.

Imports `runtime` and `modalities`.
"""
