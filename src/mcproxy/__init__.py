"""MCProxy: an MCP gateway that shows a model two tools, search and execute."""

try:  # written from the tag when a distribution is built
    from mcproxy._version import __version__ as __version__
except ModuleNotFoundError:  # a checkout
    __version__ = "2.0.0"

NOT_INSTALLED = (
    "the package {} is not installed for {}; in a checkout, `make setup` installs it, and "
    ".venv/bin/python main.py runs with it"
)
