"""The HTML report: a front page of verdicts and pictures, and one page per executed notebook.

It opens from a file without a network: formulas are MathML, pictures lie beside the pages, and the
blocks of nbconvert's template that load a script from elsewhere are left out.
"""

import platform
import shutil
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import torch
from jinja2 import Environment, FileSystemLoader, pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lavae_companion import data, explorer, store
from lavae_companion.experiments import FittedMaps, load_or_train
from lavae_companion.results.claims import WIDTH
from lavae_companion.runner.files import PICTURES, listed, require_writable, say, write_whole
from lavae_companion.runner.notebooks import Notebook
from lavae_companion.runner.run import Settings, read_record
from lavae_companion.study import Study
from lavae_companion.weights import FAMILIES
from lavae_core.augmentations import Family
from lavae_core.models import LAVAE
from lavae_core.runtime import THREADS

TEMPLATES = FileSystemLoader(Path(__file__).parent)


class _MathMLRenderer(IPythonRenderer):
    """Formulas as MathML, which browsers show by themselves; links to notebooks lead to their pages,
    and those to other files of the checkout, which the report does not have, are text."""

    pages: dict[str, str]

    def link(self, text: str, url: str, title: str | None = None) -> str:
        page = self.pages.get(url, url)
        elsewhere = "/" in url or url.endswith(".ipynb")
        if page == url and elsewhere and "://" not in url:
            return text
        return super().link(text, page, title)

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return _mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return _mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


class _OfflineExporter(HTMLExporter):
    pages: dict[str, str] = {}  # of the report, by the names of their notebooks

    @pass_context
    def markdown2html(self, context, source: str) -> str:
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = _MathMLRenderer(escape=False, attachments=attachments, exclude_anchor_links=True)
        renderer.pages = self.pages
        return MarkdownWithMath(renderer=renderer).render(source)


def write_report(notebooks: list[Notebook], settings: Settings) -> Path:
    """Write the report of every notebook that was executed; return the path of its front page."""
    folder = settings.runs / "report"
    require_writable(folder / "pictures")
    shown = [each for each in notebooks if _is_there(Notebook(settings.executed(each)))]
    _write_pages([Notebook(settings.executed(notebook)) for notebook in shown], folder)
    template = Environment(loader=TEMPLATES, autoescape=True).get_template("report.html.j2")
    study = Study(settings.profile, settings.seed, settings.device, settings.dataset)
    text = template.render(
        settings=settings,
        **_verdicts(settings.claims_file(notebooks)),
        **_minutes(shown, settings),
        machine=_machine(study),
        cards=[_card(notebook, settings, folder / "pictures") for notebook in shown],
        explorer=_write_explorer(study, settings, folder / "explorer.html"),
    )
    write_whole(folder / "index.html", text)
    return folder / "index.html"


def _is_there(executed: Notebook) -> bool:
    return executed.path.is_file() and executed.was_executed()


def _write_pages(executed: list[Notebook], folder: Path) -> None:
    """A page for each notebook, with links to the one before and the one after."""
    names = [notebook.name for notebook in executed]
    exporter = _OfflineExporter(extra_loaders=[TEMPLATES], template_file="page.html.j2")
    exporter.pages = {f"{name}.ipynb": f"{name}.html" for name in names}
    for notebook, previous, following in zip(
        executed, [None, *names], [*names[1:], None], strict=False
    ):
        content = nbformat.read(notebook.path, as_version=4)
        content.metadata["title"] = notebook.title()
        _show_animations(content)
        resources = {"previous": previous, "next": following}
        page, _ = exporter.from_notebook_node(content, resources)
        write_whole(folder / f"{notebook.name}.html", page)


def _show_animations(content: nbformat.NotebookNode) -> None:
    """Make animations HTML, since nbconvert shows no image/gif."""
    for output in (each for cell in content.cells for each in cell.get("outputs", [])):
        if gif := output.get("data", {}).get("image/gif"):
            output.data["text/html"] = f'<img alt="" src="data:image/gif;base64,{gif}">'


def _verdicts(path: Path | None) -> dict[str, list]:
    """A row for each claim of a table of claims, and how many have each verdict."""
    if path is None or not path.is_file():
        return {"claims": [], "counts": []}
    rows = pd.read_csv(path).drop_duplicates("claim")
    counts = rows["verdict"].value_counts()
    return {"claims": rows.to_dict("records"), "counts": list(counts.items())}


def _minutes(notebooks: list[Notebook], settings: Settings) -> dict[str, float]:
    records = [read_record(notebook, settings) or {} for notebook in notebooks]
    return {name: sum(r.get(name, 0) for r in records) for name in ("running", "training")}


def _machine(study: Study) -> str:
    running = study.setting.runtime
    return (
        f"{platform.system()} {platform.machine()}, {THREADS} threads, device {running.device}, "
        f"precision {running.precision}, PyTorch {torch.__version__}"
    )


def _write_explorer(study: Study, settings: Settings, path: Path) -> bool:
    """Write the explorer of the models of this run; False where none of them is trained."""
    models = _trained(study)
    if models:
        name = data.label(settings.dataset)
        source = f"profile {settings.profile}, seed {settings.seed}, data set {name}"
        explorer.build(models, study.test_set, path, source)
    else:
        families = " or ".join(str(family) for family in FAMILIES)
        say(f"the report has no explorer: no model of {families} is trained yet")
    return bool(models)


def _trained(study: Study) -> dict[Family, LAVAE]:
    maps = {family: FittedMaps(study.stage1(family)) for family in FAMILIES}
    there = {family: e for family, e in maps.items() if store.exists(e.KIND, e.spec())}
    return {family: load_or_train(experiment) for family, experiment in there.items()}


def _mathml(tex: str, display: str) -> str:
    try:
        return convert(tex, display=display)
    except Exception:  # its errors have no common base; the formula as it was typed can be read too
        return f"<code>{escape(tex)}</code>"


def _card(notebook: Notebook, settings: Settings, pictures: Path) -> dict[str, Any]:
    """What the front page shows of an executed notebook; copies its pictures into `pictures`."""
    written = listed(settings.figures(notebook), notebook.output_stem)
    own = sorted((path for path in written if path.suffix in PICTURES), key=_still_first)
    for picture in own:
        shutil.copyfile(picture, pictures / picture.name)
    executed = Notebook(settings.executed(notebook))
    lines = unwrapped(executed.check_text())
    return {"notebook": executed, "pictures": [picture.name for picture in own], "check": lines}


def unwrapped(text: str) -> list[tuple[int, str]]:
    """The lines of a check without their breaks at claims.WIDTH columns, each with the columns that
    it is indented by. A line goes on, at 0 or 2 columns, where the next word did not fit."""
    lines: list[tuple[int, str]] = []
    end = 0  # of the line before, in columns
    for line in text.splitlines():
        words = line.strip()
        indent = len(line) - len(words)
        goes_on = lines and indent == min(lines[-1][0], 2)
        if goes_on and end + 1 + len(words.partition(" ")[0]) > WIDTH:
            lines[-1] = lines[-1][0], f"{lines[-1][1]} {words}"
        else:
            lines.append((indent, words))
        end = len(line)
    return lines


def _still_first(picture: Path) -> tuple[bool, str]:
    return picture.suffix == ".gif", picture.name
