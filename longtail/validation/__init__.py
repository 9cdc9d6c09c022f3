"""Annotations checked: one frame of per-document flags, agreement, suspected label errors."""
