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
  else if (key === "/" && !viewer.open) search();
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

function search() {
  $("filtering").open = true;
  document.querySelector('[name="text"]').focus();
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
const NEWS_OVERDUE_S = 180, FOLLOWED_S = 600;

function tellOfRun() {
  const { archived, wanted, excerpt, is_shared: shared } = data.run, count = (number) => number.toLocaleString("en");
  const shows = `this page shows the latest ${count(images.length)}`;
  if (!data.running) return excerpt ? `A run was stopped; ${shows} of its images. The next run that ends by itself writes the page with all images, and so does: adloom gallery TARGET` : "";
  const age = runAge(), come = `${count(archived)} of ${count(wanted)} images`;
  if (age > NEWS_OVERDUE_S) return `A run was going on at ${new Date(data.running).toLocaleString()} with ${come}; there has been no news for ${Math.round(age / 60)} min. Run the same command again to go on.`;
  return [
    `A run is going on: ${come} have come${excerpt ? `, ${shows}` : ""}.`,
    excerpt ? "The page with all images is written when the run ends." : "",
    shared ? "Other runs share the work: their images follow when they end." : "",
  ].filter(Boolean).join(" ");
}

const runAge = () => Math.max(0, Math.round((Date.now() - Date.parse(data.running)) / 1000));

function follow() {
  $("running").textContent = tellOfRun();
  if (runAge() <= FOLLOWED_S && !viewer.open && !writing() && !document.hidden) {
    try { sessionStorage.setItem(`${VIEW}:at`, JSON.stringify([window.scrollY, current?.id, offsetOf(current)])); } catch { /* begins at the top */ }
    location.reload();
  } else setTimeout(follow, 5000);
}

// How far an image's line is below the top of the window.
function offsetOf(image) {
  const line = image && lines[places.get(image.id)];
  return line ? grid.getBoundingClientRect().top + line.top : null;
}

// After a reload the current image is where it was, even if others have come before it; at the top it stays the top.
function goBack() {
  const kept = sessionStorage.getItem(`${VIEW}:at`);
  history.scrollRestoration = kept ? "manual" : "auto";
  if (!kept) return;
  const [y, id, offset] = JSON.parse(kept);
  sessionStorage.removeItem(`${VIEW}:at`);
  if (byId.has(id) && places.has(id)) current = byId.get(id);
  window.scrollTo(0, y);
  if (y && current?.id === id && typeof offset === "number") window.scrollBy(0, offsetOf(current) - offset);
  draw();
}

drawFilters();
$("filtering").open = window.innerWidth > 768;
layOut();
drawCounts();
try { goBack(); } catch { /* begins at the top */ }
grid.focus({ preventScroll: true });
$("running").textContent = tellOfRun();
if (data.running) setTimeout(follow, 5000);
if (data.served) listen();
