"""Pure functions for long-tailed multi-label text classification: arrays in, arrays out."""
