// What a model does to an image, letter by letter.

let kept = {};

// Decoding its weights and the decoder's affine map take a moment, so only for a model in use.
function prepare(model) {
  if (model.ready) return model;
  model.network = new Network(model.tensors);
  model.group = new Group(model.sources.map((source) => new Uint16Array(bytesOf(source.data))));
  const matrices = tensorOf(model.tensors["maps.matrices"]), size = model.network.latentDim ** 2;
  model.matrices = new Map(model.generators.flatMap((_, i) => {
    const matrix = Float64Array.from(matrices.subarray(i * size, (i + 1) * size));
    return [[i + 1, matrix], [-i - 1, inverse(matrix)]];
  }));
  for (const region of model.regions) {
    const latents = tensorOf(region.latents), latentDim = model.network.latentDim;
    region.latents = Array.from({ length: latents.length / latentDim }, (_, i) => (
      latents.subarray(i * latentDim, (i + 1) * latentDim)
    ));
  }
  model.regionOf = new Map(model.regions.map((region) => (
    [wordText(model.group.reduce(parseWord(region.word, model.generators.length))), region]
  )));
  return Object.assign(model, { ready: true });
}

// What a word does to an image: the mapped z, its decoded image and the truth. Stations of the image
// in use are kept, so that a move computes only its last letter.
function station(model, pixels, steps) {
  if (kept.model !== model || kept.pixels !== pixels) kept = { model, pixels, stations: new Map() };
  const key = wordText(steps);
  if (!kept.stations.has(key)) kept.stations.set(key, newStation(model, pixels, steps));
  return kept.stations.get(key);
}

function newStation(model, pixels, steps) {
  const step = steps[steps.length - 1];
  const z = step === undefined ? model.network.encode(pixels)
    : times(station(model, pixels, steps.slice(0, -1)).z, model.matrices.get(step));
  const logits = model.network.decode(z), truth = model.group.apply(steps, pixels);
  const region = model.regionOf.get(wordText(model.group.reduce(steps)));
  return { step, z, logits, truth, region, bce: crossEntropy(logits, truth) };
}

function walk(model, pixels, steps) {
  return [...steps, null].map((_, length) => station(model, pixels, steps.slice(0, length)));
}

function onMap({ axes, centre }, z) {
  return axes.map((axis) => axis.reduce((sum, a, i) => sum + a * (z[i] - centre[i]), 0));
}

// As LAVAE.augment, for a console or a test: the image that a word makes of another, both (784,).
function augment(family, pixels, word) {
  const model = prepare(models.find((each) => each.family === family));
  const steps = parseWord(word, model.generators.length);
  return [...sigmoid(station(model, Float32Array.from(pixels), steps).logits)];
}
