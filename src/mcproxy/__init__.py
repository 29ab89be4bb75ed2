"""MCProxy: an MCP gateway that shows a model two tools, search and execute."""

try:
    from mcproxy._version import __version__  # written when a distribution is built, from its tag
except ModuleNotFoundError:  # a checkout
    __version__ = "2.0.0"
