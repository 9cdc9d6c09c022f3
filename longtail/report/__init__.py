"""The evaluation report: evidence in, one JSON-able dict out, pages drawn from that dict alone."""
