"""A pipeline small enough to run many nights in one test."""
