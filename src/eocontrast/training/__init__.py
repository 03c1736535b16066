"""Parts that both training loops share: device, ranks, checkpoint, schedule.

Imports `runtime` and `patches`.
"""
