"""Mixed-integer programs: read, checked, solved, generated, measured (rooms diving, lns)."""
