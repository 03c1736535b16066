"""Fetch archives over FTP and HTTP, verify and unpack them. Imports `runtime`."""
