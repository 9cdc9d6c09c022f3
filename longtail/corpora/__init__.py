"""Texts with labels from where they are published: each module gives labeled records."""
