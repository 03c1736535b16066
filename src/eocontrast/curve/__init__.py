"""The label-efficiency curve: intervals, label saving, figures, report and plan.

Imports `evaluation` and what is below it.
"""
