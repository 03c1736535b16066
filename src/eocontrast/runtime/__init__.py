"""How a process starts, stops, fails, works in parallel, and writes files.

Imports nothing of the package.
"""
