"""Tables of methods by name, their parameters, and presets."""
