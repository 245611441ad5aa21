"""Files: atomic writes, sealed HDF5, strict specifications, safetensors weights."""
