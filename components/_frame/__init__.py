"""The shape of a component: parameters, files, locks, exit codes, progress."""
