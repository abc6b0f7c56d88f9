// The grid: only the lines in sight are in the document, so 100,000 images cost what a screenful does.
const GAP = 12, HEAD_PX = 46, AHEAD_PX = 900;
const grid = $("grid");
let lines = []; // {top, height, head} or {top, height, tiles: [image, …]}
let shown = new Map(); // line number -> its element
let order = []; // the images that fit the filters, as they are seen
let places = new Map(); // image id -> line number
let current = null;
let chosen = [];
let tileWidth = 240, tileHeight = 290;

function layOut() {
  const width = Math.max(grid.clientWidth, 200);
  const columns = Math.max(width < 420 ? 2 : 1, Math.floor((width + GAP) / (252 + GAP)));
  tileWidth = Math.floor((width - GAP * (columns - 1)) / columns);
  tileHeight = Math.round(Math.min(tileWidth, 320) + 50);
  lines = [];
  places = new Map();
  order = [];
  let top = 0;
  for (const [name, members] of grouped(fitting())) {
    if (name !== null) {
      lines.push({ top, height: HEAD_PX, head: name, count: members.length });
      top += HEAD_PX;
    }
    for (let start = 0; start < members.length; start += columns) {
      const tiles = members.slice(start, start + columns);
      for (const image of tiles) places.set(image.id, lines.length);
      lines.push({ top, height: tileHeight, tiles });
      order.push(...tiles);
      top += tileHeight + GAP;
    }
  }
  grid.style.height = `${top}px`;
  grid.setAttribute("aria-rowcount", lines.length);
  $("empty").hidden = order.length > 0;
  grid.hidden = order.length === 0;
  for (const element of shown.values()) element.remove();
  shown = new Map();
  if (!places.has(current?.id)) current = order[0] || null;
  draw();
}

function lineAt(y) {
  let low = 0, high = lines.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lines[middle].top + lines[middle].height < y) low = middle + 1;
    else high = middle;
  }
  return low;
}

function draw() {
  const above = grid.getBoundingClientRect().top;
  const first = lineAt(-above - AHEAD_PX), end = -above + window.innerHeight + AHEAD_PX;
  const wanted = new Set();
  for (let number = first; number < lines.length && lines[number].top < end; number += 1) wanted.add(number);
  for (const [number, element] of shown) {
    if (!wanted.has(number)) {
      element.remove();
      shown.delete(number);
    }
  }
  for (const number of [...wanted].sort((a, b) => a - b)) {
    if (shown.has(number)) continue;
    const element = lineElement(number);
    const next = [...shown.keys()].filter((other) => other > number).sort((a, b) => a - b)[0];
    grid.insertBefore(element, next === undefined ? null : shown.get(next));
    shown.set(number, element);
  }
  point();
}

function lineElement(number) {
  const line = lines[number];
  const element = make("div", line.tiles ? "line" : "line head", { role: "row", "aria-rowindex": number + 1 });
  element.style.top = `${line.top}px`;
  element.style.height = `${line.height}px`;
  if (line.tiles) element.append(...line.tiles.map(tile));
  else {
    const title = make("span", "", { role: "rowheader" }, line.head);
    title.append(make("small", "", {}, `${line.count}`));
    element.append(title);
  }
  return element;
}

function tile(image) {
  const element = make("div", "tile", { role: "gridcell", id: `tile-${image.id}` });
  element.style.width = `${tileWidth}px`;
  const mat = make("div", "mat");
  if (image.key) {
    const picture = make("img", "", { alt: nameOf(image), loading: "lazy", decoding: "async", draggable: "false" });
    picture.addEventListener("error", () => { if (image.source !== image.original) picture.src = image.original; }, { once: true });
    picture.src = image.source;
    mat.append(picture);
  } else mat.append(make("p", "why", { dir: "auto" }, `${image.status}: ${image.reason || ""}`));
  const name = make("div", "name");
  name.append(make("span", "label", { dir: "auto" }, image.of.label || image.of.row), make("span", "number", {}, `· ${image.variant}${image.take > 1 ? ` · take ${image.take}` : ""}`));
  element.append(mat, name, make("div", "state"));
  element.addEventListener("click", (event) => {
    select(image);
    if (event.pointerType === "touch") openLarge(image);
  });
  element.addEventListener("dblclick", () => openLarge(image));
  dress(element, image);
  return element;
}

function dress(element, image) {
  const said = decisionOf(image);
  element.className = `tile ${said.decision}${image.latest ? "" : " former"}${chosen.includes(image) ? " chosen" : ""}`;
  const state = element.querySelector(".state");
  state.textContent = "";
  if (said.decision !== "cleared") state.append(make("span", "word", {}, said.decision), " ");
  if (said.stars) state.append(make("span", "stars", { "aria-hidden": "true" }, "★".repeat(said.stars)), make("span", "hidden", {}, `${said.stars} stars`), " ");
  if (!image.latest) state.append("earlier take ");
  state.append(said.change || said.note);
}

function point() {
  for (const element of grid.querySelectorAll(".current")) element.classList.remove("current");
  const element = current && $(`tile-${current.id}`);
  if (element) {
    element.classList.add("current");
    grid.setAttribute("aria-activedescendant", element.id);
  } else grid.removeAttribute("aria-activedescendant");
}

function select(image) {
  current = image;
  point();
}

function show(image) {
  current = image;
  const line = lines[places.get(image.id)];
  if (!line) return;
  const top = grid.getBoundingClientRect().top + line.top, bottom = top + line.height;
  const covered = $("counts").getBoundingClientRect().height + 8;
  if (top < covered) window.scrollBy(0, top - covered - (places.get(image.id) <= 1 ? HEAD_PX : 0));
  else if (bottom > window.innerHeight - 8) window.scrollBy(0, bottom - window.innerHeight + 8);
  draw();
}

function move(key) {
  if (!order.length) return;
  const at = order.indexOf(current);
  const number = places.get(current.id), column = lines[number].tiles.indexOf(current);
  let next = at;
  if (key === "ArrowLeft") next = at - 1;
  else if (key === "ArrowRight") next = at + 1;
  else if (key === "Home") next = 0;
  else if (key === "End") next = order.length - 1;
  else {
    const step = key === "ArrowUp" ? -1 : 1;
    let other = number + step;
    while (lines[other] && !lines[other].tiles) other += step;
    if (lines[other]) next = order.indexOf(lines[other].tiles[Math.min(column, lines[other].tiles.length - 1)]);
  }
  show(order[Math.min(Math.max(next, 0), order.length - 1)]);
}

function changed(image) {
  for (const each of image ? [image] : images) {
    const element = $(`tile-${each.id}`);
    if (element) dress(element, each);
  }
  point();
  drawCounts();
  drawViewer();
}

function make(tag, className = "", attributes = {}, text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}

let drawing = false;
function soon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; draw(); });
}
window.addEventListener("scroll", soon, { passive: true });
window.addEventListener("resize", () => { layOut(); if (current) show(current); });
