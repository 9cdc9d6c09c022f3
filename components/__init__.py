"""One file per stage or command: read files, call `longtail`, write files."""

import os

# Before any library starts its threads: waiting ones sleep. On a machine with other work they
# would spin away the time that the working ones need (2 to 4 times the CPU seconds).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
