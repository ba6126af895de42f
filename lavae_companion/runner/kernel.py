"""The kernel that notebooks run in: this Python with this checkout's packages, and no other.

Which kernels a user has installed under the name python3, or where, makes no difference.
"""

import sys
from ast import literal_eval
from pathlib import Path

import papermill.clientwrap
import papermill.engines
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from lavae_companion.paths import CHECKOUT
from lavae_core.errors import LavaeError

# What a kernel is asked before the first cell: its Python, and whose packages it would import.
WHERE = """[__import__("sys").executable,
__import__("importlib.util").util.find_spec("lavae_core").origin]"""


class _Manager(AsyncKernelManager):
    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())  # of sys.executable


class _Client(papermill.clientwrap.PapermillNotebookClient):
    """Verifies the kernel, then runs the cells. Raises LavaeError if it is another Python's."""

    def papermill_execute_cells(self) -> None:
        asked = self.kc.execute("", silent=True, user_expressions={"where": WHERE})
        answer = self.wait_for_reply(asked)["content"]["user_expressions"]["where"]
        text = answer.get("data", {}).get("text/plain", "['?', '?']")
        executable, package = literal_eval(text)
        if executable != sys.executable or Path(package).resolve().parents[1] != CHECKOUT:
            raise LavaeError(
                f"the kernel runs {executable} with lavae_core from {package}, not {sys.executable} "
                f"with that of {CHECKOUT}; run ./run_all.sh in a fresh terminal"
            )
        super().papermill_execute_cells()


class _Engine(papermill.engines.NBClientEngine):
    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, stderr_file=None, **_) -> None:
        _Client(
            nb_man, kernel_manager_class=_Manager, kernel_name=kernel_name, startup_timeout=60,
            stderr_file=stderr_file, log=papermill.engines.logger,
        ).execute()  # fmt: skip


ENGINE = "this-python"
papermill.engines.papermill_engines.register(ENGINE, _Engine)
