"""CT: geometries, projectors, filtered back-projection, metal artifacts and phantoms."""
