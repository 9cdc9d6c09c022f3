"""The sources that `ingest` reads, one file each."""
