// Painting: the page is made what the state says, once before the next frame, however much has changed.

let isDue = false;

/** Repaint before the next frame, once for however many changes. */
function update() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    paint();
  });
}

function paint() {
  const { image, masks, other } = state, map = displayedMap();
  const isComparing = state.mode === "compare" && Boolean(map);
  const comparesOther = isComparing && Boolean(other) && other.rival === state.compare;
  const showsMasks = Boolean(masks) && (state.mode === "masks" || !map);
  viewer.dataset.state = !image ? "empty" : map ? "map" : masks ? "masks" : "image";
  viewer.dataset.mode = state.mode;
  const displayed = state.map ? String(state.map.number) : "";
  const isNew = displayed !== viewer.dataset.map;
  viewer.dataset.map = displayed;
  if (isNew && displayed) document.dispatchEvent(new CustomEvent("ovseg-map"));
  viewer.dataset.preview = showsPreview() ? state.preview.number : "";
  viewer.dataset.compare = state.compare;
  viewer.dataset.frame = image?.frame ?? "";
  viewer.dataset.pointing = Boolean(state.pointing);
  if (showsMasks) paintMasks(layers.map);
  else if (map) paintMap(layers.map, map);
  if (comparesOther) paintMap(layers.other, other);
  layers.map.hidden = !(showsMasks || map);
  layers.other.hidden = !comparesOther;
  paintMarks();
  placeDivider(isComparing);
  for (const tab of tabsOf("compare")) {
    const cost = tab.querySelector("small");
    if (cost) cost.hidden = !cost.textContent || other?.rival === tab.dataset.compare;
  }
  showTags(isComparing, comparesOther);
  placeNames(showsMasks || isComparing ? null : map);
  showPanels(showsMasks);
  for (const row of findAll(".legend .entry[data-index]")) {
    const isPinned = Number(row.dataset.index) === state.pinned;
    row.setAttribute("aria-pressed", String(isPinned));
  }
}

function paintMap(canvas, map) {
  const focus = state.mode === "map" ? state.hovered ?? state.pinned : null;
  const size = Math.max(...map.classes.map((entry) => entry.index)) + 2;
  const fill = new Uint32Array(size), line = new Uint32Array(size), group = new Uint16Array(size);
  for (const entry of map.classes) {
    const value = entry.index + 1, isLit = focus === null || focus === entry.index;
    fill[value] = pixelColor(entry.color, isLit ? options.opacity : 0.12 * options.opacity);
    line[value] = isLit && (options.outlines || focus !== null) ? pixelColor(entry.color, Math.max(0.9, options.opacity)) : 0;
    group[value] = isLit ? value : 0;
  }
  const drawsLines = options.outlines || focus !== null;
  paintLabels(canvas, map.labels, { fill, line: drawsLines ? line : null, group, width: lineWidth(map.labels) });
}

function paintMasks(canvas) {
  const { masks, map } = state;
  const size = masks.count + 1;
  const fill = new Uint32Array(size), line = new Uint32Array(size), group = new Uint16Array(size);
  const kept = map ? new Set(map.kept) : null;
  masks.colors.forEach((color, index) => {
    const isKept = !kept || kept.has(index), isHovered = state.hoveredMask === index + 1;
    fill[index + 1] = pixelColor(color, isHovered ? 0.85 : isKept ? options.opacity : 0.35 * options.opacity);
    line[index + 1] = isKept || isHovered ? pixelColor(color, 0.95) : 0;
    group[index + 1] = isKept || isHovered ? index + 1 : 0;
  });
  paintLabels(canvas, masks.labels, { fill, line, group, width: lineWidth(masks.labels) });
}

/** The outline of the mask that decided, and the pixel that was asked about. */
function paintMarks() {
  const { why, image } = state;
  const isShown = Boolean(why && image && why.image === image.number && state.mode === "map");
  layers.fixes.hidden = !(state.fixes && state.map && state.mode === "map");
  if (!layers.fixes.hidden) {
    const line = new Uint32Array([0, pixelColor("#ffffff", 1)]);
    paintLabels(layers.fixes, state.fixes, { fill: new Uint32Array(2), line, group: new Uint16Array([0, 1]), width: 1.5 * lineWidth(state.fixes) });
  }
  layers.marks.hidden = !(isShown && why.labels) || Boolean(state.pointing);
  if (!layers.marks.hidden) {
    const width = 1.5 * lineWidth(why.labels);
    const line = new Uint32Array([0, pixelColor("#101014", 0.95)]);
    paintLabels(layers.marks, why.labels, { fill: new Uint32Array(2), line, group: new Uint16Array([0, 1]), width });
  }
  const pin = find(".pin");
  const place = state.cursor ?? (isShown && !state.pointing ? [(why.x + 0.5) / image.width, (why.y + 0.5) / image.height] : null);
  pin.hidden = !place || state.mode !== "map";
  if (place) {
    pin.style.left = `${100 * place[0]}%`;
    pin.style.top = `${100 * place[1]}%`;
  }
  paintPoints();
}

/** The points and the box of the new mask. */
function paintPoints() {
  const layer = find(".points"), { pointing, image } = state;
  layer.replaceChildren();
  if (!pointing || !image || state.mode !== "map") return;
  for (const side of ["inside", "outside"]) {
    for (const [x, y] of pointing[side]) {
      const dot = make("i", side, side === "inside" ? "+" : "−");
      dot.style.left = `${(100 * (x + 0.5)) / image.width}%`;
      dot.style.top = `${(100 * (y + 0.5)) / image.height}%`;
      layer.append(dot);
    }
  }
  if (!pointing.box) return;
  const [x0, y0, x1, y1] = pointing.box, box = make("b");
  box.style.cssText = `left: ${(100 * Math.min(x0, x1)) / image.width}%; top: ${(100 * Math.min(y0, y1)) / image.height}%; width: ${(100 * Math.abs(x1 - x0)) / image.width}%; height: ${(100 * Math.abs(y1 - y0)) / image.height}%`;
  layer.append(box);
}

/** Canvas pixels of a line that is about 1.5 pixels wide on the page. */
const lineWidth = (labels) => Math.max(1, Math.round(((state.isPresenting ? 3 : 1.4) * labels.width) / (zoom.scale() * frame.clientWidth || labels.width)));
