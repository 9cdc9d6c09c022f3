"""One file per stage or command: read files, call `longtail`, write files."""
