// The point that every crop keeps: drawn on the large view with what its channels cut around it, moved by hand or keys.
const FOCUS_STEP = 0.01, DEFAULT_FOCUS = [0.5, 0.45];
let focusing = false;
let focusChannel = "";

const channelsOf = (image) => image.of.channels.filter((name) => data.channels[name]);
const fraction = (value) => Math.round(Math.min(Math.max(value, 0), 1) * 1000) / 1000;

// Where the point is, and who put it there.
function focusOf(image) {
  const points = (text) => text.split(" ").map(Number);
  const said = decisionOf(image).focus, row = image.of.focus;
  if (said) return { at: points(said), from: "moved by hand" };
  if (row && row !== "auto") return { at: points(row), from: "as the campaign says" };
  if (row === "auto" && data.proposed[image.key]) return { at: points(data.proposed[image.key]), from: "proposed by adloom: look whether it is right" };
  return { at: DEFAULT_FOCUS, from: row === "auto" ? "adloom proposes a point when it delivers" : "the default" };
}

// Half a pixel goes to the even neighbour, as in Python.
const rounded = (value) => (value % 1 === 0.5 || value % 1 === -0.5 ? 2 * Math.round(value / 2) : Math.round(value));

// As core.crop cuts it: left, top, width and height, in pixels.
function cropOf([width, height], [wide, high], [x, y]) {
  const part = width * high >= height * wide ? [Math.max(1, Math.floor((height * wide) / high)), height] : [width, Math.max(1, Math.floor((width * high) / wide))];
  const start = (at, length, whole) => Math.min(Math.max(rounded(at * whole - length / 2), 0), whole - length);
  return [start(x, part[0], width), start(y, part[1], height), ...part];
}

function drawFocus(frame, image, at = focusOf(image).at) {
  frame.querySelector(".crops")?.remove();
  if (!focusing || !channelsOf(image).length) return;
  const picture = frame.querySelector("img");
  const pixels = picture.naturalWidth ? [picture.naturalWidth, picture.naturalHeight] : [image.width, image.height];
  const holder = make("div", "crops", { "aria-hidden": "true" });
  const own = picture.getBoundingClientRect(), around = frame.getBoundingClientRect();
  place(holder, [own.left - around.left, own.top - around.top, own.width, own.height], "px");
  for (const name of channelsOf(image)) {
    if (focusChannel && focusChannel !== name) continue;
    const [wide, high, top, right, bottom, left] = data.channels[name];
    const [x, y, width, height] = cropOf(pixels, [wide, high], at);
    const box = make("div", focusChannel ? "crop only" : "crop", { "data-channel": name, "data-crop": [x, y, width, height].join(" ") }, name);
    place(box, [x / pixels[0], y / pixels[1], width / pixels[0], height / pixels[1]].map((share) => share * 100), "%");
    if (focusChannel && top + right + bottom + left) {
      const safe = make("div", "safe");
      place(safe, [left, top, 1 - left - right, 1 - top - bottom].map((share) => share * 100), "%");
      box.append(safe);
    }
    holder.append(box);
  }
  const point = make("div", "point");
  [point.style.left, point.style.top] = [`${at[0] * 100}%`, `${at[1] * 100}%`];
  holder.append(point);
  frame.append(holder);
}

function place(element, lengths, unit) {
  [element.style.left, element.style.top, element.style.width, element.style.height] = lengths.map((length) => `${length}${unit}`);
}

const setFocus = (image, at) => decide(image, { focus: at.map(fraction).join(" ") });

function holdFocus(frame, image) {
  const picture = frame.querySelector("img");
  picture.draggable = false;
  picture.addEventListener("load", () => drawFocus(frame, image));
  const atOf = (event) => {
    const box = picture.getBoundingClientRect();
    return [fraction((event.clientX - box.left) / box.width), fraction((event.clientY - box.top) / box.height)];
  };
  frame.addEventListener("pointerdown", (event) => {
    if (!focusing || event.button || !channelsOf(image).length) return;
    frame.setPointerCapture(event.pointerId);
    frame.dataset.moving = "1";
    current = image;
    drawFocus(frame, image, atOf(event));
  });
  frame.addEventListener("pointermove", (event) => { if (frame.dataset.moving) drawFocus(frame, image, atOf(event)); });
  frame.addEventListener("pointerup", (event) => {
    if (!frame.dataset.moving) return;
    delete frame.dataset.moving;
    setFocus(image, atOf(event));
  });
  frame.addEventListener("pointercancel", () => { delete frame.dataset.moving; drawFocus(frame, image); });
}

function drawAllFocus() {
  for (const frame of $("stage").querySelectorAll(".frame")) if (!frame.dataset.moving) drawFocus(frame, byId.get(frame.dataset.id));
}

function toggleFocus() {
  if (!channelsOf(current).length) return say("No channel is named for this image, so nothing is cut from it.");
  focusing = !focusing;
  if (!viewer.open) openLarge(current);
  drawAllFocus();
  drawSide();
  return say(focusing ? "Crops are shown: click, drag or use the arrow keys to move the point." : "Crops are hidden.");
}

// Arrow keys move the point while crops are shown; with Shift by ten steps.
function nudge(key, far) {
  const step = FOCUS_STEP * (far ? 10 : 1), [x, y] = focusOf(current).at;
  const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[key];
  if (!by || !channelsOf(current).length) return false;
  setFocus(current, [x + by[0], y + by[1]]);
  return true;
}

function focusControls(image) {
  const names = channelsOf(image);
  if (!names.length) return [];
  const { at, from } = focusOf(image);
  const buttons = make("div", "buttons", { role: "group", "aria-label": "Crops" });
  buttons.append(button("Show crops", focusing, toggleFocus));
  if (!focusing) return [buttons];
  const holder = make("label", "", {}, `Focus ${at.join(", ")}: ${from}`);
  const choice = make("select", "", { name: "channel" });
  for (const [value, words] of [["", "all channels"], ...names.map((name) => [name, `${name}, ${data.channels[name].slice(0, 2).join(" × ")}`])]) choice.append(make("option", "", { value }, words));
  choice.value = names.includes(focusChannel) ? focusChannel : "";
  choice.addEventListener("input", () => { focusChannel = choice.value; drawAllFocus(); });
  holder.append(choice);
  if (decisionOf(image).focus) buttons.append(plain("Take back", () => decide(image, { focus: "" })));
  return [buttons, holder];
}

window.addEventListener("resize", drawAllFocus);
