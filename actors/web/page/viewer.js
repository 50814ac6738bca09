// One photo, large.

import { focus, hits, larger } from "./grid.js";
import { dateAndTime, score } from "./words.js";

const dialog = document.getElementById("viewer");
const image = document.getElementById("viewer-image");
const path = document.getElementById("viewer-name");
const facts = document.getElementById("viewer-facts");
const original = document.getElementById("viewer-original");
const previous = document.getElementById("viewer-previous");
const next = document.getElementById("viewer-next");

let at = -1;
let onChange = () => {};

export const shown = () => (dialog.open ? hits[at]?.content : undefined);

export function show(position) {
  const hit = hits[position];
  if (!hit) return;
  at = position;
  image.src = larger(hit.thumbnail);
  image.alt = `Photo ${hit.path.slice(hit.path.lastIndexOf("/") + 1)}`;
  path.textContent = hit.path;
  const size = hit.width ? `${hit.width} × ${hit.height}` : "";
  const parts = [dateAndTime(hit.taken_at), size, `match ${score(hit.score)}`];
  facts.textContent = parts.filter(Boolean).join(" · ");
  original.href = `/original/${hit.content}`;
  previous.disabled = at === 0;
  next.disabled = at === hits.length - 1;
  if (!dialog.open) dialog.showModal();
  for (const near of [hits[at + 1], hits[at - 1]]) {
    if (near) new Image().src = larger(near.thumbnail);
  }
  onChange(hit.content);
}

export function close() {
  if (dialog.open) dialog.close();
}

// changed(content | undefined): what is shown now
export function start(changed) {
  onChange = changed;
  previous.addEventListener("click", () => show(at - 1));
  next.addEventListener("click", () => show(at + 1));
  document.getElementById("viewer-close").addEventListener("click", close);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.tagName === "FIGURE") close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(at - 1);
    else if (event.key === "ArrowRight") show(at + 1);
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("close", () => {
    image.removeAttribute("src");
    focus(at);
    onChange(undefined);
  });
}
