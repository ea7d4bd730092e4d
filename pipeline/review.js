"use strict";
// The review page: shows one document after another and keeps what a person says of it. It makes no request; texts go
// into the page as text nodes only.

const sample = JSON.parse(document.getElementById("sample").textContent);
const documents = sample.documents;
const known = new Set(documents.map((one) => one.id));
const LABELS = { g: "good", b: "bad", u: "unsure" };
const KIND = "lustrate labels";
const KEY = "lustrate review " + sample.digest + " " + sample.reviewer;
const LONG = 3600; // characters beyond which an excerpt is shown; half of it in scripts that need fewer
const DENSE = /^(zh|ja|ko|th|lo|my|km)\b/;
const $ = (id) => document.getElementById(id);

let state = restored() || { labels: {}, skipped: {}, labeller: sample.reviewer, at: 0 };
let keeps = true; // whether the browser keeps anything for this page
let unsaved = false; // labels that no file has
let past = []; // [place, id, what was said of it before], for undo
let whole = false; // show all of a long document

function restored() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY));
    return found && found.labels ? found : null;
  } catch {
    return null;
  }
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
    keeps = true;
  } catch {
    keeps = false;
  }
  $("volatile").hidden = keeps;
}

function say(text, warn = false) {
  $("status").textContent = text;
  $("status").classList.toggle("warn", warn);
}

// Moving and labelling

function label(name) {
  const one = documents[state.at];
  if (!one) return;
  past.push([state.at, one.id, state.labels[one.id], state.skipped[one.id]]);
  state.labels[one.id] = { label: name, at: new Date().toISOString() };
  delete state.skipped[one.id];
  unsaved = true;
  go(next(state.at + 1));
  say(name[0].toUpperCase() + name.slice(1) + ". Z takes it back.");
}

function skip() {
  const one = documents[state.at];
  if (!one) return;
  if (!state.labels[one.id]) state.skipped[one.id] = true;
  go(state.at + 1);
  say("Skipped.");
}

function undo() {
  const last = past.pop();
  if (!last) return say("There is nothing to take back.");
  const [place, id, before, skipped] = last;
  if (before) state.labels[id] = before;
  else delete state.labels[id];
  if (skipped) state.skipped[id] = true;
  go(place);
  say("Taken back.");
}

function back() {
  if (state.at > 0) go(state.at - 1);
}

function next(from) {
  // The next document without a label from a place on: after the last, the end.
  let place = from;
  while (place < documents.length && state.labels[documents[place].id]) place += 1;
  return place;
}

function go(place) {
  state.at = place;
  whole = false;
  keep();
  show();
  window.scrollTo(0, 0);
  (documents[place] ? $("document") : $("end")).focus({ preventScroll: true });
}

// Showing

function show() {
  const one = documents[state.at];
  const counts = tally();
  $("document").hidden = $("actions").hidden = !one;
  $("end").hidden = Boolean(one);
  $("progress").max = documents.length;
  $("progress").value = counts.done;
  $("counts").textContent =
    `${counts.done} of ${documents.length} labelled · ${counts.good} good · ${counts.bad} bad · ${counts.unsure} unsure` +
    (counts.skipped ? ` · ${counts.skipped} skipped` : "");
  if (one) showDocument(one);
  else showEnd(counts);
}

function tally() {
  const counts = { good: 0, bad: 0, unsure: 0, done: 0, skipped: 0 };
  for (const one of documents) {
    const given = state.labels[one.id];
    if (given) {
      counts[given.label] += 1;
      counts.done += 1;
    } else if (state.skipped[one.id]) counts.skipped += 1;
  }
  return counts;
}

function showDocument(one) {
  $("place").textContent = `Document ${state.at + 1} of ${documents.length}`;
  $("language").textContent = languageName(one.language);
  $("length").textContent = `${one.characters.toLocaleString("en")} characters`;
  const said = state.labels[one.id];
  for (const name of Object.values(LABELS)) $(name).setAttribute("aria-pressed", String(said?.label === name));
  const parts = whole ? [{ text: one.text }] : excerpt(one);
  $("more").hidden = parts.length === 1 && !whole;
  $("more").textContent = whole ? "Show the excerpt (A)" : "Show all of it (A)";
  const text = $("text");
  text.lang = one.language;
  text.replaceChildren();
  parts.forEach((part, at) => {
    if (at) text.append(note(`… ${part.before.toLocaleString("en")} characters left out …`));
    text.append(...paragraphs(part.text));
  });
  const carried = Array.from(one.text).length;
  if (one.characters > carried) {
    text.append(note(`… ${(one.characters - carried).toLocaleString("en")} more, which this page does not carry …`));
  }
}

function languageName(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
  } catch {
    return code;
  }
}

function excerpt(one) {
  // The beginning, a part of the middle and the end of a long text; the text itself where it is short.
  const text = one.text;
  const unit = (DENSE.test(one.language) ? LONG / 2 : LONG) / 4;
  if (text.length <= unit * 4) return [{ text }];
  const middle = Math.floor(text.length / 2 - unit / 2);
  const spans = [[0, unit * 2], [middle, middle + unit], [text.length - unit, text.length]];
  let end = 0;
  return spans.map(([start, stop]) => {
    const from = unparted(text, Math.max(start, end));
    const part = { text: text.slice(from, unparted(text, stop)), before: from - end };
    end = unparted(text, stop);
    return part;
  });
}

function unparted(text, place) {
  // A place that does not part the two halves of a character.
  const code = text.charCodeAt(place);
  return code >= 0xdc00 && code < 0xe000 ? place + 1 : place;
}

function paragraphs(text) {
  let gap = false;
  const made = [];
  for (const line of text.split(/\r\n|[\n\r\u2028\u2029]/)) {
    if (!line.trim()) {
      gap = true;
      continue;
    }
    const block = document.createElement("p");
    block.dir = "auto";
    if (gap && made.length) block.className = "gap";
    block.textContent = line;
    made.push(block);
    gap = false;
  }
  return made;
}

function note(text) {
  const made = document.createElement("div");
  made.className = "left-out";
  made.lang = "en";
  made.dir = "ltr";
  made.textContent = text;
  return made;
}

function showEnd(counts) {
  const open = documents.length - counts.done;
  $("end-title").textContent = open ? `${counts.done} of ${documents.length} are labelled` : "All of them are labelled";
  $("end-text").textContent =
    `${counts.good} good, ${counts.bad} bad, ${counts.unsure} unsure. ` +
    (open ? `${open} have no label yet. ` : "") +
    "Save the labels as a file: nothing has left this browser.";
  $("again").hidden = !open;
}

// Files

function save() {
  if (!state.labeller.trim()) {
    say("Whose labels are these? Fill in your name first.", true);
    $("labeller").focus();
    return;
  }
  const labels = documents.filter((one) => state.labels[one.id]).map((one) => ({ id: one.id, ...state.labels[one.id] }));
  const file = { kind: KIND, version: 1, sample: sample.digest, labeller: state.labeller.trim(), labels };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1) + "\n"], { type: "application/json" }));
  const who = state.labeller.trim().toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-");
  link.download = `labels-${sample.digest}-${who}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  unsaved = false;
  say(`${labels.length} labels saved as ${link.download}.`);
}

async function load(file) {
  let found;
  try {
    found = checked(JSON.parse(await file.text()));
  } catch (error) {
    return say(`${file.name} was not loaded: ${error.message}`, true);
  }
  let added = 0;
  let kept = 0;
  for (const { id, label: name, at } of found.labels) {
    if (!state.labels[id]) {
      state.labels[id] = at ? { label: name, at } : { label: name };
      delete state.skipped[id];
      added += 1;
    } else if (state.labels[id].label !== name) kept += 1;
  }
  state.labeller = found.labeller;
  $("labeller").value = state.labeller;
  past = [];
  go(next(0));
  say(`${added} labels of ${found.labeller} loaded` + (kept ? `; ${kept} differ from those given here, which stay.` : "."));
}

function checked(found) {
  if (!found || found.kind !== KIND || !Array.isArray(found.labels)) throw new Error("it holds no labels of this page");
  if (found.sample !== sample.digest) throw new Error("its labels are of another sample");
  if (!found.labels.every((one) => known.has(one.id) && Object.values(LABELS).includes(one.label))) {
    throw new Error("it holds documents or labels that this page does not know");
  }
  const own = state.labeller.trim();
  if (own && Object.keys(state.labels).length && own !== found.labeller) {
    throw new Error(`they are those of ${found.labeller}, not of ${own}`);
  }
  return found;
}

function forget() {
  const count = Object.keys(state.labels).length;
  if ($("forget").dataset.sure !== "yes" && count) {
    $("forget").dataset.sure = "yes";
    $("forget").textContent = `Really forget ${count} labels?`;
    return;
  }
  settle();
  state = { labels: {}, skipped: {}, labeller: state.labeller, at: 0 };
  past = [];
  unsaved = false;
  go(0);
  say("All labels are forgotten.");
}

function settle() {
  delete $("forget").dataset.sure;
  $("forget").textContent = "Start over";
}

// What keys and buttons do

const KEYS = {
  g: () => label("good"), 1: () => label("good"),
  b: () => label("bad"), 2: () => label("bad"),
  u: () => label("unsure"), 3: () => label("unsure"),
  s: skip, ArrowRight: skip,
  z: undo, ArrowLeft: back, Backspace: back,
  a: all, d: save,
};

function all() {
  if ($("more").hidden) return;
  whole = !whole;
  show();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("input, textarea, select")) return;
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
for (const name of Object.values(LABELS)) $(name).addEventListener("click", () => label(name));
$("skip").addEventListener("click", skip);
$("back").addEventListener("click", back);
$("undo").addEventListener("click", undo);
$("more").addEventListener("click", all);
for (const name of ["save", "end-save"]) $(name).addEventListener("click", save);
$("again").addEventListener("click", () => go(next(0)));
$("end-back").addEventListener("click", back);
$("forget").addEventListener("click", forget);
$("forget").addEventListener("blur", settle);
$("load").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", async () => {
  if ($("file").files.length) await load($("file").files[0]);
  $("file").value = "";
});
$("labeller").value = state.labeller;
$("labeller").addEventListener("input", () => {
  state.labeller = $("labeller").value;
  keep();
});
window.addEventListener("beforeunload", (event) => {
  if (unsaved && !keeps) event.preventDefault();
});

state.at = Math.min(Math.max(0, Number(state.at) || 0), documents.length);
keep();
show();
