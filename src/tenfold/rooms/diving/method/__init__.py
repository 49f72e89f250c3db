"""The paper's equations as plain functions; the files to read first."""
