"""Cone-beam CT: geometries, projection matrices, projectors and the algorithm of Feldkamp."""
