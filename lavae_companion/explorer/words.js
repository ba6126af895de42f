// Words of latent maps, and the exact augmentations that they stand for.
// A step is 1 for L1, -2 for L2^-1; a word is an array of steps, read from left to right.

const MOST_STEPS = 40;

// The steps of text such as "L1^2 L2^-1"; throws an Error with one line for the reader.
function parseWord(text, nMaps) {
  const steps = [];
  for (const letter of text.trim().split(/\s+/).filter(Boolean)) {
    const match = /^L([1-9]\d*)(?:\^(-?\d+))?$/i.exec(letter);
    if (!match || +match[1] > nMaps) {
      const names = Array.from({ length: nMaps }, (_, i) => `L${i + 1}`).join(", ");
      throw new Error(`cannot read "${letter}"; allowed: ${names}, with powers such as L1^3 or L1^-1`);
    }
    const power = match[2] === undefined ? 1 : +match[2], step = Math.sign(power) * match[1];
    if (steps.length + Math.abs(power) > MOST_STEPS) {
      throw new Error(`a word here has at most ${MOST_STEPS} letters`);
    }
    steps.push(...Array(Math.abs(power)).fill(step));
  }
  return steps;
}

// [[name, power], ...] with equal neighbours in one power.
function runs(steps, letter = "L") {
  const result = [];
  for (const step of steps) {
    const name = `${letter}${Math.abs(step)}`, last = result[result.length - 1];
    if (last && last[0] === name && last[1] * step > 0) last[1] += Math.sign(step);
    else result.push([name, Math.sign(step)]);
  }
  return result;
}

function wordText(steps) {
  return runs(steps).map(([name, power]) => (power === 1 ? name : `${name}^${power}`)).join(" ");
}

// The group of a family's augmentations. Each moves pixels: pixel p of its result is pixel
// sources[p] of the image. So the truth of a word is exact, and equal words are found by comparing.
class Group {
  constructor(sources) {
    this.moves = new Map(sources.flatMap((source, i) => {
      const back = new Uint16Array(source.length);
      source.forEach((from, p) => { back[from] = p; });
      return [[i + 1, source], [-i - 1, back]];
    }));
    this.shortest = this.shortestWords();
  }

  sourceOf(steps) {
    const identity = Uint16Array.from({ length: SIDE * SIDE }, (_, p) => p);
    return steps.reduce((source, step) => this.moves.get(step).map((from) => source[from]), identity);
  }

  apply(steps, pixels) {
    return Float32Array.from(this.sourceOf(steps), (from) => pixels[from]);
  }

  // The shortest word with the same augmentation.
  reduce(steps) {
    return this.shortest.get(this.sourceOf(steps).join());
  }

  shortestWords() {
    const letters = [...this.moves.keys()].sort((a, b) => (a < 0) - (b < 0) || Math.abs(a) - Math.abs(b));
    const found = new Map([[this.sourceOf([]).join(), []]]);
    for (const word of found.values()) { // a Map also visits what is added meanwhile
      for (const letter of letters) {
        const key = this.sourceOf([...word, letter]).join();
        if (!found.has(key)) found.set(key, [...word, letter]);
      }
    }
    return found;
  }
}
