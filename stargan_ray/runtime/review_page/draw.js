// What a reviewer sees: from the state that review.js holds to the page, and nothing else.

const by = (id) => document.getElementById(id);

export const question = (face) => (face.label === null ? "What does this face show?" : `Is this ${face.label}?`);
const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)}%`);

export function element(name, classes = "", ...content) {
  const made = document.createElement(name);
  made.className = classes;
  made.append(...content);
  return made;
}

// Everything there is to see: how far, the face's card (null when all are judged), and what stands beside it.
export function draw(summary, card, film) {
  by("judged").textContent = summary.judged;
  by("size").textContent = summary.size;
  by("bar").setAttribute("aria-valuemax", summary.size);
  by("bar").setAttribute("aria-valuenow", summary.judged);
  by("bar").firstElementChild.style.width = `${(100 * summary.judged) / summary.size}%`;
  by("undo").disabled = summary.judged === 0;
  document.querySelector(".stage").hidden = card === null;
  by("done").hidden = card !== null;
  if (card !== null) drawCard(summary, card);
  drawPrediction(summary, card);
  drawEstimates(summary);
  by("progress").replaceChildren(...summary.classes.map((each) =>
    bar(each.label, each.judged / each.size, `${each.judged}/${each.size}`)));
  drawFilm(summary, card, film);
}

function drawCard(summary, card) {
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

const words = (said, label) => (said.action === "keep" ? `${label} is right` : said.action === "drop" ? "drop" : `it is ${said.new_label}`);

function bar(name, share, value, classes = "") {
  const fill = element("i");
  fill.style.width = `${100 * Math.min(1, share ?? 0)}%`;
  return element("div", `bar ${classes}`, element("span", "name", name), element("span", "track", fill), element("span", "value", value));
}

function drawPrediction(summary, card) {
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

function drawEstimates(summary) {
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

// The latest verdicts; film = { picture: what gives the small picture of a place, open: what shows its face }.
function drawFilm(summary, card, film) {
  by("unjudged").hidden = summary.recent.length > 0;
  by("legend").hidden = summary.recent.length === 0;
  by("film").replaceChildren(...summary.recent.toReversed().map((each) => {
    const said = each.action === "keep" ? `✓ ${each.label}` : each.action === "drop" ? "✕ drop" : `→ ${each.new_label}`;
    const guess = each.predicted === null ? "no prediction" : `${each.predicted} ${percent(each.confidence)}`;
    const button = element("button", each.action, film.picture(each.place), element("span", "said", said), element("span", "guess", guess));
    button.setAttribute("aria-label", `face ${each.place + 1}: you said ${words(each, each.label)}, the classifier ${guess}`);
    button.setAttribute("aria-current", each.place === card?.place);
    button.addEventListener("click", (event) => { if (event.detail > 0) button.blur(); film.open(each.place); });
    return element("li", "", button);
  }));
}
