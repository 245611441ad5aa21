"""Every annotated call is checked for shapes and dtypes at run time while the tests run."""

from jaxtyping import install_import_hook

install_import_hook("medscore", "beartype.beartype").__enter__()
