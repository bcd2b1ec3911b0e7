// The page of jobs/review.py: one face at a time, a verdict a key. The server holds all state; a verdict is on
// storage before its answer comes, and only then does the next face.

const by = (id) => document.getElementById(id);
const SMALL = 128; // pictures up to this side can be shown in sharp pixels; others are not enlarged much

let summary = null;
let card = null; // the face before the reviewer; null when all are judged
let busy = true; // while a verdict is stored or a face is fetched, keys must not fall on the wrong face
let sharp = false; // a face enlarged ten times is recognised far better smoothed than as squares
let fetched = null; // the picture of the face that is likely to be next
const thumbs = new Map(); // place -> its picture in the film

class Trouble extends Error {}

async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(path, body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    throw new Trouble("The job does not answer: start it again and open its new link. What was stored is kept.");
  }
  if (answer.status === 403) throw new Trouble("The job was started anew: open the link that it has printed.");
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Trouble(told.error ?? `The job failed (${answer.status}): see its terminal.`);
  return told;
}

// Runs one step of work at a time; what goes wrong is said, and the face stays.
async function alone(work, doing) {
  if (busy) return;
  busy = true;
  by("saved").textContent = doing;
  by("saved").classList.remove("yes");
  try {
    await work();
    by("trouble").hidden = true;
    by("saved").textContent = "all stored";
    by("saved").classList.add("yes");
  } catch (error) {
    if (!(error instanceof Trouble)) console.error(error);
    by("trouble").textContent = error instanceof Trouble ? error.message : `The page failed: ${error.message}`;
    by("trouble").hidden = false;
    by("saved").textContent = doing === "storing…" ? "not stored" : "trouble";
  } finally {
    busy = false;
  }
}

// -- what a reviewer does -------------------------------------------------------------------------------------

function judge(action, newLabel = null) {
  if (card === null || (action === "keep" && card.label === null)) return;
  alone(async () => {
    const said = { place: card.place, key: card.key, action, new_label: newLabel };
    const answer = await ask("/verdicts", said);
    summary = answer.summary;
    const spoken = action === "keep" ? "kept" : action === "drop" ? "dropped" : `relabelled to ${newLabel}`;
    await show(answer.next, spoken);
  }, "storing…");
}

function undo() {
  alone(async () => {
    const answer = await ask("/undo", {});
    summary = answer.summary;
    if (answer.next === null) announce("nothing to undo");
    else await show(answer.next, "taken back");
  }, "storing…");
}

function move(to) {
  alone(async () => {
    const place = await to();
    if (place !== null && place >= 0 && place < summary.size) await show(place);
  }, "fetching…");
}

const back = () => move(() => (card === null ? summary.size - 1 : card.place - 1));
const ahead = () => move(() => (card === null ? null : card.place + 1));
const skip = () => move(async () => (card === null ? null : (await ask(`/open?after=${card.place}`)).next));

function relabel(number) {
  const label = summary?.labels[number];
  if (label !== undefined) judge(label === card?.label ? "keep" : "relabel", label === card?.label ? null : label);
}

const KEYS = {
  k: () => judge("keep"), d: () => judge("drop"), u: undo, s: skip, ArrowRight: ahead, ArrowLeft: back,
  "?": () => by("keys").showModal(),
  z: () => { sharp = !sharp; document.querySelectorAll("#frame img, #film img").forEach(sharpen); },
};

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || by("keys").open) return;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = KEYS[name] ?? (/^[1-9]$/.test(name) ? () => relabel(Number(name) - 1) : null);
  if (act === null) return;
  event.preventDefault();
  act();
});

for (const [id, act] of Object.entries({ keep: KEYS.k, drop: KEYS.d, undo, skip, back, ahead, help: KEYS["?"] })) {
  by(id).addEventListener("click", (event) => {
    if (event.detail > 0) by(id).blur(); // after the mouse, a space must not press the button again on the next face
    act();
  });
}

// -- what he sees -----------------------------------------------------------------------------------------------

async function show(place, spoken = "") {
  if (place === null) card = null;
  else {
    // Both at once, and nothing on the page before both: a question must never stand beside another face.
    const [told, image] = await Promise.all([ask(`/cards/${place}`), picture(place)]);
    card = told;
    hang(image);
  }
  draw();
  announce([spoken, card === null ? "Every face is judged." : question(card), `${summary.judged} of ${summary.size}`].filter(Boolean).join(". "));
  fetched = place === null || place + 1 >= summary.size ? null : { place: place + 1, image: picture(place + 1) }; // likely the next
}

// The picture when it can be seen, or null when it cannot.
function picture(place) {
  if (fetched?.place === place) return fetched.image;
  const image = new Image();
  image.src = `/pictures/${place}`;
  return image.decode().then(() => image, () => null);
}

function hang(image) {
  const frame = by("frame");
  frame.classList.toggle("broken", image === null);
  frame.replaceChildren(...(image === null ? [] : [image]));
  if (image !== null) sharpen(image);
}

function sharpen(image) {
  image.classList.toggle("pixels", sharp && Math.max(image.naturalWidth, image.naturalHeight) <= SMALL);
}

const question = (face) => (face.label === null ? "What does this face show?" : `Is this ${face.label}?`);
const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)}%`);
const announce = (text) => { by("live").textContent = text; };

function element(name, classes = "", ...content) {
  const made = document.createElement(name);
  made.className = classes;
  made.append(...content);
  return made;
}

function draw() {
  by("judged").textContent = summary.judged;
  by("size").textContent = summary.size;
  by("bar").setAttribute("aria-valuemax", summary.size);
  by("bar").setAttribute("aria-valuenow", summary.judged);
  by("bar").firstElementChild.style.width = `${(100 * summary.judged) / summary.size}%`;
  by("undo").disabled = summary.judged === 0;
  document.querySelector(".stage").hidden = card === null;
  by("done").hidden = card !== null;
  if (card !== null) drawCard();
  drawPrediction();
  drawEstimates();
  by("progress").replaceChildren(...summary.classes.map((each) =>
    bar(each.label, each.judged / each.size, `${each.judged}/${each.size}`)));
  drawFilm();
}

function drawCard() {
  by("where").textContent = `face ${card.place + 1} · ${card.split} · ${card.key}`;
  by("where").title = card.identity === null ? card.key : `${card.key}, person ${card.identity}`;
  by("question").replaceChildren(...(card.label === null ? [question(card)] : ["Is this ", element("em", "", card.label), "?"]));
  if (by("frame").firstChild) by("frame").firstChild.alt = card.label === null ? `face ${card.place + 1}` : `face ${card.place + 1}, labelled ${card.label}`;
  const said = card.verdict;
  by("stood").replaceChildren(...(said === null ? ["\u00a0"] : ["You said: ", element("b", "", words(said, card.label)), ". Another key changes it."]));
  by("keep").disabled = card.label === null;
  by("keep").setAttribute("aria-pressed", said?.action === "keep");
  by("drop").setAttribute("aria-pressed", said?.action === "drop");
  by("back").disabled = card.place === 0;
  by("ahead").disabled = card.place + 1 === summary.size;
  [...by("labels").children].forEach((button, number) => {
    const own = summary.labels[number] === card.label;
    button.classList.toggle("given", own);
    button.title = own ? "the label that it has" : "";
    button.setAttribute("aria-pressed", said?.new_label === summary.labels[number]);
  });
}

// Made once, so that whoever works with Tab and Enter stays where he is.
function makeLabels() {
  by("labels").replaceChildren(...summary.labels.map((label, number) => {
    const button = element("button", "", ...(number < 9 ? [element("kbd", "", `${number + 1}`)] : []), element("span", "", label));
    button.addEventListener("click", (event) => { if (event.detail > 0) button.blur(); relabel(number); });
    return button;
  }));
}

const words = (said, label) => (said.action === "keep" ? `${label} is right` : said.action === "drop" ? "drop" : `it is ${said.new_label}`);

function bar(name, share, value, classes = "") {
  const fill = element("i");
  fill.style.width = `${100 * Math.min(1, share ?? 0)}%`;
  return element("div", `bar ${classes}`, element("span", "name", name), element("span", "track", fill), element("span", "value", value));
}

function drawPrediction() {
  const found = card?.prediction ?? null;
  if (found === null) {
    const why = card === null ? "No face is left to judge." : "Hidden until you have judged, so that it cannot sway you.";
    const empty = summary.labels.map((label) => bar(label, 0, ""));
    by("prediction").replaceChildren(...empty, element("p", "fate", "\u00a0"), element("p", "veil", why));
    return;
  }
  const rows = Object.entries(found.probabilities).map(([label, value]) => {
    const row = bar(label, value, percent(value), `${label === found.predicted ? "main" : ""} ${label === card.label ? "given" : ""}`);
    if (label === card.label) row.title = "the label that it has";
    return row;
  });
  const fate = element("b", found.kept ? "kept" : "dropped", found.kept ? found.stratum : "dropped");
  const why = found.reason === "kept" ? "" : `: ${found.reason}`;
  by("prediction").replaceChildren(...rows, element("p", "fate", "The filter: ", fate, why));
}

const FIGURES = [
  ["precision", "Precision", "wrong of the dropped"],
  ["recall", "Recall", "dropped of the wrong"],
  ["remaining_noise", "Left", "wrong of the kept"],
];

function drawEstimates() {
  const rows = FIGURES.map(([name, title, told]) => {
    const { value, low, high } = summary.estimates[name];
    const known = value !== null;
    const fill = element("i"), ends = element("b");
    fill.style.width = `${100 * (value ?? 0)}%`;
    ends.style.left = `${100 * low}%`;
    ends.style.width = known ? `${100 * (high - low)}%` : "0";
    const range = known ? ` ${Math.round(100 * low)}–${Math.round(100 * high)}` : "";
    return element("div", "figure",
      element("div", "top", element("span", "", element("b", "", title), " ", element("small", "", told)),
        element("span", "value", percent(value), element("span", "range", range))),
      element("div", "track", fill, ...(known ? [ends] : [])));
  });
  const note = `Of all ${summary.estimates.rows.toLocaleString("en")} rows; 95 % intervals.`;
  by("estimates").replaceChildren(...rows, element("p", "note", note));
}

function drawFilm() {
  const shown = new Set(summary.recent.map((each) => each.place));
  for (const place of thumbs.keys()) if (!shown.has(place)) thumbs.delete(place);
  by("unjudged").hidden = summary.recent.length > 0;
  by("legend").hidden = summary.recent.length === 0;
  by("film").replaceChildren(...summary.recent.toReversed().map((each) => {
    const said = each.action === "keep" ? `✓ ${each.label}` : each.action === "drop" ? "✕ drop" : `→ ${each.new_label}`;
    const guess = each.predicted === null ? "no prediction" : `${each.predicted} ${percent(each.confidence)}`;
    const button = element("button", each.action, thumb(each.place), element("span", "said", said), element("span", "guess", guess));
    button.setAttribute("aria-label", `face ${each.place + 1}: you said ${words(each, each.label)}, the classifier ${guess}`);
    button.setAttribute("aria-current", each.place === card?.place);
    button.addEventListener("click", (event) => { if (event.detail > 0) button.blur(); move(() => each.place); });
    return element("li", "", button);
  }));
}

function thumb(place) {
  if (!thumbs.has(place)) {
    const image = new Image();
    image.alt = "";
    image.addEventListener("load", () => sharpen(image));
    image.src = `/pictures/${place}`;
    thumbs.set(place, image);
  }
  return thumbs.get(place);
}

async function start() {
  history.replaceState(null, "", "/"); // the token is spent: it need not stand in the history
  busy = false;
  await alone(async () => {
    const answer = await ask("/summary");
    summary = answer.summary;
    by("data").textContent = summary.data.replace(/\?.*$/, "").split("/").pop();
    by("data").title = summary.data;
    by("reviewer").textContent = summary.reviewer;
    by("why-blind").hidden = !summary.blind;
    by("digits").replaceChildren(element("kbd", "", "1"), " … ", element("kbd", "", `${Math.min(9, summary.labels.length)}`));
    makeLabels();
    await show(answer.next);
  }, "opening…");
}

start();
