// From a drawing to an image that looks like one of MNIST's: scaled to fit a box, centred by mass.
// A stroke is an array of [x, y] in pixels of the 28x28 image.

const BOX = 17.5; // the longer side of the strokes' middle line; with the pen's width 20 pixels
const SMALLEST = 6; // a dot is not blown up to a digit
const PEN = 1.75; // from the middle line to where the ink ends

function normalised(strokes) {
  const points = strokes.flat(), range = (axis) => {
    const values = points.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  };
  const [left, right] = range(0), [top, bottom] = range(1);
  const scale = BOX / Math.max(right - left, bottom - top, SMALLEST);
  const centre = [(left + right) / 2, (top + bottom) / 2], middle = (SIDE - 1) / 2;
  const placed = (shift) => strokes.map((stroke) => stroke.map((point) => (
    point.map((value, axis) => (value - centre[axis]) * scale + middle - shift[axis])
  )));
  return rasterise(placed(massOffset(rasterise(placed([0, 0])))));
}

// Where the mass of an image is, as seen from its middle: [x, y] in pixels.
function massOffset(pixels) {
  let mass = 0, x = 0, y = 0;
  pixels.forEach((value, p) => {
    mass += value;
    x += value * (p % SIDE);
    y += value * Math.floor(p / SIDE);
  });
  return [x / mass - (SIDE - 1) / 2, y / mass - (SIDE - 1) / 2];
}

// Ink by the distance to the strokes; the edge is one pixel wide.
function rasterise(strokes) {
  const pixels = new Float32Array(SIDE * SIDE);
  for (const stroke of strokes) {
    stroke.forEach((end, i) => {
      const start = stroke[Math.max(i - 1, 0)];
      for (let p = 0; p < pixels.length; p++) {
        const ink = PEN - distance(p % SIDE, Math.floor(p / SIDE), start, end);
        if (ink > pixels[p]) pixels[p] = Math.min(1, ink);
      }
    });
  }
  return pixels.map((value) => Math.round(255 * value) / 255);
}

// From the point (x, y) to the line between two points.
function distance(x, y, start, end) {
  const dx = end[0] - start[0], dy = end[1] - start[1], length = dx * dx + dy * dy;
  const part = length && ((x - start[0]) * dx + (y - start[1]) * dy) / length;
  const along = Math.min(1, Math.max(0, part));
  return Math.hypot(x - start[0] - along * dx, y - start[1] - along * dy);
}
