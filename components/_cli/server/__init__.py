"""The champion over HTTP: requests, batches of them, and which version answers."""
