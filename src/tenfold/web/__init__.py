"""The web shell: runs with live curves, and the pages that rooms add (`tenfold serve`)."""
