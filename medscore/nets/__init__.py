"""Score networks. Each is ``network(x, log_s) -> same shape as x``."""
