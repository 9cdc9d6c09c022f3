"""The encoder, the heads on it, the linear baseline, and how they are trained and mixed."""
