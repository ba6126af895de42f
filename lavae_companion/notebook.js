// JupyterLab runs this in the output of the first cell that imports the package: `element`.
const waiting = setInterval(() => {
  if (!element.isConnected) return;
  clearInterval(waiting);
  const panel = element.closest(".jp-NotebookPanel");
  if (!panel || panel.querySelector(".lavae-running")) return;

  const note = document.createElement("div");
  note.className = "lavae-running";
  note.setAttribute("role", "status");
  note.style = `position: absolute; left: 24px; bottom: 12px; z-index: 10; padding: 6px 12px;
    color: var(--jp-ui-font-color1); background: var(--jp-layout-color2); white-space: pre;
    border: 1px solid var(--jp-brand-color1); font: 13px var(--jp-code-font-family)`;
  panel.append(note);

  const prompt = (cell) => cell.querySelector(".jp-InputPrompt")?.textContent;
  const show = () => {
    const cells = [...panel.querySelectorAll(".jp-CodeCell")];
    const running = cells.findIndex((cell) => prompt(cell) === "[*]:");
    note.hidden = running < 0;
    if (note.hidden) return;
    const printed = cells[running].querySelectorAll('[data-mime-type$=".stderr"]');
    const bar = [...printed].at(-1)?.textContent.trim().split("\n").at(-1) ?? "";
    const text = `code cell ${running + 1} of ${cells.length} is running` + (bar && `\n${bar}`);
    if (note.textContent !== text) note.textContent = text; // or the observer would call itself
  };
  new MutationObserver(show).observe(panel, { childList: true, subtree: true });
  show();
}, 50);
