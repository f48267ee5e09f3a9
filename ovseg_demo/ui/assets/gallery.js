// Examples: an image and its words each; one click runs them.

const strip = element.querySelector(".gallery");

function card(example, index) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "card";
  button.title = `${example.title}: ${example.words}${example.credit ? ` (${example.credit})` : ""}`;
  const image = document.createElement("img");
  image.src = example.thumbnail;
  image.alt = "";
  const title = document.createElement("b");
  title.textContent = example.title;
  const words = document.createElement("span");
  words.textContent = example.words;
  button.append(image, title, words);
  button.addEventListener("click", () => {
    for (const other of strip.querySelectorAll(".card")) other.classList.toggle("chosen", other === button);
    trigger("choose", { index });
  });
  return button;
}

function fill() {
  strip.replaceChildren(...(props.value || []).map(card));
}

watch(["value"], fill);
fill();
