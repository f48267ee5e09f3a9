// Label maps: read as the server packs them, and painted.

/** Labels of a message: base64 of deflated little-endian integers; 0 is unlabelled, k the class k − 1. */
async function readLabels(packed) {
  const deflated = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
  const buffer = await new Response(stream).arrayBuffer();
  const values = packed.bits === 16 ? new Uint16Array(buffer) : new Uint8Array(buffer);
  return { width: packed.width, height: packed.height, values };
}

/** The label at a place, given as fractions of width and height. */
function labelAt(labels, x, y) {
  const column = Math.min(labels.width - 1, Math.floor(x * labels.width));
  const row = Math.min(labels.height - 1, Math.floor(y * labels.height));
  return labels.values[row * labels.width + column];
}

/** "#rrggbb" and an opacity as the 32 bits of a canvas pixel. */
function pixelColor(hex, opacity) {
  const rgb = parseInt(hex.slice(1), 16);
  const alpha = Math.round(255 * opacity);
  return ((alpha << 24) | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
}

const WHITE_PIXEL = 0xffffffff;

/**
 * Paint labels on a canvas, one pixel each.
 * style.fill and style.line: for each label the pixel inside, and near its edge (0: as inside).
 * style.group: labels of one group have no edge between them. style.width: of lines, in canvas pixels.
 */
function paintLabels(canvas, labels, style) {
  const { width, height, values } = labels;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = style.fill[values[i]];
  if (style.line) {
    const edges = findEdges(labels, style.group);
    const rim = widen(edges, width, height, Math.max(1, Math.round(1.6 * style.width)));
    const middle = style.width > 1 ? widen(edges, width, height, Math.floor(style.width / 2)) : edges;
    for (let i = 0; i < pixels.length; i++) {
      if (rim[i] && style.line[values[i]]) pixels[i] = middle[i] ? WHITE_PIXEL : style.line[values[i]];
    }
  }
  context.putImageData(image, 0, 0);
}

/** 1 where the pixel to the right or below belongs to another group. */
function findEdges({ width, height, values }, group) {
  const edges = new Uint8Array(width * height);
  for (let row = 0, i = 0; row < height; row++) {
    for (let column = 0; column < width; column++, i++) {
      const own = group[values[i]];
      if ((column + 1 < width && group[values[i + 1]] !== own) || (row + 1 < height && group[values[i + width]] !== own)) {
        edges[i] = 1;
      }
    }
  }
  return edges;
}

/** Dilate by a square of 2 · radius + 1 pixels, first along rows, then along columns. */
function widen(mask, width, height, radius) {
  if (radius < 1) return mask;
  const passes = [[height, width, width, 1], [width, height, 1, width]]; // lines, length, step between lines, along one
  for (const [lines, length, lineStep, step] of passes) {
    const wide = new Uint8Array(mask.length);
    for (let line = 0; line < lines; line++) {
      let last = -Infinity; // the last set pixel, up to `radius` ahead of where we write
      for (let at = 0; at < length + radius; at++) {
        if (at < length && mask[line * lineStep + at * step]) last = at;
        const target = at - radius;
        if (target >= 0 && last >= target - radius) wide[line * lineStep + target * step] = 1;
      }
    }
    mask = wide;
  }
  return mask;
}
