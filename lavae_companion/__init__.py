"""The companion: what the paper measured, and how it is told."""

from lavae_companion import notebook

notebook.keep_in_view()  # the first sign in JupyterLab, before seconds of imports

from lavae_core import threads as threads  # noqa: E402  first: it is to be there before torch
