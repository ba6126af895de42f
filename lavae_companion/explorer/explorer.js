// The state of the page, and what the reader does to it.

const INITIAL_WORD = "L1 L2", INITIAL_LABEL = 7;

const content = JSON.parse(byId("content").textContent);
const images = content.images.map((image) => ({
  label: image.label, pixels: Float32Array.from(new Uint8Array(bytesOf(image.data)), (v) => v / 255),
}));
const models = content.models.map((model) => ({ ...model, ready: false }));
const state = { model: null, steps: [], image: null, strokes: [], pixels: null };

function setWord(steps) {
  if (steps.length > MOST_STEPS) {
    byId("problem").textContent = `A word here has at most ${MOST_STEPS} letters.`;
    return;
  }
  byId("problem").textContent = "";
  state.steps = steps;
  render();
}

function press(step, power = 1) {
  setWord([...state.steps, ...Array(power).fill(step)]);
}

function undo() {
  setWord(state.steps.slice(0, -1));
}

function choose(index) {
  const place = (index + images.length) % images.length;
  Object.assign(state, { image: place, strokes: [], pixels: images[place].pixels });
  markChosen();
  render();
}

function markChosen() {
  [...byId("gallery").children].forEach((button, i) => (
    button.setAttribute("aria-pressed", i === state.image)
  ));
}

function newDrawing() {
  Object.assign(state, { image: null, strokes: [], pixels: new Float32Array(SIDE * SIDE) });
  markChosen();
  render();
}

function setFamily(index) {
  state.model = prepare(models[index]);
  const nMaps = state.model.generators.length;
  state.steps = state.steps.filter((step) => Math.abs(step) <= nMaps);
  showLetters(state.model);
  showLegend(state.model);
  showSuggestions(state.model);
  render();
}

function pointOf(event) {
  const box = byId("pad").getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
    .map((part) => part * SIDE - 0.5);
}

function startStroke(event) {
  event.preventDefault();
  byId("pad").setPointerCapture(event.pointerId);
  if (state.image !== null) newDrawing();
  state.strokes.push([pointOf(event)]);
  showDrawing();
}

function goOn(event) {
  if (!event.target.hasPointerCapture(event.pointerId)) return;
  state.strokes[state.strokes.length - 1].push(pointOf(event));
  showDrawing();
}

// At most once a frame: a pen moves more often than a screen shows.
function showDrawing() {
  if (state.waiting) return;
  state.waiting = true;
  requestAnimationFrame(() => {
    state.waiting = false;
    state.pixels = normalised(state.strokes);
    render();
  });
}

function onKey(event) {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code), number = digit ? +digit[1] : 0;
  const gallery = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (number && number <= state.model.generators.length) press(event.shiftKey ? -number : number);
  else if (event.key === "Backspace") undo();
  else if (event.key === "Escape") setWord([]);
  else if (gallery) choose(state.image === null ? 0 : state.image + gallery);
  else return;
  event.preventDefault();
}

function onText() {
  try {
    setWord(parseWord(byId("text").value, state.model.generators.length));
  } catch (error) {
    byId("problem").textContent = error.message;
  }
}

function start() {
  byId("family").append(...models.map(({ family }, i) => element("option", { value: i }, family)));
  byId("gallery").append(...images.map(({ label, pixels }, i) => {
    const button = element("button", { type: "button" }, thumbnail(pixels));
    button.setAttribute("aria-label", `Test image of a ${label}`);
    button.addEventListener("click", () => choose(i));
    return button;
  }));
  byId("projection").addEventListener("change", render);
  byId("family").addEventListener("change", (event) => setFamily(event.target.value));
  byId("undo").addEventListener("click", undo);
  byId("clear").addEventListener("click", () => setWord([]));
  byId("new-drawing").addEventListener("click", newDrawing);
  byId("text").addEventListener("input", onText);
  byId("pad").addEventListener("pointerdown", startStroke);
  byId("pad").addEventListener("pointermove", goOn);
  document.addEventListener("keydown", onKey);
  window.addEventListener("resize", render);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  state.image = Math.max(0, images.findIndex(({ label }) => label === INITIAL_LABEL));
  state.pixels = images[state.image].pixels;
  state.steps = parseWord(INITIAL_WORD, models[0].generators.length);
  markChosen();
  setFamily(0);
}

start();
