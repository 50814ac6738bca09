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

const strip = document.getElementById("viewer-faces");

let at = -1;
let onChange = () => {};
let askFaces = () => {};
let onFace = () => {};

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
  strip.replaceChildren();
  if (hit.faces) {
    askFaces(hit.content, (frame) => {
      if (hits[at] === hit && frame.type === "faces") showFaces(frame.faces);
    });
  }
  if (!dialog.open) dialog.showModal();
  for (const near of [hits[at + 1], hits[at - 1]]) {
    if (near) new Image().src = larger(near.thumbnail);
  }
  onChange(hit.content);
}

function showFaces(faces) {
  strip.replaceChildren(...faces.map((face, position) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "More faces like this";
    button.setAttribute("aria-label", `More faces like face ${position + 1}`);
    const picture = document.createElement("img");
    picture.alt = "";
    picture.src = face.picture;
    picture.addEventListener("error", () => button.remove());
    button.append(picture);
    button.addEventListener("click", () => onFace(face.id));
    return button;
  }));
}

export function close() {
  if (dialog.open) dialog.close();
}

// changed(content | undefined): what is shown now; ask(content, listener): its faces;
// like(face): one was chosen
export function start(changed, ask, like) {
  onChange = changed;
  askFaces = ask;
  onFace = like;
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
