"""The companion: what the paper measured, and how it is told."""

from lavae_companion import notebook

notebook.keep_in_view()
