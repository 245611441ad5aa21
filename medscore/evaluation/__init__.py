"""Methods compared on cohorts: every cell of a table kept as it is found; tables, plots."""
