"""MCProxy: an MCP gateway that shows a model two tools, search and execute."""

try:  # written from the tag when a distribution is built
    from mcproxy._version import __version__ as __version__
except ModuleNotFoundError:  # a checkout
    __version__ = "2.0.0"
