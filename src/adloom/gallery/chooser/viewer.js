// The large view: one image, its takes, or up to four side by side. Deciding works as in the grid.
const MOST_BESIDE = 4;
const viewer = $("viewer");
let beside = [];

function openViewer(list) {
  const found = list.filter((image) => image.key);
  if (!found.length) return say("There is no image to show.");
  beside = found.slice(0, MOST_BESIDE);
  if (!beside.includes(current)) current = beside[0];
  drawStage();
  drawViewer();
  if (!viewer.open) {
    viewer.showModal();
    $("stage").focus(); // and on no button, which the space bar would press
  }
  return undefined;
}

// An image that replaces another is seen beside it.
const openLarge = (image) => openViewer(image.take > 1 ? takesOf(image).slice(-2) : [image]);

function drawStage() {
  const stage = $("stage");
  stage.textContent = "";
  for (const image of beside) {
    const figure = make("figure", image === current ? "at" : "");
    const frame = make("div", "frame", { "data-id": image.id });
    const picture = make("img", "", { alt: `${nameOf(image)}: ${image.of.prompt.slice(0, 120)}` });
    frame.append(picture);
    holdFocus(frame, image);
    picture.src = image.original;
    figure.append(frame, make("figcaption", "", { "data-id": image.id }));
    figure.addEventListener("click", () => {
      if (current === image) return;
      current = image;
      drawStage();
      drawViewer();
    });
    stage.append(figure);
  }
}

function drawViewer() {
  if (!beside.length) return;
  for (const caption of $("stage").querySelectorAll("figcaption")) {
    const image = byId.get(caption.dataset.id);
    caption.textContent = "";
    caption.className = decisionOf(image).decision;
    caption.append(make("span", "", {}, `${image.of.label || image.of.row} · ${image.variant}${image.take > 1 || takesOf(image).length > 1 ? ` · take ${image.take}` : ""} · `), make("span", "word", {}, told(decisionOf(image))));
  }
  drawAllFocus();
  if (document.activeElement?.tagName === "TEXTAREA" && viewer.open) return;
  drawSide();
}

function drawSide() {
  const image = current, said = decisionOf(image), side = $("side");
  const at = side.querySelector("button:focus-visible")?.textContent;
  side.textContent = "";
  const buttons = make("div", "buttons", { role: "group", "aria-label": "Decide" });
  for (const [verdict, words] of [["approved", "Approve"], ["rejected", "Reject"], ["cleared", "Clear"]]) {
    buttons.append(button(words, said.decision === verdict, () => decide(image, { decision: verdict })));
  }
  const stars = make("div", "buttons", { role: "group", "aria-label": "Stars" });
  for (let count = 0; count <= 5; count += 1) stars.append(button(`${count} ★`, said.stars === count, () => decide(image, { stars: count })));
  const facts = make("dl");
  const tell = (name, value) => { if (value) facts.append(make("dt", "", {}, name), make("dd", "", { dir: "auto" }, `${value}`)); };
  tell("size", `${image.width} × ${image.height}`);
  tell("model", image.of.model);
  for (const [name, value] of image.of.vars) tell(name, value);
  tell("changed", image.change);
  tell("decided by", said.by);
  tell("flags", image.reason);
  tell("next take", dollars(image.price));
  const prompt = make("p", "prompt", { dir: "auto" }, image.of.prompt);
  const ways = make("div", "buttons", { role: "group", "aria-label": "Images" });
  ways.append(plain("Previous", () => step(-1)), plain("Next", () => step(1)), plain("Close", () => viewer.close()));
  side.append(ways, make("h2", "", {}, nameOf(image)), buttons, stars, ...focusControls(image), text("note", "Note, for people", image, said), text("change", "Change, for the next take's prompt", image, said), prompt, facts);
  if (at) [...side.querySelectorAll("button")].find((each) => each.textContent === at)?.focus({ preventScroll: true });
}

function button(words, pressed, act) {
  const element = make("button", "", { type: "button", "aria-pressed": pressed }, words);
  element.addEventListener("click", act);
  return element;
}

function text(name, label, image, said) {
  const holder = make("label", "", {}, label);
  const area = make("textarea", "", { name, maxlength: "2000", dir: "auto" });
  area.value = said[name];
  area.addEventListener("change", () => decide(image, { [name]: area.value.trim() }));
  holder.append(area);
  return holder;
}

function step(by) {
  const at = beside.indexOf(current);
  if (beside.length > 1 && beside[at + by]) current = beside[at + by];
  else if (beside.length === 1 || (beside.length > 1 && takesOf(current).length > 1 && beside.every((each) => takesOf(current).includes(each)))) {
    const found = order.filter((image) => image.key);
    const place = found.indexOf(beside.length === 1 ? current : beside[beside.length - 1]);
    const next = found[place + by];
    if (!next) return;
    current = next;
    openLarge(next);
    return;
  } else return;
  drawStage();
  drawSide();
}

viewer.addEventListener("close", () => {
  if (viewer.open) return; // the event comes later than the closing, perhaps after the next image was opened
  beside = [];
  if (current && places.has(current.id)) show(current);
  grid.focus({ preventScroll: true });
});
