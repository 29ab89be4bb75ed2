"""What an operator does with the command line, besides running the gateway.

Each command is a ``run`` that gives a ``Report``; printing and exiting are ``cli``'s.
"""
