"""Health, metrics and log formats."""
