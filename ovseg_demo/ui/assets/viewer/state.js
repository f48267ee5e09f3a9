// What the viewer is made of: its elements, what it displays, the visitor's options, and the parts that have a
// state of their own. Gradio gives `element`, `props` (the channels), `watch` and `trigger`.

const viewer = element.querySelector(".viewer");
const find = (selector) => viewer.querySelector(selector);
const findAll = (selector) => [...viewer.querySelectorAll(selector)];
const frame = find(".frame");
const layers = { map: find("canvas.map"), other: find("canvas.other"), fixes: find("canvas.fixes"), marks: find("canvas.marks") };

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

const showsPreview = () => Boolean(state.preview && !state.map);
const displayedMap = () => state.map ?? state.preview;

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
