"""The settings of a method, chosen by trials: with references, or by the measurements alone."""
