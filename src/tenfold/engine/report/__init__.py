"""Reports: figures as data, and self-contained pages that show them."""
