"""Pretraining of backbones on unlabelled pairs: views, objectives, loop.

Imports `patches`, `training`, `models`, `config`.
"""
