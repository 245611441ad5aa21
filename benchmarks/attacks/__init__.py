"""Structure-aware attacks on the files that medscore's commands read, for benchmarks/attack.py."""
