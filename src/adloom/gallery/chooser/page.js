// Keys, counts, saving and refreshing: what ties the parts together.
function drawCounts() {
  const { images: all, approved, rejected, waiting, price } = tally();
  const holder = $("counts");
  const part = (className, count, words) => {
    const element = make("span", className);
    element.append(make("b", "", {}, count.toLocaleString("en")), ` ${words}`);
    return element;
  };
  const rejectedPart = part("rejected", rejected, "rejected");
  rejectedPart.append(rejected ? `, next takes ${dollars(price)}` : "");
  const right = make("span", "right");
  const open = unsaved().length;
  if (open) right.append(make("span", "unsaved", {}, data.served ? `${open} not saved yet` : `${open} only in this browser`));
  right.append(plain("Undo", undo), plain("Side by side", () => openViewer(chosen.length ? chosen : current ? takesOf(current) : [])), plain("Export review.csv", exportCsv));
  holder.replaceChildren(part("", all, "images"), part("approved", approved, "approved"), rejectedPart, part("", waiting, "waiting"), right);
}

function plain(words, act) {
  const element = make("button", "", { type: "button" }, words);
  element.addEventListener("click", act);
  return element;
}

const writing = () => ["INPUT", "SELECT", "TEXTAREA"].includes(document.activeElement?.tagName);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (writing()) {
    if (event.key === "Escape") {
      event.preventDefault();
      document.activeElement.blur();
      if (viewer.open) drawSide();
      else grid.focus({ preventScroll: true });
    }
    return;
  }
  const onButton = document.activeElement?.tagName === "BUTTON" || document.activeElement?.tagName === "SUMMARY";
  if (onButton && (event.key === " " || event.key === "Enter")) return;
  if (act(event.key, event.shiftKey)) event.preventDefault();
});

function act(key, shift) {
  if (key === "u") undo();
  else if (key === "e") exportCsv();
  else if (key === "/" && !viewer.open) document.querySelector('[name="text"]').focus();
  else if (!current) return false;
  else if (key === "a") decide(current, { decision: "approved" });
  else if (key === "r") decide(current, { decision: "rejected" });
  else if (key === "x") decide(current, { decision: "cleared" });
  else if (/^[0-5]$/.test(key)) decide(current, { stars: Number(key) });
  else if (key === " ") viewer.open ? viewer.close() : openLarge(current);
  else if (key === "f") toggleFocus();
  else if (viewer.open && focusing && nudge(key, shift)) return true;
  else if (key === "b") openViewer(takesOf(current));
  else if (key === "c") mark(current);
  else if (key === "v") openViewer(chosen.length ? chosen : [current]);
  else if (key === "n" || key === "g") writeInto(key === "n" ? "note" : "change");
  else if (/^(Arrow|Home$|End$)/.test(key)) viewer.open ? step(key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1) : move(key);
  else return false;
  return true;
}

function mark(image) {
  if (!image.key) return;
  if (chosen.includes(image)) chosen = chosen.filter((each) => each !== image);
  else chosen = [...chosen, image].slice(-MOST_BESIDE);
  changed();
  say(`${chosen.length} marked for side by side`);
}

function writeInto(name) {
  if (!viewer.open) openLarge(current);
  viewer.querySelector(`[name="${name}"]`)?.focus();
}

// Served: each decision is saved as it is made, and what others decide comes in.
let saving = Promise.resolve();

function save(id, set) {
  saving = saving.then(async () => {
    try {
      const answer = await fetch("decide", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ id, ...set, by: reviewer() }),
      });
      if (!answer.ok) throw new Error(`${answer.status}`);
      take((await answer.json()).decisions);
    } catch {
      say("This decision is not saved yet; it is kept in this browser and tried again.");
      drawCounts();
    }
  });
}

function take(decisions) {
  for (const [id, decision] of Object.entries(decisions)) {
    decision.time = milliseconds(decision.time);
    base.set(id, decision);
    const mine = local.get(id);
    if (mine && inSync(mine, decision)) local.delete(id);
  }
  keep();
  changed();
}

async function listen() {
  try {
    const answer = await fetch("decisions");
    if (answer.ok) {
      take((await answer.json()).decisions);
      for (const [id, mine] of unsaved()) save(id, said(mine));
    }
  } catch { /* the server is away: what is decided stays in this browser */ }
  setTimeout(listen, data.served.every_ms);
}

// A run that goes on writes this page again every few seconds; who reads or writes is not disturbed.
function follow() {
  const age = Math.max(0, Math.round((Date.now() - Date.parse(data.running)) / 1000));
  $("running").textContent = age > 120 ? `A run was going on at ${data.running}; there has been no news for ${Math.round(age / 60)} min. Run the same command again to go on.` : "A run is going on: this page shows what has come in so far.";
  if (age <= 600 && !viewer.open && !writing() && !document.hidden) {
    try { sessionStorage.setItem(`${VIEW}:at`, JSON.stringify([window.scrollY, current?.id])); } catch { /* begins at the top */ }
    location.reload();
  } else setTimeout(follow, 5000);
}

drawFilters();
layOut();
drawCounts();
try {
  const [y, id] = JSON.parse(sessionStorage.getItem(`${VIEW}:at`) || "[0, null]");
  sessionStorage.removeItem(`${VIEW}:at`);
  if (byId.has(id) && places.has(id)) current = byId.get(id);
  window.scrollTo(0, y);
  draw();
} catch { /* begins at the top */ }
grid.focus({ preventScroll: true });
if (data.running) {
  $("running").textContent = "A run is going on: this page shows what has come in so far.";
  setTimeout(follow, 5000);
}
if (data.served) listen();
