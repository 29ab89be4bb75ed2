"""Reproduces every number that the documentation gives: ``python -m bench [NAME …]``."""
