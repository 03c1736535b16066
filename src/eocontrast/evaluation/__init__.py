"""Predict and score the test patches. Imports `patches`, `training`, `models`, `config`."""
