"""The annotation loop: what to label next, and whom to believe."""
