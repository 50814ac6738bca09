// The photos found.  Names come from files of strangers: text is only ever set as text.

import { date, faces, name, score } from "./words.js";

const grid = document.getElementById("grid");
const small = matchMedia("(max-width: 40rem)");

// by what a photo was found; without a word, by what it shows
const REASONS = { caption: "found by its caption", both: "found by its caption, too" };

export const hits = [];

function larger(thumbnail) {
  return thumbnail.replace("/256", "/1024");
}

export { larger };

function span(kind, text) {
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}

function tile(hit) {
  const ratio = hit.width && hit.height ? hit.width / hit.height : 1.5;
  // panoramas and slips of paper get a bounded share of a row
  const shown = Math.min(3, Math.max(0.5, ratio));
  const item = document.createElement("li");
  item.style.setProperty("--ratio", shown.toFixed(3));

  const button = document.createElement("button");
  button.type = "button";
  button.className = "tile";
  button.tabIndex = -1;
  const taken = date(hit.taken_at);
  const match = hit.score ? `match ${score(hit.score)}` : "";
  const people = hit.faces ? faces(hit.faces) : "";
  const why = REASONS[hit.reason] ?? "";
  const said = hit.caption ?? "";
  const label = [name(hit.path), taken, people, said, match, why];
  button.setAttribute("aria-label", label.filter(Boolean).join(", "));
  button.title = said ? `${hit.path}\n${said}` : hit.path;

  const image = document.createElement("img");
  image.alt = "";
  image.loading = "lazy";
  image.decoding = "async";
  const side = ratio >= 1 ? 1 : ratio;
  const row = small.matches ? 92 : 184;
  image.sizes = `${Math.round(shown * row * 1.15)}px`;
  image.srcset = `${hit.thumbnail} ${Math.round(256 * side)}w, `
    + `${larger(hit.thumbnail)} ${Math.round(1024 * side)}w`;
  image.src = hit.thumbnail;
  image.addEventListener("error", () => image.classList.add("missing"));

  const caption = document.createElement("span");
  caption.className = taken ? "caption" : "caption undated";
  caption.append(span("name", name(hit.path)), span("date", taken), span("score", match));
  button.append(image, caption);
  if (why) {
    const reason = span("reason", hit.reason);
    reason.setAttribute("aria-hidden", "true"); // said in the label
    button.append(reason);
  }
  if (hit.faces) {
    const badge = span("faces", hit.faces);
    badge.setAttribute("aria-hidden", "true"); // said in the label
    badge.title = people;
    button.append(badge);
  }
  if (hit.face) {
    const picture = document.createElement("img");
    picture.className = "found-face";
    picture.alt = "";
    picture.loading = "lazy";
    picture.src = hit.face.picture;
    picture.addEventListener("error", () => picture.remove());
    button.append(picture);
  }
  item.append(button);
  return item;
}

export function clear() {
  hits.length = 0;
  grid.replaceChildren();
  grid.classList.remove("old");
}

export function fade() {
  grid.classList.add("old");
}

export function unfade() {
  grid.classList.remove("old");
}

export function append(more) {
  const fragment = document.createDocumentFragment();
  for (const hit of more) {
    hits.push(hit);
    fragment.append(tile(hit));
  }
  grid.append(fragment);
  const tiles = all();
  if (tiles.length && !tiles.some((each) => each.tabIndex === 0)) tiles[0].tabIndex = 0;
}

function all() {
  return [...grid.querySelectorAll(".tile")];
}

export function focus(position) {
  const tiles = all();
  const target = tiles[position];
  if (!target) return false;
  for (const each of tiles) each.tabIndex = each === target ? 0 : -1;
  target.focus();
  target.scrollIntoView({ block: "nearest" });
  return true;
}

export function position() {
  return all().indexOf(document.activeElement);
}

// The tile above or below whose middle is nearest.
function vertical(from, direction) {
  const tiles = all();
  const here = tiles[from].getBoundingClientRect();
  const middle = here.left + here.width / 2;
  let best = -1;
  let row = null;
  let distance = Infinity;
  for (let at = from + direction; at >= 0 && at < tiles.length; at += direction) {
    const box = tiles[at].getBoundingClientRect();
    if (Math.abs(box.top - here.top) < 4) continue;
    row ??= box.top;
    if (Math.abs(box.top - row) >= 4) break;
    const away = Math.abs(box.left + box.width / 2 - middle);
    if (away < distance) {
      distance = away;
      best = at;
    }
  }
  return best;
}

// Move the focus by an arrow key; false when there is nowhere to go.
export function move(key) {
  const from = position();
  switch (key) {
    case "ArrowLeft": return focus(from - 1);
    case "ArrowRight": return focus(from + 1);
    case "Home": return focus(0);
    case "End": return focus(hits.length - 1);
    default: return focus(vertical(from, key === "ArrowUp" ? -1 : 1));
  }
}
