"""The evaluation report: evidence in, one JSON-able dict out, pages rendered from that dict."""
