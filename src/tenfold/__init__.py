"""tenfold: ten published learning systems as tools for your own problems."""

__version__ = "0.1.0"
