"""Records of runs: MLflow, cards of fine-tuned models, provenance.

Imports `curve` and what is below it.
"""
