"use strict";
// What there is to choose from, what was decided, and where that is kept. Text of strangers is only ever textContent.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const STORE = `adloom-review:${data.id}`;
const WHO = "adloom-review:by";
const VERDICTS = ["approved", "rejected", "cleared"];

const images = data.images.map(([row, variant, take, id, status, key, thumb, width, height, price, latest, reason, change], index) => {
  const of = data.rows[row];
  return {
    index, id, of, variant, take, status, key, width, height, price, latest, reason, change,
    source: key ? address(thumb ? `thumbs/${key.slice(7, key.lastIndexOf("."))}.jpg` : key) : "",
    original: key ? address(key) : "",
    words: [of.job, of.row, of.prompt, change, reason, ...of.vars.flat()].join("\n").toLowerCase(),
  };
});
const byId = new Map(images.map((image) => [image.id, image]));
const takes = new Map();
for (const image of images) {
  const name = `${image.of.job}/${image.of.row}/${image.variant}`;
  takes.set(name, [...(takes.get(name) || []), image]);
}
const takesOf = (image) => takes.get(`${image.of.job}/${image.of.row}/${image.variant}`).filter((each) => each.key);

// The archive's times have microseconds, a browser's do not; both compare as text once they are alike.
function milliseconds(time) {
  return time ? `${time.slice(0, 23)}Z` : "";
}

function address(key) {
  return key.split("/").map(encodeURIComponent).join("/");
}

// decisions: what the archive had when this page was made, and what was decided in this browser since
const base = new Map(Object.entries(data.decisions));
for (const decision of base.values()) decision.time = milliseconds(decision.time);
let local = read(STORE);
const undone = [];

function read(name) {
  try {
    const found = JSON.parse(localStorage.getItem(name) || "{}");
    return new Map(Object.entries(found && typeof found === "object" ? found : {}));
  } catch {
    return new Map();
  }
}

function keep() {
  try {
    localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(local)));
    return true;
  } catch {
    say("This browser does not store anything: export before you close the page.");
    return false;
  }
}

const NOTHING = Object.freeze({ decision: "cleared", stars: 0, note: "", change: "", focus: "", by: "", time: "" });

function decisionOf(image) {
  const mine = local.get(image.id), theirs = base.get(image.id);
  return { ...NOTHING, ...(mine && (!theirs || mine.time > theirs.time) ? mine : theirs) };
}

const SAID = ["decision", "stars", "note", "change", "focus"];
const same = (one, other) => SAID.every((name) => (one[name] ?? NOTHING[name]) === (other[name] ?? NOTHING[name]));
const said = (decision) => Object.fromEntries(SAID.map((name) => [name, decision[name] ?? NOTHING[name]]));
const inSync = (mine, theirs) => (theirs ? theirs.time >= mine.time || (same(mine, theirs) && mine.by === theirs.by) : same(mine, NOTHING));
const unsaved = () => [...local].filter(([id, mine]) => byId.has(id) && !inSync(mine, base.get(id)));

function reviewer() {
  try { return localStorage.getItem(WHO) || ""; } catch { return ""; }
}

// A decision sets; a time that is behind the one that was seen is moved behind it.
function decide(image, set, { undo = true } = {}) {
  if (!image.key) return say(`${nameOf(image)} has no image to decide on.`);
  const before = decisionOf(image);
  const now = new Date().toISOString();
  const time = now > before.time ? now : later(before.time);
  const after = { ...before, ...set, by: reviewer(), time };
  if (same(before, after)) return undefined;
  if (undo) undone.push([image.id, said(before)]);
  local = new Map([...read(STORE), [image.id, after]]);
  keep();
  if (data.served) save(image.id, set);
  changed(image);
  say(`${nameOf(image)}: ${told(after)}. ${sums()}`);
  return undefined;
}

function later(time) {
  const moment = new Date(time);
  return Number.isNaN(moment.getTime()) ? new Date().toISOString() : new Date(moment.getTime() + 1).toISOString();
}

function undo() {
  const last = undone.pop();
  if (!last) return say("Nothing to undo.");
  const image = byId.get(last[0]);
  if (!image) return undo();
  decide(image, last[1], { undo: false });
  return show(image);
}

function told(decision) {
  const word = decision.decision === "cleared" ? "no decision" : decision.decision;
  return decision.stars ? `${word}, ${decision.stars} star${decision.stars === 1 ? "" : "s"}` : word;
}

function nameOf(image) {
  return `${image.of.job} ${image.of.row}, variant ${image.variant}${image.take > 1 ? `, take ${image.take}` : ""}`;
}

function tally() {
  const found = { images: 0, approved: 0, rejected: 0, waiting: 0, price: 0 };
  for (const image of images) {
    if (!image.latest || !image.key) continue;
    const { decision } = decisionOf(image);
    found.images += 1;
    found[decision === "cleared" ? "waiting" : decision] += 1;
    if (decision === "rejected") found.price += image.price;
  }
  return found;
}

const dollars = (micro) => `${data.sandbox ? "sandbox " : ""}$${(micro / 1e6).toFixed(2)}`;

function sums() {
  const { approved, rejected, waiting, price } = tally();
  return `${approved} approved, ${rejected} rejected, ${dollars(price)} for their next takes, ${waiting} waiting`;
}

function say(words) {
  $("said").textContent = words;
}

window.addEventListener("storage", (event) => {
  if (event.key !== STORE) return;
  local = read(STORE);
  changed();
});

// review.csv
const COLUMNS = ["job", "row", "variant", "take", "decision", "stars", "note", "change", "by", "time", "focus"];
const cell = (value) => (/[",;\t\r\n]/.test(`${value}`) ? `"${`${value}`.replaceAll('"', '""')}"` : `${value}`);

function reviewCsv() {
  const lines = [COLUMNS.join(",")];
  for (const image of images) {
    if (!local.has(image.id) || inSync(local.get(image.id), base.get(image.id))) continue;
    const { job, row } = image.of, { decision, stars, note, change, by, time, focus } = decisionOf(image);
    lines.push([job, row, image.variant, image.take, decision, stars, note, change, by, time, focus].map(cell).join(","));
  }
  return `${lines.join("\r\n")}\r\n`;
}

function exportCsv() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([reviewCsv()], { type: "text/csv" }));
  link.download = "review.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say("review.csv was exported: adloom review TARGET --apply review.csv");
}
