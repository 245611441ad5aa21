"""Comparisons of reconstruction methods on cohorts, with tables, plots and reports."""
