// Filters, order and groups. What is chosen stays over a reload in this tab.
const VIEW = `adloom-view:${data.id}`;
const wishes = { text: "", job: "", decision: "", status: "", stars: "", sort: "plan", group: "job", takes: "latest" };
const values = new Map(); // variable -> its values
for (const row of data.rows) for (const [name, value] of row.vars) values.set(name, (values.get(name) || new Set()).add(value));
const axes = [...values].filter(([, found]) => found.size > 1 && found.size <= 60).map(([name]) => name).slice(0, 8);
for (const axis of axes) wishes[`axis:${axis}`] = "";

try {
  const kept = JSON.parse(sessionStorage.getItem(VIEW) || "{}");
  for (const name of Object.keys(wishes)) if (typeof kept[name] === "string") wishes[name] = kept[name];
} catch { /* a browser that keeps nothing begins with the defaults */ }

function fitting() {
  const text = wishes.text.trim().toLowerCase();
  const found = images.filter((image) => {
    const said = decisionOf(image);
    if (wishes.takes === "latest" && !image.latest) return false;
    if (wishes.job && image.of.job !== wishes.job) return false;
    if (wishes.status && image.status !== wishes.status) return false;
    if (wishes.decision && said.decision !== wishes.decision) return false;
    if (wishes.stars && said.stars < Number(wishes.stars)) return false;
    if (text && !image.words.includes(text) && !`${said.note}\n${said.change}`.toLowerCase().includes(text)) return false;
    return axes.every((axis) => !wishes[`axis:${axis}`] || valueOf(image, axis) === wishes[`axis:${axis}`]);
  });
  if (wishes.sort === "stars") found.sort((a, b) => decisionOf(b).stars - decisionOf(a).stars || a.index - b.index);
  if (wishes.sort === "newest") found.sort((a, b) => (decisionOf(b).time > decisionOf(a).time ? 1 : decisionOf(b).time < decisionOf(a).time ? -1 : a.index - b.index));
  return found;
}

function valueOf(image, axis) {
  return (image.of.vars.find(([name]) => name === axis) || ["", ""])[1];
}

function grouped(found) {
  const group = wishes.group;
  if (!group) return found.length ? [[null, found]] : [];
  const groups = new Map();
  for (const image of found) {
    const name = group === "job" ? image.of.job : group === "row" ? `${image.of.job} / ${image.of.label || image.of.row}` : `${group.slice(5)}: ${valueOf(image, group.slice(5)) || "(none)"}`;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(image);
  }
  return [...groups];
}

function field(name, label, options) {
  const holder = make("label", "", {}, label);
  const input = make(options ? "select" : "input", "", { name });
  for (const [value, words] of options || []) {
    const option = make("option", "", { value }, words);
    input.append(option);
  }
  input.value = wishes[name];
  if (!options) input.type = "search";
  input.addEventListener("input", () => {
    wishes[name] = input.value;
    try { sessionStorage.setItem(VIEW, JSON.stringify(wishes)); } catch { /* nothing is lost */ }
    layOut();
    say(`${order.length} images`);
  });
  holder.append(input);
  return holder;
}

function drawFilters() {
  const any = (words) => [["", words]];
  const pairs = (list) => list.map((each) => [each, each]);
  const jobs = [...new Set(data.rows.map((row) => row.job))];
  const statuses = [...new Set(images.map((image) => image.status))];
  const form = $("filters");
  form.append(
    field("text", "Search"),
    field("decision", "Decision", [...any("all"), ["cleared", "waiting"], ["approved", "approved"], ["rejected", "rejected"]]),
    field("stars", "Stars", [...any("any"), ...["1", "2", "3", "4", "5"].map((n) => [n, `${n} or more`])]),
  );
  if (jobs.length > 1) form.append(field("job", "Job", [...any("all"), ...pairs(jobs)]));
  for (const axis of axes) form.append(field(`axis:${axis}`, axis, [...any("all"), ...pairs([...values.get(axis)])]));
  if (statuses.length > 1) form.append(field("status", "Status", [...any("all"), ...pairs(statuses)]));
  if (images.some((image) => !image.latest)) form.append(field("takes", "Takes", [["latest", "latest"], ["all", "all"]]));
  form.append(
    field("sort", "Sort", [["plan", "as planned"], ["stars", "best first"], ["newest", "decided last first"]]),
    field("group", "Group", [["", "none"], ["job", "job"], ["row", "row"], ...axes.map((axis) => [`axis:${axis}`, axis])]),
  );
  const who = make("label", "", {}, "Your name");
  const input = make("input", "", { name: "by", maxlength: "200", autocomplete: "name" });
  input.value = reviewer();
  input.addEventListener("input", () => { try { localStorage.setItem(WHO, input.value.trim()); } catch { /* not kept */ } });
  who.append(input);
  form.append(who);
  form.addEventListener("submit", (event) => event.preventDefault());
}
