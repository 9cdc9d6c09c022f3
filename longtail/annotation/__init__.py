"""The annotation loop: whom to believe."""
