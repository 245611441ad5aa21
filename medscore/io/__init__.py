"""File access: atomic writes, sealed HDF5, strict specifications, weights in safetensors."""
