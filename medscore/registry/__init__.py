"""From names in configurations and on the command line to objects."""
