"""The HTML report: a front page of verdicts and pictures, and one page per executed notebook.

It opens from a file without a network: formulas are MathML, pictures lie beside the pages, and the
blocks of nbconvert's template that load a script from elsewhere are left out.
"""

import shutil
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from jinja2 import Environment, FileSystemLoader, pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lavae_companion import data, explorer, store
from lavae_companion.experiments import FittedMaps, load_or_train
from lavae_companion.runner.files import require_writable, say, write_whole
from lavae_companion.runner.notebooks import Notebook
from lavae_companion.runner.run import Settings
from lavae_companion.study import Study
from lavae_companion.weights import FAMILIES
from lavae_core.augmentations import Family
from lavae_core.models import LAVAE

TEMPLATES = FileSystemLoader(Path(__file__).parent)


class _MathMLRenderer(IPythonRenderer):
    """Formulas as MathML, which browsers show by themselves."""

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline")

    def block_math(self, body: str) -> str:
        return _mathml(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return _mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


class _OfflineExporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context, source: str) -> str:
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = _MathMLRenderer(escape=False, attachments=attachments, exclude_anchor_links=True)
        return MarkdownWithMath(renderer=renderer).render(source)


def write_report(notebooks: list[Notebook], settings: Settings) -> Path:
    """Write the report of every notebook that was executed; return the path of its front page."""
    folder = settings.runs / "report"
    require_writable(folder / "pictures")
    exporter = _OfflineExporter(extra_loaders=[TEMPLATES], template_file="page.html.j2")
    cards = []
    for notebook in notebooks:
        executed = Notebook(settings.executed(notebook))
        if executed.path.is_file() and executed.was_executed():
            content = nbformat.read(executed.path, as_version=4)
            content.metadata["title"] = notebook.title()
            write_whole(folder / f"{notebook.name}.html", exporter.from_notebook_node(content)[0])
            cards.append(_card(executed, settings.figures(notebook), folder / "pictures"))
    template = Environment(loader=TEMPLATES, autoescape=True).get_template("report.html.j2")
    claims = settings.claims_file(notebooks)
    rows = pd.read_csv(claims).drop_duplicates("claim") if claims and claims.is_file() else None
    text = template.render(
        settings=settings,
        claims=[] if rows is None else rows.to_dict("records"),
        cards=cards,
        explorer=_write_explorer(settings, folder / "explorer.html"),
    )
    write_whole(folder / "index.html", text)
    return folder / "index.html"


def _write_explorer(settings: Settings, path: Path) -> bool:
    """Write the explorer of the models of this run; False where none of them is trained."""
    study = Study(settings.profile, settings.seed, settings.device, settings.dataset)
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


def _card(notebook: Notebook, figures: Path, pictures: Path) -> dict[str, Any]:
    """What the front page shows of an executed notebook; copies its pictures into `pictures`."""
    own = sorted(figures.glob(f"{notebook.output_stem}*.png"))
    for picture in own:
        shutil.copyfile(picture, pictures / picture.name)
    return {"notebook": notebook, "pictures": [picture.name for picture in own]}
