// The page of jobs/review.py: one face at a time, a verdict a key. The server holds all state; a verdict is on
// storage before its answer comes, and only then does the next face.

import { draw, element, question } from "/files/draw.js";

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
  draw(summary, card, film);
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

const announce = (text) => { by("live").textContent = text; };
const film = { picture: thumb, open: (place) => move(() => place) };

// Made once, so that whoever works with Tab and Enter stays where he is.
function makeLabels() {
  by("labels").replaceChildren(...summary.labels.map((label, number) => {
    const button = element("button", "", ...(number < 9 ? [element("kbd", "", `${number + 1}`)] : []), element("span", "", label));
    button.addEventListener("click", (event) => { if (event.detail > 0) button.blur(); relabel(number); });
    return button;
  }));
}

// The small picture of a place that was judged; those that have left the film are let go.
function thumb(place) {
  const shown = new Set(summary.recent.map((each) => each.place));
  for (const old of thumbs.keys()) if (!shown.has(old)) thumbs.delete(old);
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
