"""Weights that others published: a catalogue by name, and their conversion to weight files.

`catalogue` is read without torch. Modules that read files refuse pickled code and never run it.
"""
