// The camera, live: the newest frame goes to the server when the answer to the one before is here, never earlier.

const FRAME_SIDE = 640; // pixels of a frame's longer side
const FRAME_PERIOD = 125; // milliseconds between two frames, however quick the server is
const RATED_FRAMES = 6;
const FIRST_PATIENCE = 180000, PATIENCE = 30000; // milliseconds until an answer; the first may load the model

/** The live view. `send(event, data)` passes events to the server, `showProblem(sentence)` displays what went wrong.
 *  Returns `receiveStart(message)`, `receive(message)`, `receiveStill(message)`, `end`, `view()`, `isOn()`, `isStill()`:
 *  whether the last frame is an image like any other, and `frameOf(number)`: the pixels of a frame, as an address.
 *
 *  The browser numbers the views, and each event names its view: the events of Start, of a frame and of Stop may reach
 *  the server in any order, and its answers may come in any order, too. */
function makeLive(viewer, { send, showProblem, changed }) {
  const tag = viewer.querySelector(".live-view"), video = viewer.querySelector(".self"), rate = viewer.querySelector(".live-rate");
  const canvas = document.createElement("canvas");
  const frames = new Map(); // the one that is answered, and the one that is on its way
  let view = 0; // the newest one
  let isOn = false, isAsked = false, isEnding = false, stream = null, patience = null;
  let frame = 0, sentAt = 0, answers = [], problem = "";

  async function start() {
    const mine = ++view;
    isOn = true;
    [isAsked, isEnding, answers, problem] = [false, false, [], ""];
    rate.textContent = "{{live.starting}}";
    show();
    if (matchMedia("(max-width: 900px)").matches) document.getElementById("chips").scrollIntoView({ behavior: "smooth" });
    const isCurrent = () => isOn && view === mine;
    const wanted = { width: { ideal: FRAME_SIDE }, height: { ideal: (3 * FRAME_SIDE) / 4 }, facingMode: "environment" };
    try {
      if (!navigator.mediaDevices) return fail("{{live.insecure}}");
      const opened = await navigator.mediaDevices.getUserMedia({ video: wanted });
      if (!isCurrent()) return close(opened);
      stream = opened;
      stream.getVideoTracks()[0].addEventListener("ended", () => isCurrent() && stop());
      video.srcObject = stream;
      await video.play();
    } catch (error) {
      if (isCurrent()) fail(error.name === "NotAllowedError" ? "{{live.denied}}" : "{{live.no_camera}}");
      return;
    }
    if (!isCurrent()) return;
    isAsked = true;
    expect(FIRST_PATIENCE);
    send("start", { view });
  }

  function close(opened) {
    for (const track of opened?.getTracks() ?? []) track.stop();
  }

  /** Turn the camera off; what the server has answered stays on the page. */
  function turnOff() {
    isOn = false;
    clearTimeout(patience);
    close(stream);
    video.srcObject = stream = null;
  }

  /** End the view in the browser; the server has ended it. */
  function end() {
    isEnding = false;
    turnOff();
    show();
  }

  /** End the view here and on the server, whose last frame becomes an image like any other. */
  function stop() {
    if (!isOn) return;
    turnOff();
    isEnding = isAsked;
    show();
    if (!isAsked) return;
    patience = setTimeout(() => {
      end();
      showProblem("{{live.no_answer}}");
    }, PATIENCE);
    send("still", { view });
  }

  function fail(sentence) {
    problem = isAsked ? sentence : "";
    stop();
    showProblem(sentence);
  }

  function expect(milliseconds) {
    clearTimeout(patience);
    patience = setTimeout(() => fail("{{live.no_answer}}"), milliseconds);
  }

  function show() {
    viewer.dataset.live = isOn ? "on" : isEnding ? "ending" : "";
    tag.hidden = video.hidden = !isOn;
    document.querySelector("#camera .go-live").textContent = isOn ? "{{live.stop}}" : "{{live.start}}";
    changed();
  }

  function sendFrame(of) {
    if (!isOn || of !== view) return;
    if (document.hidden) {
      clearTimeout(patience);
      document.addEventListener("visibilitychange", () => sendFrame(of), { once: true }); // nobody sees the map now
      return;
    }
    const scale = Math.min(1, FRAME_SIDE / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(scale * video.videoWidth);
    canvas.height = Math.round(scale * video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    const address = canvas.toDataURL("image/jpeg", 0.85);
    frames.set(++frame, address);
    frames.delete(frame - 2);
    sentAt = performance.now();
    expect(answers.length ? PATIENCE : FIRST_PATIENCE);
    send("frame", { view, frame, image: address.split(",")[1] });
  }

  function receive(message) {
    if (Object.keys(message).length === 1) return end(); // there is nothing on the page any more
    if (!isOn) return; // the answer to Stop ends the view
    if (message.event === "drops") rate.textContent = "{{live.waiting}}";
    if (message.event === "answers") showRate();
    setTimeout(() => sendFrame(message.view), Math.max(0, sentAt + FRAME_PERIOD - performance.now()));
  }

  // The answers to Start and to Stop have channels of their own, where no answer to a frame replaces them.

  function receiveStart(message) {
    if (Object.keys(message).length > 1) setTimeout(() => sendFrame(message.view));
  }

  function receiveStill(message) {
    if (Object.keys(message).length === 1) return;
    end();
    if (problem) showProblem(problem); // again, as the answer has a status of its own
    problem = "";
  }

  function showRate() {
    answers = [...answers, performance.now()].slice(-RATED_FRAMES);
    if (answers.length < 2) return;
    const perSecond = (1000 * (answers.length - 1)) / (answers.at(-1) - answers[0]);
    rate.textContent = fill("{{live.rate}}", { rate: perSecond.toFixed(1) });
  }

  viewer.querySelector(".live-stop").addEventListener("click", stop);
  document.addEventListener("click", (event) => {
    if (event.detail > 1 || !event.target.closest?.("#camera .go-live")) return; // a double click is one click
    isOn ? stop() : start();
  });
  return { receiveStart, receive, receiveStill, end, view: () => view, isOn: () => isOn, isStill: () => !isOn && !isEnding, frameOf: (number) => frames.get(number) };
}
