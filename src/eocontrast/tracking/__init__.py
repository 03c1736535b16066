"""What is recorded of a run: MLflow, model cards, provenance.

Imports `curve` and what is below it.
"""
