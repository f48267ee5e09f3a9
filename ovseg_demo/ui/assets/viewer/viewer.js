// The viewer: keeps the newest message of each channel and paints what they say. Gradio gives `element`,
// `props` (the channels), `watch` and `trigger`; everything here happens in the browser, without the server,
// but for the events that are triggered by name.

const viewer = element.querySelector(".viewer");
const find = (selector) => viewer.querySelector(selector);
const findAll = (selector) => [...viewer.querySelectorAll(selector)];
const frame = find(".frame");
const layers = { map: find("canvas.map"), other: find("canvas.other"), fixes: find("canvas.fixes"), marks: find("canvas.marks") };

const MARGIN = 40; // pixels of the page around a place that must stay in sight

const options = { opacity: 0.6, labels: true, outlines: true, ...restoreOptions() };
const state = {
  image: null, // the message on the page, and for maps and masks their unpacked labels
  map: null,
  preview: null, // of a map that is not there yet: what is known of it
  other: null,
  masks: null,
  why: null,
  fixes: null, // the labels of the areas that the visitor corrected
  pointing: null, // the new mask that the visitor is pointing out
  pointed: 0, // the number of new masks so far
  cursor: null, // the place that arrow keys move, as fractions
  notice: null, // the displayed one as text
  tuned: null, // the name of the class whose least score is being set
  minScores: {}, // the least scores of single classes by name
  mode: "map",
  compare: "image", // or the key of a rival
  wantedRival: "", // of which the server knows
  divider: 0.5,
  hovered: null, // a class index, from the legend
  pinned: null,
  hoveredMask: 0,
  isPresenting: false,
  run: null, // the run whose progress is on the page
};

// ---- messages

const isFilled = (message) => Object.keys(message).length > 1; // the number alone clears a channel
const newest = {}; // the number of each channel's newest message

function receive() {
  for (const channel of Object.keys(receivers)) {
    const message = props[channel];
    if (!(message?.number > (newest[channel] ?? 0))) continue;
    if (message.view !== undefined && message.view !== live.view()) continue; // of a live view that has a successor
    newest[channel] = message.number;
    receivers[channel](JSON.parse(JSON.stringify(message))); // a copy: Gradio changes its own in place
  }
}

const receivers = {
  image(message) {
    state.image = message.file ? message : null;
    forgetMaps();
    announceImage(message.file?.url, message.example);
    const image = find("img.image");
    if (!state.image) {
      image.removeAttribute("src");
    } else {
      live.end(); // the server has ended it
      image.src = message.file.url;
      zoom.reset();
      find("[data-file=geojson]").hidden = !message.mayBeGeotiff;
      frame.style.setProperty("--width", message.width);
      frame.style.setProperty("--height", message.height);
      if (matchMedia("(max-width: 900px)").matches) document.getElementById("chips").scrollIntoView({ behavior: "smooth" });
    }
    update();
  },
  map: (message) => receiveLabels("map", message),
  preview: (message) => receiveLabels("preview", message),
  other: (message) => receiveLabels("other", message),
  masks: (message) => receiveLabels("masks", message),
  why: (message) => receiveLabels("why", message, message.mask),
  progress(message) {
    if (message.run < state.run) return; // its last word was late
    const work = find(".work");
    work.hidden = !isFilled(message);
    viewer.classList.toggle("busy", !work.hidden);
    if (work.hidden) return find(".actions").classList.remove("waiting"); // also if a file was cancelled or failed
    state.run = message.run;
    find(".work-label").textContent = message.label;
    const bar = find(".work-bar");
    bar.classList.toggle("endless", message.fraction < 0);
    bar.style.width = message.fraction < 0 ? "" : `${100 * message.fraction}%`;
  },
  notice(message) {
    const { number, ...notice } = message;
    const text = JSON.stringify(notice);
    const panel = find(".notice");
    panel.hidden = !isFilled(message);
    find(".warning").hidden = !notice.warning;
    find(".warning").textContent = notice.warning || "";
    if (panel.hidden) return;
    if (text === state.notice) return allowNotice(panel, notice); // a button must not be replaced under the pointer
    state.notice = text;
    fillNotice(panel, notice, {
      act: (kind, model) => trigger(kind === "use" ? "switch" : "obtain", { model }),
      refine: (points) => trigger("refine", { points }),
      mend: ({ granularity, name, minScore }) => (granularity === undefined ? tune(name, minScore) : setGranularity(granularity)),
    });
  },
  status(message) {
    const isProblem = Boolean(message.isProblem);
    find(".status").textContent = message.text || "";
    find(".status").classList.toggle("failed", isProblem);
    find(".empty-problem").textContent = isProblem ? message.text : ""; // the foot is hidden while there is no image
    find(".empty-problem").hidden = !isProblem;
  },
  names(message) {
    if (isFilled(message)) trigger("encode"); // many names are new: the server encodes them, with progress
  },
  open(message) {
    if (!isFilled(message)) return;
    if (message.example) document.dispatchEvent(new CustomEvent("ovseg-example", { detail: { title: message.example } }));
    setTimeout(() => trigger("open")); // when the page has the example's image, too
  },
  live(message) {
    if (message.frame && !message.hasMap && live.isOn()) showFrame(message);
    live.receive(message);
  },
  start: (message) => live.receiveStart(message),
  still: (message) => live.receiveStill(message),
  file(message) {
    find(".actions").classList.remove("waiting");
    make("a", "", "", { href: message.file.url, download: message.name }).click();
  },
};

/** Unpack and keep labels, unless something newer came in that time or they belong to another image. */
async function receiveLabels(channel, message, packed = message.labels) {
  const labels = packed ? await readLabels(packed) : null;
  const fixes = message.corrections?.areas ? await readLabels(message.corrections.areas) : null;
  if (message.number !== newest[channel]) return;
  if (isFilled(message) && message.image !== state.image?.number && !showFrame(message)) return;
  state[channel] = isFilled(message) ? { ...message, labels } : null;
  if (channel === "map") {
    state.fixes = fixes;
    receiveMap();
  }
  if (channel === "preview") receivePreview();
  update();
}

/** Tell the other parts of the page its image: an address from the server, and the title of an example. */
function announceImage(url = null, example = "") {
  document.dispatchEvent(new CustomEvent("ovseg-image", { detail: { url, example } }));
}

/** Put a frame of the camera on the page, as its answer comes; return whether the browser still has it. */
function showFrame({ image, frame: number, width, height }) {
  const address = live.frameOf(number);
  if (!address || image < state.image?.number) return false;
  state.image = { number: image, frame: number, width, height };
  forgetLabels();
  announceImage();
  find("img.image").src = address;
  find("[data-file=geojson]").hidden = true;
  frame.style.setProperty("--width", width);
  frame.style.setProperty("--height", height);
  update();
  return true;
}

function receiveMap() {
  const map = state.map;
  unfocus(map);
  if (!map) {
    state.why = state.pointing = null;
    closeLeast();
    return;
  }
  if (!tuning) state.minScores = map.minScores;
  if (!map.classes.some((entry) => entry.name === state.tuned)) closeLeast();
  for (const entry of map.classes) entry.hasOwn = Object.keys(map.minScores).some((name) => name.toLowerCase() === entry.name.toLowerCase());
  fillLegend(find(".legend"), map, actOnClass);
  offerRivals(map.rivals);
  showLink(map.link, map.number);
  if (state.why) pick(state.why.x, state.why.y); // another map has another explanation
}

function receivePreview() {
  if (!showsPreview()) return;
  unfocus(state.preview);
  fillLegend(find(".legend"), state.preview, actOnClass, true);
}

/** Leave the class that was pointed out, and the pinned one if a new map has it no longer. */
function unfocus(map) {
  if (map && state.pinned !== null && !map.classes.some((entry) => entry.index === state.pinned && entry.isFound)) state.pinned = null;
  state.hovered = null;
}

const showsPreview = () => Boolean(state.preview && !state.map);
const displayedMap = () => state.map ?? state.preview;

function forgetMaps() {
  find(".notice").hidden = find(".warning").hidden = true;
  closeLeast();
  forgetLabels();
}

function forgetLabels() {
  Object.assign(state, { map: null, preview: null, other: null, masks: null, why: null, fixes: null, pointing: null, cursor: null, hovered: null, pinned: null });
}

const live = makeLive(viewer, {
  send: (event, data) => trigger(event, data),
  showProblem: (sentence) => receivers.status({ text: sentence, isProblem: true }),
  changed: () => {
    if (live?.isOn()) choose("mode", "map");
    update();
  },
});

const zoom = makeZoom(frame, find(".zoom"), {
  isDragged: () => state.mode === "compare" || Boolean(state.pointing),
  changed: () => update(),
});

// ---- painting

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

/** Write names where the server says that their regions are; names of smaller regions make way. */
function placeNames(map) {
  const layer = find(".names");
  layer.replaceChildren();
  if (!map || !options.labels) return;
  const focus = state.hovered ?? state.pinned;
  const taken = [];
  for (const entry of map.classes.filter((one) => one.point && (focus === null || one.index === focus))) {
    const tag = make("span", "", entry.name);
    tag.style.cssText = `--color: ${entry.color}; --ink: ${entry.ink}`;
    layer.append(tag);
    const box = freeBox(entry.point, tag.offsetWidth, tag.offsetHeight, taken);
    if (!box) {
      tag.remove();
      continue;
    }
    taken.push(box);
    tag.style.left = `${box.left}px`;
    tag.style.top = `${box.top}px`;
  }
}

function freeBox([x, y], width, height, taken) {
  const left = Math.min(Math.max(0, x * frame.clientWidth - width / 2), Math.max(0, frame.clientWidth - width));
  for (const rows of [0, -1, 1, -2, 2]) {
    const top = Math.min(Math.max(0, y * frame.clientHeight - height / 2 + rows * height), Math.max(0, frame.clientHeight - height));
    const box = { left, top, right: left + width, bottom: top + height };
    if (!taken.some((one) => one.left < box.right && box.left < one.right && one.top < box.bottom && box.top < one.bottom)) return box;
  }
  return null;
}

function placeDivider(isComparing) {
  const divider = find(".divider"), at = 100 * state.divider;
  divider.hidden = !isComparing;
  divider.style.left = `${at}%`;
  divider.setAttribute("aria-valuenow", String(Math.round(at)));
  layers.map.style.clipPath = isComparing ? `inset(0 0 0 ${at}%)` : "";
  layers.other.style.clipPath = isComparing ? `inset(0 ${100 - at}% 0 0)` : "";
}

function showTags(isComparing, comparesOther) {
  const [left, right] = [find(".side-left"), find(".side-right")];
  left.hidden = right.hidden = !isComparing;
  if (!isComparing) return;
  const rival = comparesOther ? state.map?.rivals.find((one) => one.key === state.compare) : null;
  left.textContent = rival ? rival.title : "{{viewer.side_image}}";
  right.textContent = rival ? rival.own : "{{viewer.side_map}}";
}

function showPanels(showsMasks) {
  find(".side").hidden = !(displayedMap() || state.masks);
  const rival = state.mode === "compare" && state.other?.rival === state.compare ? state.map?.rivals.find((one) => one.key === state.compare) : null;
  find(".legend").hidden = showsMasks || !displayedMap() || Boolean(rival);
  if (find(".legend").hidden) closeLeast();
  find(".shares").hidden = !rival;
  if (rival) fillShares(find(".shares"), rival, state.other, state.map);
  find(".masks-card").hidden = !showsMasks;
  if (showsMasks) fillMasks(find(".masks-card"), state.masks, state.map);
  const why = find(".why");
  why.hidden = !((state.why || state.pointing) && state.mode === "map");
  if (!why.hidden) fillAnswer(why);
  fillCorrections(find(".corrections"), state.map?.corrections, correct);
  find(".actions").hidden = !state.map;
}

/** Fill the panel beside the map with the new mask, or with why a pixel is labelled; what is typed there stays. */
function fillAnswer(panel) {
  const about = state.pointing ?? state.why;
  if (panel.about === about) return;
  panel.about = about;
  if (state.pointing) fillPointing(panel, state.pointing, { send: correct, done: endPointing });
  else fillReasons(panel, state.why);
  keepInSight(panel, about);
}

function fillReasons(panel, why) {
  fillWhy(panel, why, closeWhy, (name) => correct({ kind: "name", x: why.x, y: why.y, name }));
  panel.append(...namingForm(why, state.map?.corrections.canPoint, { send: correct, point: (name) => beginPointing(why.x, why.y, name) }));
}

/** Where the panel lies over the map, as in a narrow window, scroll so far that the pixel is above it. */
function keepInSight(panel, { y }) {
  if (getComputedStyle(panel).position !== "fixed") return;
  const { top, height } = frame.getBoundingClientRect();
  const hidden = top + (height * y) / state.image.height + MARGIN - panel.getBoundingClientRect().top;
  if (hidden > 0) window.scrollBy({ top: hidden, behavior: "smooth" });
}

// ---- what the visitor does

function correct(change) {
  trigger("correct", change);
}

function beginPointing(x, y, name) {
  state.pointing = newPointing(++state.pointed, x, y, name || state.map.classes[0]?.name || "");
  sendPointing(state.pointing, correct);
  update();
}

function endPointing() {
  state.pointing = null;
  find(".why").about = null;
  closeWhy();
}

/** Add a point to the new mask, or ask about the pixel. */
function act(x, y, isOther = false) {
  const { pointing } = state;
  if (!pointing) return pick(x, y);
  const side = isOther ? (pointing.side === "inside" ? "outside" : "inside") : pointing.side;
  pointing[side].push([x, y]);
  sendPointing(pointing, correct);
  update();
}

function actOnClass(index, action) {
  if (action === "tune") return openLeast(state.map.classes.find((entry) => entry.index === index));
  if (action === "click" || action === "press") state.pinned = state.pinned === index ? null : index;
  if (action === "press") askAbout(state.pinned); // with keys no pixel can be pointed at
  state.hovered = action === "hover" ? index : null;
  update();
}

let tuning = null; // until the server knows the newest least score

/** Open the panel for the least score of a class. */
function openLeast(entry) {
  closeWhy();
  state.tuned = entry.name;
  find(".least").hidden = false;
  fillLeast(find(".least"), entry, state.map.minScore, { set: (score) => tune(entry.name, score), close: closeLeast });
}

function tune(name, score) {
  state.minScores = withScore(state.minScores, name, score);
  clearTimeout(tuning);
  tuning = setTimeout(() => {
    tuning = null;
    trigger("tune", { scores: state.minScores });
  }, 80);
}

/** Move the slider as a visitor would, so that the map follows. */
function setGranularity(granularity) {
  const slider = document.querySelector("#granularity input[type=range]");
  slider.value = granularity;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Close the panel; the focus goes back to the button that opened it. */
function closeLeast() {
  const panel = find(".least");
  if (panel.hidden) return;
  const wasInside = panel.contains(document.activeElement), name = state.tuned;
  panel.hidden = true;
  state.tuned = null;
  if (wasInside) findAll(".legend .tune").find((one) => one.dataset.name === name)?.focus();
}

/** Ask why a class is where its name stands; about none, cease to ask. */
function askAbout(index) {
  if (index === null || !state.map) return closeWhy();
  const { point } = state.map.classes.find((entry) => entry.index === index);
  if (point && state.mode === "map") pick(Math.floor(point[0] * state.image.width), Math.floor(point[1] * state.image.height));
}

function pick(x, y) {
  if (!live.isStill()) return; // the answer would be about a frame that is gone
  closeLeast();
  trigger("pick", { x, y });
}

function closeWhy() {
  state.why = null;
  update();
}

/** Where in the image a pointer is, as fractions; null outside. */
function placeOf(event) {
  const box = frame.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
  return x >= 0 && x < 1 && y >= 0 && y < 1 ? [x, y] : null;
}

frame.addEventListener("click", (event) => {
  const place = placeOf(event);
  if (!place || !state.map || state.mode !== "map" || drag?.isBox || zoom.wasDrag()) return;
  state.cursor = null;
  act(...pixelOf(place), event.shiftKey || event.altKey);
});

const pixelOf = ([x, y]) => [Math.floor(x * state.image.width), Math.floor(y * state.image.height)];

// A box around the new mask is drawn by dragging.
let drag = null;
frame.addEventListener("pointerdown", (event) => {
  const place = placeOf(event);
  drag = state.pointing && place && state.mode === "map" ? { from: pixelOf(place), x: event.clientX, y: event.clientY, isBox: false } : null;
  if (drag) frame.setPointerCapture(event.pointerId);
});
frame.addEventListener("pointermove", (event) => {
  const place = placeOf(event);
  if (!drag || event.buttons !== 1 || !place || !state.pointing) return;
  drag.isBox ||= Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 6;
  if (!drag.isBox) return;
  state.pointing.box = [...drag.from, ...pixelOf(place)];
  update();
});
frame.addEventListener("pointerup", () => {
  if (drag?.isBox && state.pointing) {
    Object.assign(state.pointing, { inside: [], outside: [] });
    sendPointing(state.pointing, correct);
    update();
  }
});

// With keys: arrows move a cursor over the image, Enter does what a click does.
frame.addEventListener("keydown", (event) => {
  if (event.target !== frame || !state.map || state.mode !== "map") return;
  const step = event.shiftKey ? 0.1 : 0.02;
  const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (move) {
    const [x, y] = state.cursor ?? [0.5, 0.5];
    state.cursor = [Math.min(0.999, Math.max(0, x + move[0])), Math.min(0.999, Math.max(0, y + move[1]))];
  } else if (event.key === "Enter" && state.cursor) {
    act(...pixelOf(state.cursor), event.shiftKey);
  } else return;
  event.preventDefault();
  update();
});

frame.addEventListener("pointermove", (event) => {
  const place = placeOf(event);
  if (state.mode === "compare" && event.buttons === 1) moveDivider(place ? place[0] : state.divider);
  showTip(event, place);
});
frame.addEventListener("pointerdown", (event) => {
  const place = placeOf(event);
  if (state.mode !== "compare" || !place) return;
  frame.setPointerCapture(event.pointerId);
  moveDivider(place[0]);
});
frame.addEventListener("pointerleave", () => showTip(null, null));
find(".divider").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  moveDivider(state.divider + step);
});

function moveDivider(at) {
  state.divider = Math.min(1, Math.max(0, at));
  placeDivider(Boolean(displayedMap()));
}

/** Name what is under the pointer, and point it out in the legend. */
function showTip(event, place) {
  const tip = find(".tip");
  const map = state.mode === "compare" && state.other?.rival === state.compare && place && place[0] < state.divider ? state.other : displayedMap();
  const isOnImage = state.mode === "compare" && state.compare === "image" && place && place[0] < state.divider;
  const label = place && map && !isOnImage && state.mode !== "masks" ? labelAt(map.labels, ...place) : 0;
  for (const row of findAll(".legend .entry.pointed")) row.classList.remove("pointed");
  hoverMask(place && state.masks && (state.mode === "masks" || !displayedMap()) ? labelAt(state.masks.labels, ...place) : 0);
  tip.hidden = !label;
  if (!label) return;
  const entry = map.classes.find((one) => one.index === label - 1);
  tip.replaceChildren(make("i", "swatch"), make("b", "", entry.name), make("span", "", `${percent(entry.share)} · ${entry.score.toFixed(2)}`));
  tip.style.setProperty("--color", entry.color);
  const box = find(".stage").getBoundingClientRect();
  const left = Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 4);
  const top = event.clientY - box.top + 18 + tip.offsetHeight > box.height ? event.clientY - box.top - tip.offsetHeight - 10 : event.clientY - box.top + 18;
  tip.style.transform = `translate(${Math.max(4, left)}px, ${top}px)`;
  const row = find(`.legend .entry[data-index="${entry.index}"]`);
  if (row) row.classList.add("pointed");
}

function hoverMask(label) {
  if (state.hoveredMask === label) return;
  state.hoveredMask = label;
  update();
}

function choose(attribute, value) {
  for (const button of tabsOf(attribute)) {
    const isChosen = button.dataset[attribute] === value;
    button.setAttribute("aria-selected", String(isChosen));
    button.tabIndex = isChosen ? 0 : -1;
  }
  state[attribute] = value;
  sendComparison();
  update();
}

/** A tab for each rival of the map; those that cannot answer say why. */
function offerRivals(rivals) {
  const list = find("[data-for=compare]");
  for (const tab of tabsOf("compare")) {
    if (!["image", "clips"].includes(tab.dataset.compare) && !rivals.some((one) => one.key === tab.dataset.compare)) tab.remove();
  }
  for (const rival of rivals) {
    let tab = tabsOf("compare").find((one) => one.dataset.compare === rival.key);
    if (!tab) {
      tab = make("button", "", [make("span"), make("small")], { type: "button", role: "tab", "data-compare": rival.key, "aria-selected": "false", tabindex: "-1" });
      listenToTab("compare", tab);
      list.append(tab);
    }
    const [pair, cost] = [tab.querySelector("span"), tab.querySelector("small")];
    if (rival.key !== "clips") pair.textContent = `${rival.title} | ${rival.own}`;
    cost.textContent = rival.cost; // of what must still be computed
    tab.disabled = Boolean(rival.obstacle);
    tab.title = rival.obstacle || (rival.key === "clips" ? "{{viewer.compare_clips_help}}" : "{{viewer.compare_other_help}}");
  }
  const chosen = tabsOf("compare").find((one) => one.dataset.compare === state.compare);
  if (!chosen || chosen.disabled) choose("compare", "image");
}

/** A rival's map is made when somebody wants to see it, and kept up to date while they do. */
function sendComparison() {
  const rival = state.mode === "compare" && state.compare !== "image" ? state.compare : "";
  if (rival === state.wantedRival) return;
  state.wantedRival = rival;
  trigger("compare", { rival });
}

const tabsOf = (attribute) => findAll(`.viewer-bar [data-${attribute}][role=tab]`);

/** The tab that a key leads to from another one, past those that cannot be chosen; none for other keys. */
function nextTab(tabs, tab, key) {
  const open = tabs.filter((one) => !one.disabled), at = open.indexOf(tab);
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: open.length - 1 }[key];
  return to === undefined ? null : open[(to + open.length) % open.length];
}

function listenToTab(attribute, tab) {
  tab.addEventListener("click", () => choose(attribute, tab.dataset[attribute]));
  tab.addEventListener("keydown", (event) => {
    const next = nextTab(tabsOf(attribute), tab, event.key);
    if (!next) return;
    event.preventDefault();
    choose(attribute, next.dataset[attribute]);
    next.focus();
  });
}

for (const attribute of ["mode", "compare"]) {
  for (const tab of tabsOf(attribute)) listenToTab(attribute, tab);
}

for (const input of findAll("[data-option]")) {
  const name = input.dataset.option, isCheck = input.type === "checkbox";
  if (isCheck) input.checked = options[name];
  else input.value = options[name];
  input.addEventListener("input", () => {
    options[name] = isCheck ? input.checked : Number(input.value);
    saveOptions();
    update();
  });
}

find(".cancel").addEventListener("click", () => {
  find(".work-label").textContent = "{{viewer.stopping}}";
  trigger("cancel", { run: state.run });
});

for (const button of findAll("[data-file]")) {
  button.addEventListener("click", () => {
    find(".actions").classList.add("waiting");
    find(".more").open = false;
    trigger("save", { kind: button.dataset.file, ...options });
  });
}

document.addEventListener("pointerdown", (event) => {
  if (!find(".more").contains(event.target)) find(".more").open = false;
});

find(".more").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  find(".more").open = false;
  find(".more summary").focus();
});

find(".copy-image").addEventListener("click", async (event) => {
  const button = event.currentTarget, image = find("img.image");
  const canvas = make("canvas", "", [], { width: image.naturalWidth, height: image.naturalHeight });
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(layers.map, 0, 0, canvas.width, canvas.height);
  try {
    const content = new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    await navigator.clipboard.write([new ClipboardItem({ "image/png": content })]);
    button.textContent = "{{files.image_copied}}";
  } catch {
    button.textContent = "{{files.no_clipboard}}"; // it exists only where the page is served securely
  }
  setTimeout(() => (button.textContent = "{{files.copy_image}}"), 2500);
});

/** Copy the address of the map; return what was copied. */
async function copyLink() {
  if (state.map) setAddress(state.map.link);
  let done = "{{files.link_copied}}";
  try {
    await navigator.clipboard.writeText(location.href);
  } catch {
    done = "{{files.link_in_address_bar}}"; // where the page is not served securely, there is no clipboard
  }
  const example = linked("example");
  return `${done} ${example ? fill("{{files.link_with_example}}", { example }) : "{{files.link_without_image}}"}`;
}

let copied = null;
find(".copy-link").addEventListener("click", async () => {
  const note = find(".copied");
  note.textContent = state.map && !state.map.link ? "{{files.link_too_long}}" : await copyLink();
  note.hidden = false;
  clearTimeout(copied);
  copied = setTimeout(() => (note.hidden = true), 6000);
});

document.addEventListener("keydown", (event) => {
  const change = historyKey(event);
  if (change && state.map?.corrections[change === "undo" ? "canUndo" : "canRedo"]) {
    event.preventDefault();
    correct({ kind: change });
  }
  if (event.key !== "Escape") return;
  state.pinned = state.cursor = null;
  closeLeast();
  endPointing();
});

// ---- live edits: whatever carries the class "live" updates the map as it changes

let edit = null;
document.addEventListener("input", (event) => {
  if (!event.target.closest(".live")) return;
  clearTimeout(edit);
  edit = setTimeout(() => trigger("edit"), 80);
});

// ---- presenting: lines, names and colours that carry to the last row

let viewBefore = null;
document.addEventListener("ovseg-present", (event) => {
  const { isOn } = event.detail;
  if (isOn) viewBefore ??= { ...options };
  Object.assign(options, isOn ? { labels: true, outlines: true, opacity: Math.max(0.7, options.opacity) } : viewBefore);
  if (!isOn) viewBefore = null;
  state.isPresenting = isOn;
  choose("mode", "map");
  zoom.reset();
});

// ---- the address bar, and what this browser remembers

const linked = (name) => new URLSearchParams(location.search).get(name);

if ((linked("prompt") || linked("words")) && !linked("example")) {
  find(".empty-title").textContent = "{{viewer.empty_linked_title}}";
}

let link = null;
let newestLink = 0; // the number of the message that the address is from

/** Let the address restore names and settings, as they are typed; browsers forbid doing so at typing speed. */
function showLink(query, number) {
  if (typeof query !== "string" || number < newestLink) return;
  newestLink = number;
  clearTimeout(link);
  link = setTimeout(() => setAddress(query), 400);
}

function setAddress(query) {
  clearTimeout(link);
  const kept = linked("present") === "1" && `${query ? "&" : "?"}present=1`;
  history.replaceState(history.state, "", location.pathname + query + (kept || "") + location.hash);
}

document.addEventListener("ovseg-link", (event) => showLink(event.detail.link, event.detail.number));

function restoreOptions() {
  try {
    return JSON.parse(localStorage.getItem("ovseg-view")) || {};
  } catch {
    return {};
  }
}

function saveOptions() {
  try {
    localStorage.setItem("ovseg-view", JSON.stringify(options));
  } catch {
    // Private windows may forbid it; then nothing is remembered.
  }
}

new ResizeObserver(update).observe(frame);
watch(Object.keys(props), receive);
receive();
paint();
