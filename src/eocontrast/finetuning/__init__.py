"""Train on a label budget. Imports `patches`, `training`, `models`, `config`."""
