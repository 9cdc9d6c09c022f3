"""Strange inputs of every kind, tried on a finished run: none may end in a stack trace."""
