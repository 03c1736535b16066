"""From unlabelled pairs to backbones: views, objectives, loop.

Imports `patches`, `training`, `models`, `config`.
"""
