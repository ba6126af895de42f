// The networks of lavae_core/models.py for one image at a time, in typed arrays.
// Images are Float32Array(784) in [0, 1], latents Float64Array(16); decode returns logits.

const SIDE = 28, HALF = 14, QUARTER = 7, CHANNELS = 64, FEATURE_MAPS = 128;

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}

// Not every browser has a Float16Array.
function halfToFloat(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function tensorOf({ dtype, data }) {
  const bytes = bytesOf(data);
  if (dtype === "float32") return new Float32Array(bytes);
  return Float32Array.from(new Uint16Array(bytes), halfToFloat);
}

class Network {
  constructor(tensors) {
    const get = (name) => tensorOf(tensors[name]), decoder = "decoders.native.";
    this.conv1 = windowsLast(get("encoder.conv1.weight"), CHANNELS, 1);
    this.conv2 = windowsLast(get("encoder.conv2.weight"), FEATURE_MAPS, CHANNELS);
    this.conv1Bias = get("encoder.conv1.bias");
    this.conv2Bias = get("encoder.conv2.bias");
    this.muBias = get("encoder.to_mu.bias");
    this.latentDim = this.muBias.length;
    this.toMu = channelsLast(get("encoder.to_mu.weight"), this.latentDim);
    this.affine = affineMap(
      get(`${decoder}from_z.weight`), get(`${decoder}from_z.bias`),
      get(`${decoder}deconv1.weight`), get(`${decoder}deconv1.bias`),
    );
    this.deconv2 = parities(get(`${decoder}deconv2.weight`), CHANNELS, 1);
    this.deconv2Bias = get(`${decoder}deconv2.bias`);
  }

  // The posterior mean of an image.
  encode(pixels) {
    const hidden = relu(convolve(pixels, SIDE, 1, this.conv1, this.conv1Bias));
    const features = relu(convolve(hidden, HALF, CHANNELS, this.conv2, this.conv2Bias));
    return product(features, this.toMu, features.length).map((sum, i) => sum + this.muBias[i]);
  }

  // Logits (784,), as Decoder.forward computes them.
  decode(z) {
    const size = HALF * HALF * CHANNELS;
    const hidden = this.affine.slice(this.latentDim * size);
    for (let i = 0; i < this.latentDim; i++) {
      for (let k = 0; k < size; k++) hidden[k] += z[i] * this.affine[i * size + k];
    }
    return transposed(relu(hidden), HALF, CHANNELS, this.deconv2, this.deconv2Bias);
  }
}

// (17, 14 * 14 * 64): the linear layer and the first transposed convolution as one affine map of z,
// its offset last, as in Decoder._affine.
function affineMap(fromZ, fromZBias, deconv, deconvBias) {
  const weights = parities(deconv, FEATURE_MAPS, CHANNELS), none = deconvBias.map(() => 0);
  const latentDim = fromZ.length / fromZBias.length, size = HALF * HALF * CHANNELS;
  const result = new Float64Array((latentDim + 1) * size);
  for (let i = 0; i <= latentDim; i++) {
    const last = i === latentDim;
    const column = last ? fromZBias : fromZBias.map((_, k) => fromZ[k * latentDim + i]);
    const image = channelsLast(column, 1), bias = last ? deconvBias : none;
    result.set(transposed(image, QUARTER, FEATURE_MAPS, weights, bias), i * size);
  }
  return result;
}

// A 4x4 convolution of stride 2; images are square and channels last, as everywhere below.
function convolve(image, side, inputs, weights, bias) {
  const windows = windowsOf(padded(image, side, inputs), side + 2, inputs, 4, 2, side / 2, 0, 0);
  return product(windows, weights, 16 * inputs).map((sum, k) => sum + bias[k % bias.length]);
}

// A transposed 4x4 convolution of stride 2. Of its result, the pixels whose row and column have the
// same parities are an ordinary 2x2 convolution of the image, with a quarter of the weights.
function transposed(image, side, inputs, weights, bias) {
  const outputs = bias.length, around = padded(image, side, inputs);
  const result = new Float64Array(4 * side * side * outputs);
  weights.forEach((weight, parity) => {
    const py = parity >> 1, px = parity & 1;
    const windows = windowsOf(around, side + 2, inputs, 2, 1, side, py, px);
    const sums = product(windows, weight, 4 * inputs);
    for (let place = 0, k = 0; place < side * side; place++) {
      const y = 2 * Math.floor(place / side) + py, x = 2 * (place % side) + px;
      const at = (2 * side * y + x) * outputs;
      for (let o = 0; o < outputs; o++, k++) result[at + o] = sums[k] + bias[o];
    }
  });
  return result;
}

// The weights (in, out, 4, 4) of a transposed convolution for each parity: (out, 2, 2, in).
function parities(weight, inputs, outputs) {
  return [0, 1, 2, 3].map((parity) => {
    const result = new Float64Array(outputs * 4 * inputs), py = parity >> 1, px = parity & 1;
    for (let o = 0, k = 0; o < outputs; o++) {
      for (let tap = 0; tap < 4; tap++) {
        const ky = 3 - py - 2 * (tap >> 1), kx = 3 - px - 2 * (tap & 1);
        for (let i = 0; i < inputs; i++, k++) result[k] = weight[(i * outputs + o) * 16 + 4 * ky + kx];
      }
    }
    return result;
  });
}

// The weights (out, in, 4, 4) of a convolution as (out, 4, 4, in).
function windowsLast(weight, outputs, inputs) {
  return Float64Array.from(weight, (_, k) => {
    const i = k % inputs, tap = Math.floor(k / inputs) % 16, o = Math.floor(k / inputs / 16);
    return weight[(o * inputs + i) * 16 + tap];
  });
}

// Rows of features (rows, 128, 7 * 7) as (rows, 7 * 7, 128).
function channelsLast(weight, rows) {
  const places = QUARTER * QUARTER;
  return Float64Array.from(weight, (_, k) => {
    const c = k % FEATURE_MAPS, place = Math.floor(k / FEATURE_MAPS) % places;
    return weight[(Math.floor(k / FEATURE_MAPS / places) * FEATURE_MAPS + c) * places + place];
  });
}

// An image with a frame of zeros, one pixel wide.
function padded(image, side, channels) {
  const wide = side + 2, result = new Float64Array(wide * wide * channels);
  for (let y = 0; y < side; y++) {
    const row = image.subarray(y * side * channels, (y + 1) * side * channels);
    result.set(row, ((y + 1) * wide + 1) * channels);
  }
  return result;
}

// (count * count, size * size * channels): the windows of an image, the first one at (top, left).
function windowsOf(image, side, channels, size, stride, count, top, left) {
  const run = size * channels, result = new Float64Array(count * count * size * run);
  for (let y = 0, k = 0; y < count; y++) {
    for (let x = 0; x < count; x++) {
      for (let row = 0; row < size; row++, k += run) {
        const at = ((stride * y + top + row) * side + stride * x + left) * channels;
        result.set(image.subarray(at, at + run), k);
      }
    }
  }
  return result;
}

// a (n, size) times the transpose of b (m, size); size is a multiple of four. Four sums at a time,
// because a processor waits for each addition to one sum.
function product(a, b, size) {
  const n = a.length / size, m = b.length / size, result = new Float64Array(n * m);
  for (let i = 0, k = 0; i < n; i++) {
    for (let j = 0; j < m; j++, k++) {
      const at = i * size, bt = j * size;
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
      for (let l = 0; l < size; l += 4) {
        s0 += a[at + l] * b[bt + l];
        s1 += a[at + l + 1] * b[bt + l + 1];
        s2 += a[at + l + 2] * b[bt + l + 2];
        s3 += a[at + l + 3] * b[bt + l + 3];
      }
      result[k] = s0 + s1 + s2 + s3;
    }
  }
  return result;
}

function relu(values) {
  return values.map((value) => Math.max(value, 0));
}

function sigmoid(logits) {
  return logits.map((value) => 1 / (1 + Math.exp(-value)));
}

// Binary cross-entropy in nats, summed over the pixels.
function crossEntropy(logits, target) {
  return logits.reduce((sum, logit, i) => (
    sum + Math.max(logit, 0) - logit * target[i] + Math.log1p(Math.exp(-Math.abs(logit)))
  ), 0);
}

// z @ matrix for a row-major square matrix.
function times(z, matrix) {
  const size = z.length;
  return z.map((_, j) => z.reduce((sum, value, i) => sum + value * matrix[i * size + j], 0));
}

// Gauss-Jordan elimination with pivoting.
function inverse(matrix) {
  const size = Math.sqrt(matrix.length);
  const rows = Array.from({ length: size }, (_, i) => [
    ...matrix.subarray(i * size, (i + 1) * size), ...Array.from({ length: size }, (_, j) => +(i === j)),
  ]);
  for (let i = 0; i < size; i++) {
    let best = i;
    for (let j = i; j < size; j++) if (Math.abs(rows[j][i]) > Math.abs(rows[best][i])) best = j;
    [rows[i], rows[best]] = [rows[best], rows[i]];
    const pivot = rows[i][i];
    rows[i] = rows[i].map((value) => value / pivot);
    for (let j = 0; j < size; j++) {
      const factor = rows[j][i];
      if (j !== i) rows[j] = rows[j].map((value, k) => value - factor * rows[i][k]);
    }
  }
  return Float64Array.from(rows.flatMap((row) => row.slice(size)));
}
