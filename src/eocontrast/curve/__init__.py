"""The label-efficiency curve: intervals, label saving, figures, model cards, report and plan.

Imports `evaluation` and what is below it.
"""
