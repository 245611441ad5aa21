"""Every annotated call is checked for shapes and dtypes at run time while the tests run."""

import importlib
import os
import tempfile
from importlib.util import find_spec

import torch
from jaxtyping import install_import_hook

os.environ["MEDSCORE_CACHE"] = tempfile.mkdtemp(prefix="medscore-cache-")
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # GPU kernels run on the CPU
# Before the hook: the innermost loops, whose annotations have no shapes to check, and the GPU
# kernels, whose compiler reads their own source.
importlib.import_module("medscore.operators.linalg")
importlib.import_module("medscore.operators.ct.backends.matrix")
if find_spec("triton"):
    importlib.import_module("medscore.operators.ct.backends.triton_kernels")

install_import_hook("medscore", "beartype.beartype").__enter__()
