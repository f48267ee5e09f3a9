// The address bar, which restores names and settings, and the link to copy.

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
