"""One file per stage or command: read files, call `longtail`, write files."""

import os

# Set before any library starts its threads, so that idle threads sleep instead of spinning. On a
# busy machine they would take time from the working ones (2 to 4 times the CPU seconds).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
