// What the page shows of its state.

const GLYPHS = { o: "●", "^": "▲", s: "■", D: "◆" }; // of matplotlib's markers
const LONG = 6; // a word with at least so many letters after the first shows how errors grow

function byId(id) {
  return document.getElementById(id);
}

function element(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

// A word with its powers raised: "L1²" for L1^2; `front` comes before it.
function typeset(steps, letter = "L", front = []) {
  return [...front, ...runs(steps, letter).flatMap(([name, power]) => (
    [" ", name, ...(power === 1 ? [] : [element("sup", {}, `${power}`.replace("-", "−"))])]
  ))];
}

function showPixels(canvas, pixels) {
  const picture = new ImageData(SIDE, SIDE);
  pixels.forEach((value, p) => picture.data.set([255 * value, 255 * value, 255 * value, 255], 4 * p));
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

function thumbnail(pixels) {
  return showPixels(element("canvas", { width: SIDE, height: SIDE }), pixels);
}

function drawPad() {
  const pad = byId("pad"), pen = pad.getContext("2d"), scale = pad.width / SIDE;
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, pad.width, pad.height);
  if (state.image !== null) {
    pen.imageSmoothingEnabled = false;
    pen.drawImage(thumbnail(state.pixels), 0, 0, pad.width, pad.height);
  }
  if (state.image === null && !state.strokes.length) {
    Object.assign(pen, { fillStyle: "#999", font: "20px system-ui, sans-serif", textAlign: "center" });
    pen.fillText("Draw a digit", pad.width / 2, pad.height / 2);
  }
  Object.assign(pen, { strokeStyle: "#fff", lineWidth: 2.4 * scale, lineCap: "round", lineJoin: "round" });
  for (const stroke of state.strokes) {
    pen.beginPath();
    for (const [x, y] of [stroke[0], ...stroke]) pen.lineTo((x + 0.5) * scale, (y + 0.5) * scale);
    pen.stroke();
  }
}

function drawMap(model, stations) {
  const canvas = byId("map"), pen = canvas.getContext("2d"), ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  Object.assign(canvas, { width: width * ratio, height: height * ratio });
  pen.scale(ratio, ratio);
  const map = model.maps[byId("projection").value], style = getComputedStyle(document.body);
  const regions = model.regions.map(({ latents }) => latents.map((z) => onMap(map, z)));
  const path = stations.map(({ z }) => onMap(map, z)), end = stations[stations.length - 1];
  const truth = onMap(map, model.network.encode(end.truth));
  const place = placer([...regions.flat(), ...path, truth], width, height);
  Object.assign(pen, { textAlign: "center", textBaseline: "middle", font: "9px sans-serif", globalAlpha: 0.8 });
  regions.forEach((points, i) => {
    pen.fillStyle = model.regions[i].colour;
    for (const point of points) pen.fillText(glyph(model.regions[i]), ...place(point));
  });
  Object.assign(pen, { globalAlpha: 1, lineWidth: 2, font: "600 11px system-ui, sans-serif" });
  drawPath(pen, path.map(place), style.getPropertyValue("--path"), style.getPropertyValue("--card"));
  drawCross(pen, place(truth), style.getPropertyValue("--ink"));
}

function glyph({ marker }) {
  return GLYPHS[marker] ?? "●";
}

function drawPath(pen, places, colour, numbers) {
  pen.strokeStyle = colour;
  pen.beginPath();
  places.forEach((place) => pen.lineTo(...place));
  pen.stroke();
  places.forEach((place, number) => {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.arc(...place, 9, 0, 2 * Math.PI);
    pen.fill();
    pen.fillStyle = numbers;
    pen.fillText(number, ...place);
  });
}

// From the plane of the map to the canvas: all points are inside, with one scale for both axes.
function placer(points, width, height) {
  const margin = 14, ranges = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const spans = ranges.map(([low, high]) => high - low || 1);
  const scale = Math.min((width - 2 * margin) / spans[0], (height - 2 * margin) / spans[1]);
  return ([x, y]) => [
    width / 2 + scale * (x - (ranges[0][0] + ranges[0][1]) / 2),
    height / 2 - scale * (y - (ranges[1][0] + ranges[1][1]) / 2),
  ];
}

function drawCross(pen, [x, y], colour) {
  pen.strokeStyle = colour;
  pen.beginPath();
  for (const side of [-1, 1]) {
    pen.moveTo(x - 6, y - 6 * side);
    pen.lineTo(x + 6, y + 6 * side);
  }
  pen.stroke();
}

function render() {
  const started = performance.now(), { model, steps, pixels } = state;
  const stations = walk(model, pixels, steps), last = stations[steps.length];
  drawPad();
  showPixels(byId("input"), pixels);
  showPixels(byId("output"), sigmoid(last.logits));
  showPixels(byId("truth"), last.truth);
  byId("output-name").replaceChildren(...typeset(steps, "L", [element("i", {}, "z")]));
  byId("truth-name").replaceChildren(...typeset(steps, "A", [element("i", {}, "x")]));
  showWord(model, steps);
  showScores(model, stations);
  showStations(stations);
  drawMap(model, stations);
  state.milliseconds = performance.now() - started;
  byId("speed").textContent = `The last move took ${Math.ceil(state.milliseconds)} ms.`;
}

function showWord(model, steps) {
  const reduced = model.group.reduce(steps), region = model.regionOf.get(wordText(reduced));
  if (document.activeElement !== byId("text")) byId("text").value = wordText(steps);
  const meaning = region ? `variant “${region.name}”` : "a variant that was not in training";
  byId("reduced").replaceChildren(
    ...(reduced.length ? typeset(reduced) : ["1, the identity"]), element("small", {}, ` (${meaning})`),
  );
}

function showScores(model, stations) {
  const { steps, pixels } = state, reduced = model.group.reduce(steps);
  const row = (name, { bce }) => (
    element("tr", {}, element("td", {}, ...name), element("td", {}, bce.toFixed(1)))
  );
  const rows = [row(["This word"], stations[steps.length])];
  if (reduced.length && wordText(reduced) !== wordText(steps)) {
    rows.push(row(["Its reduced form", ...typeset(reduced)], station(model, pixels, reduced)));
  }
  if (steps.length) rows.push(row(["No word: the input, encoded and decoded"], stations[0]));
  byId("scores").replaceChildren(...rows);
}

function showStations(stations) {
  byId("stations").replaceChildren(...stations.map(({ step, logits, truth, region }, number) => {
    const decoded = thumbnail(sigmoid(logits)), expected = thumbnail(truth);
    if (region) decoded.style.borderColor = expected.style.borderColor = region.colour;
    const name = step ? typeset([step]) : [element("i", {}, "z")];
    return element("figure", {}, element("figcaption", {}, `${number}: `, ...name), decoded, expected);
  }));
  const strip = byId("stations").parentElement;
  strip.scrollLeft = strip.scrollWidth;
}

function showLegend(model) {
  const names = model.regions.map((region) => {
    const mark = element("span", {}, glyph(region));
    mark.style.color = region.colour;
    const word = region.word ? `: ${region.word}` : "";
    return element("span", {}, mark, ` ${region.name}${word}`);
  });
  byId("legend").replaceChildren(...names, element("span", {}, "× the truth, encoded"));
}

// Suggestions follow from the augmentations: their orders, whether they commute, what was trained.
function showSuggestions({ group, generators, orders, regionOf }) {
  const list = generators.map((name, i) => [
    [Array(orders[i]).fill(i + 1)],
    `${name} ${orders[i] === 2 ? "twice" : `${orders[i]} times`} changes nothing.`,
  ]);
  if (generators.length > 1) {
    const commute = wordText(group.reduce([1, 2])) === wordText(group.reduce([2, 1]));
    list.push([[[1, 2], [2, 1]], commute ? "The order does not matter." : "The order matters."]);
  }
  const untrained = [...group.shortest.values()].find((word) => (
    !regionOf.has(wordText(word)) && word.every((step) => step > 0)
  ));
  if (untrained) list.push([[untrained], "The model saw no image of this variant in training."]);
  const count = 1 + orders[0] * Math.ceil(LONG / orders[0]);
  list.push([[Array(count).fill(1)], `Draw a 2, then press L1 ${count} times: does the error grow?`]);
  byId("suggestions").replaceChildren(...list.map(([words, text]) => (
    element("li", {}, ...words.map(wordButton), element("span", {}, text))
  )));
}

function wordButton(steps) {
  const button = element("button", { type: "button" }, wordText(steps));
  button.addEventListener("click", () => setWord(steps));
  return button;
}

function showLetters({ generators }) {
  byId("letters").replaceChildren(...generators.flatMap((name, i) => [i + 1, -i - 1].map((step) => {
    const label = step > 0 ? name : `undo ${name}`;
    const button = element("button", { type: "button" }, ...typeset([step]), element("small", {}, label));
    button.setAttribute("aria-label", `${wordText([step])}, ${label}`);
    button.addEventListener("click", () => press(step, Number(byId("power").value)));
    return button;
  })));
}
