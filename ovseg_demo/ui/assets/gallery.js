// Examples: an image and its class names each; one click analyzes it.

const strip = element.querySelector(".gallery"), further = element.querySelector(".further");

/** Show that there are more examples than fit. */
function hint() {
  const isMore = strip.scrollLeft + strip.clientWidth < strip.scrollWidth - 4;
  strip.classList.toggle("more", isMore);
  further.hidden = !isMore;
}

strip.addEventListener("scroll", hint);
further.addEventListener("click", () => strip.scrollBy({ left: 0.8 * strip.clientWidth, behavior: "smooth" }));
new ResizeObserver(hint).observe(strip);

function card(example, index) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "card";
  button.title = `${example.title}: ${example.prompt}${example.credit ? ` (${example.credit})` : ""}`;
  const image = document.createElement("img");
  image.src = example.thumbnail;
  image.alt = "";
  const title = document.createElement("b");
  title.textContent = example.title;
  const prompt = document.createElement("span");
  prompt.textContent = example.prompt;
  button.append(image, title, prompt);
  button.addEventListener("click", () => {
    mark(example.title);
    trigger("choose", { index });
  });
  return button;
}

function fill() {
  strip.replaceChildren(...(props.value || []).map(card));
  hint();
}

/** Mark the example that is on the page; none where the image is another one. */
function mark(title) {
  for (const one of strip.querySelectorAll(".card")) one.classList.toggle("chosen", one.querySelector("b").textContent === title);
}

document.addEventListener("ovseg-example", (event) => mark(event.detail.title));
document.addEventListener("ovseg-image", (event) => mark(event.detail.example));
watch(["value"], fill);
fill();
