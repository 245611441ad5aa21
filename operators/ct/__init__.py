"""CT operators: geometries, projectors, filtered back-projection, metal, phantoms."""
