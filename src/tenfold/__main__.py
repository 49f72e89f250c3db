"""`python -m tenfold`, the same as the command `tenfold`."""

from tenfold.cli import entry

if __name__ == "__main__":
    entry()
