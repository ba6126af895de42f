"""The HTML report: a front page of pictures and verdicts, and one page per executed notebook.

It opens from a file without a network: formulas are MathML, pictures lie beside the pages, and the
blocks of nbconvert's template that load a script from elsewhere are left out.
"""

import shutil
from html import escape
from pathlib import Path

import nbformat
from jinja2 import DictLoader, pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from lavae_core.companion.comparison import COLUMNS, claims_of, read_claims
from lavae_core.companion.files import require_writable, write_whole
from lavae_core.companion.notebooks import Notebook
from lavae_core.companion.settings import Settings

PAPER = "Towards Composable Distributions of Latent Space Augmentations"
PICTURES = ("figure_", "table_", "appendix_", "claim", "transfer_")

PAGE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
.back { margin: 1em; font-family: system-ui, sans-serif; }
.jp-OutputArea-output, .jp-InputArea-editor { overflow-x: auto; }
math[display=block] { margin: .8em 0; }
</style>
{%- endblock -%}
{%- block body_header -%}
{{ super() }}<nav class="back"><a href="index.html">&larr; all figures and tables</a></nav>
{%- endblock -%}
"""

INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>LAVAE: figures and tables</title>
<style>
body {{ margin: 0 auto; max-width: 1160px; padding: 1rem; color: #1d2430; background: #fff;
  font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ margin-bottom: 0; }}
.lead {{ margin-top: .2rem; color: #566; }}
.cards {{ display: grid; gap: 1rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }}
article {{ border: 1px solid #d8dde4; border-radius: 8px; padding: 1rem; }}
article h2 {{ font-size: 1.05rem; margin: 0 0 .6rem; }}
article img {{ display: block; width: 100%; max-height: 260px; object-fit: contain;
  margin: .4rem 0; }}
figure {{ margin: 0; }}
figcaption {{ color: #566; font-size: .85rem; }}
article ul {{ padding-left: 1.1rem; margin: .6rem 0 0; font-size: .9rem; }}
a {{ color: #0b57a4; }}
.agrees {{ color: #1a7f37; }}
.agrees-in-part {{ color: #8a5a00; }}
.does-not-agree {{ color: #b3261e; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .9rem; }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .7rem;
  border-bottom: 1px solid #d8dde4; }}
</style>
</head>
<body>
<h1>LAVAE: figures and tables</h1>
<p class="lead">{paper}: every figure and table made anew, profile {profile}.</p>
<main class="cards">
{cards}
</main>
{claims}
</body>
</html>
"""


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
    exporter = _OfflineExporter(
        extra_loaders=[DictLoader({"page.html.j2": PAGE})], template_file="page.html.j2"
    )
    done = [notebook for notebook in notebooks if _was_executed(settings.executed(notebook))]
    for notebook in done:
        content = nbformat.read(settings.executed(notebook), as_version=4)
        content.metadata["title"] = notebook.title()
        write_whole(folder / f"{notebook.name}.html", exporter.from_notebook_node(content)[0])
    front = folder / "index.html"
    write_whole(front, _front_page(done, settings, folder / "pictures"))
    return front


def _mathml(tex: str, display: str) -> str:
    try:
        return convert(tex, display=display)
    except Exception:  # its errors have no common base; the formula as it was typed can be read too
        return f"<code>{escape(tex)}</code>"


def _was_executed(path: Path) -> bool:
    if not path.is_file():
        return False
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    return all(cell.execution_count for cell in cells)


def _front_page(notebooks: list[Notebook], settings: Settings, pictures: Path) -> str:
    found = sorted(p for p in settings.figures.glob("*.png") if p.name.startswith(PICTURES))
    for picture in found:
        shutil.copyfile(picture, pictures / picture.name)
    cards = []
    for notebook in notebooks:
        own = [picture for picture in found if picture.name.startswith(notebook.output_stem)]
        found = [picture for picture in found if picture not in own]
        cards.append(_card(notebook, own, settings))
    cards.extend(f"<article>{_figure(picture)}</article>" for picture in found)
    return INDEX.format(
        paper=escape(PAPER),
        profile=escape(settings.profile),
        cards="\n".join(cards),
        claims=_claims_table(settings.figures),
    )


def _card(notebook: Notebook, pictures: list[Path], settings: Settings) -> str:
    page = f"{notebook.name}.html"
    images = "".join(f'<a href="{page}">{_figure(picture)}</a>' for picture in pictures)
    rows = claims_of(notebook.number, settings.figures)
    verdicts = "".join(
        f"<li>{escape(row['item'])}, {escape(row['claim'])}: {_verdict(row['verdict'])}</li>"
        for row in rows
    )
    title = f'<h2>{notebook.number} <a href="{page}">{escape(notebook.title())}</a></h2>'
    return f"<article>{title}{images}{f'<ul>{verdicts}</ul>' if verdicts else ''}</article>"


def _figure(picture: Path) -> str:
    name = picture.stem.replace("_", " ")
    image = f'<img src="pictures/{picture.name}" alt="{escape(name)}" loading="lazy">'
    return f"<figure>{image}<figcaption>{escape(name)}</figcaption></figure>"


def _verdict(verdict: str) -> str:
    return f'<b class="{escape(verdict).replace(" ", "-")}">{escape(verdict)}</b>'


def _claims_table(figures: Path) -> str:
    claims = read_claims(figures)
    if not claims:
        return ""
    head = "".join(f"<th>{column}</th>" for column in COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(row[column])}</td>" for column in COLUMNS) + "</tr>"
        for row in claims
    )
    return (
        f'<h2>The paper and here</h2><div class="wide"><table><tr>{head}</tr>{body}</table></div>'
    )
