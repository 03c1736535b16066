"""Stages, signals, errors, parallel calls and files. Imports nothing of the package."""
