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
const told = document.getElementById("viewer-told");
const teller = document.getElementById("viewer-teller");
const describe = document.getElementById("viewer-describe");

let at = -1;
let onChange = () => {};
let askFaces = () => {};
let onFace = () => {};
let askCaption = () => 0;
let whoTells = () => "";
let writing = null; // the hit that is being described

export const shown = () => (dialog.open ? hits[at]?.content : undefined);

export function show(position) {
  const hit = hits[position];
  if (!hit) return;
  at = position;
  image.src = larger(hit.thumbnail);
  image.alt = `Photo ${hit.path.slice(hit.path.lastIndexOf("/") + 1)}`;
  path.textContent = hit.path;
  const size = hit.width ? `${hit.width} × ${hit.height}` : "";
  const match = hit.score ? `match ${score(hit.score)}` : "";
  const parts = [dateAndTime(hit.taken_at), size, match];
  facts.textContent = parts.filter(Boolean).join(" · ");
  original.href = `/original/${hit.content}`;
  previous.disabled = at === 0;
  next.disabled = at === hits.length - 1;
  showCaption(hit);
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

// What is said of it; whoever has said it just now, the library keeps nothing of that.
function showCaption(hit) {
  const model = whoTells();
  const known = hit.caption ?? hit.told ?? null;
  told.textContent = known ?? (writing === hit ? "…" : hit.failed ?? "");
  told.className = known === null ? "none" : "";
  const kept = hit.caption === null && hit.told !== undefined ? ", just now" : "";
  teller.textContent = known && writing !== hit && model ? `said by ${model}${kept}` : "";
  describe.hidden = !model || known !== null || writing === hit;
  describe.disabled = writing !== null;
}

function startDescribing() {
  const hit = hits[at];
  if (!hit || writing) return;
  const id = askCaption(hit.content, (frame) => {
    if (frame.type === "caption" && frame.text) hit.told = frame.text;
    if (frame.type === "error" || frame.done) writing = null;
    if (frame.error) {
      delete hit.told;
      hit.failed = `This photo was not described: ${frame.error.message ?? frame.error}.`;
    }
    if (dialog.open) showCaption(hits[at]);
  });
  if (id) {
    writing = hit;
    delete hit.failed;
  } else {
    hit.failed = "The connection is lost; try again in a moment.";
  }
  showCaption(hit);
}

// The connection is gone, and with it whatever was being said.
export function lost() {
  if (!writing) return;
  delete writing.told;
  writing.failed = "The connection was lost meanwhile; try again.";
  writing = null;
  if (dialog.open) showCaption(hits[at]);
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

// changed(content | undefined): what is shown now; faces(content, listener): asks for its faces;
// like(face): one was chosen; caption(content, listener): has it described; teller(): by whom
export function start({ changed, faces, like, caption, teller: who }) {
  onChange = changed;
  askFaces = faces;
  onFace = like;
  askCaption = caption;
  whoTells = who;
  describe.addEventListener("click", startDescribing);
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
