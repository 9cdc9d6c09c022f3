"""The report as a page: what it shows, its figures, its templates."""
