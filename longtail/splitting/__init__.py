"""Fair splits of a multi-label corpus; `iterative_split` is the one to use."""

from longtail.splitting.iterative import SPLITS, iterative_split, scikit_multilearn_split

__all__ = ["SPLITS", "iterative_split", "scikit_multilearn_split"]
