"""The project's files: one module per kind reads and writes it."""
