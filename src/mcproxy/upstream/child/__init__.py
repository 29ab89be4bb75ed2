"""Servers that are processes of this machine: their pipes, signals and families."""
