"""From a label budget to a fine-tuned model. Imports `patches`, `training`, `models`, `config`."""
