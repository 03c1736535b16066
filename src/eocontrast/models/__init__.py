"""Backbones, heads, tasks and weight files. Imports `patches` and `training`."""
