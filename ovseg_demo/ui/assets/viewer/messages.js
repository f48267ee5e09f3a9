// Messages of the server: the newest of each channel is kept and displayed.

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
    const work = find(".work");
    work.hidden = !isFilled(message);
    viewer.classList.toggle("busy", !work.hidden);
    if (work.hidden) return endFileWait(); // also if a file was cancelled or failed
    if (find(".actions").classList.contains("waiting")) awaitFile();
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
    if (isProblem) endFileWait(); // no progress comes of what was refused
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
    endFileWait();
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
  sendComparison(); // with another image the server has forgotten it
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

function forgetMaps() {
  find(".notice").hidden = find(".warning").hidden = true;
  closeLeast();
  forgetLabels();
}

function forgetLabels() {
  Object.assign(state, { map: null, preview: null, other: null, masks: null, why: null, fixes: null, pointing: null, cursor: null, hovered: null, pinned: null, wantedRival: "" });
}
