"""The command `longtail`."""
