"""A script is read before it runs: what cannot work is told at once, with nothing sent."""
