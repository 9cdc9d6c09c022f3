"""Fair splits of a multi-label corpus; start with `iterative_split`."""

from longtail.splitting.iterative import SPLITS, iterative_split, scikit_multilearn_split

__all__ = ["SPLITS", "iterative_split", "scikit_multilearn_split"]
