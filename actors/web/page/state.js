// The line at the foot: what is true right now, in one sentence.

import { count, left, photos, rate } from "./words.js";

const NAMES = {
  catalog: "the library",
  index: "the search index",
  text: "the search model",
  gateway: "the page's own server",
  scheduler: "the photo model's scheduler",
  embed: "the photo model",
  face: "the face model",
  caption: "the caption model",
  ingest: "the folder walker",
  decode: "a photo reader",
};
const FINE = new Set(["ready", "finished"]);
const COMING = new Set(["starting", "waiting", "idle"]);

const line = document.getElementById("state");
const bar = document.getElementById("bar");

export function say(mood, text) {
  line.dataset.mood = mood;
  line.textContent = text;
}

export function hideBar() {
  bar.hidden = true;
}

function human(process) {
  return NAMES[process] ?? NAMES[process.split(/[^a-z]/)[0]] ?? process;
}

function unwell({ processes, index, catalog }) {
  const sentences = new Map();
  if (!catalog) sentences.set(`${NAMES.catalog} does not answer`, true);
  if (!index) sentences.set(`${NAMES.index} does not answer`, true);
  for (const { name, state } of processes) {
    if (FINE.has(state)) continue;
    const verb = COMING.has(state) ? "is starting" : "is down";
    sentences.delete(`${human(name)} does not answer`);
    sentences.set(`${human(name)} ${verb}`, COMING.has(state));
  }
  return sentences;
}

function library(totals, index, catalog) {
  if (!totals) return index ? `${photos(index.vectors)} can be found` : "";
  const all = totals.indexed + totals.pending;
  if (totals.pending > 0) return `${count(totals.indexed)} of ${photos(all)} indexed`;
  if (!all) return catalog?.scanned ? "no photos in these folders" : "no photos yet";
  return `${photos(totals.indexed)} indexed`;
}

// Faces and captions come last and may take longest.
function late(pace, name, what) {
  const { [name]: now, [`${name}_left`]: open, [`${name}_eta_seconds`]: seconds } = pace;
  const why = pace[`${name}_wait`];
  if (!open) return [];
  const parts = [what(photos(open))];
  if (why) parts.push(`which waits: ${why}`);
  else if (now > 0) parts.push(`${rate(now)}/s`);
  if (seconds && !why) parts.push(left(seconds));
  return [parts.join(", ")];
}

function pace({ decode, embed, eta_seconds: seconds }) {
  const parts = [];
  if (decode > 0) parts.push(`reading ${rate(decode)}/s`);
  if (embed > 0) parts.push(`indexing ${rate(embed)}/s`);
  if (seconds) parts.push(left(seconds));
  return parts;
}

export function show({ status, totals, pace: now }) {
  const { catalog, index } = status;
  const parts = [];
  const sick = unwell(status);
  parts.push(...sick.keys());
  const known = library(totals, index, catalog);
  if (known) parts.push(known);
  if (catalog?.paused) parts.push("paused, until you say resume");
  if (catalog?.scanning) parts.push("looking through folders");
  parts.push(...pace(now));
  parts.push(...late(now, "faces", (some) => `faces to be looked for in ${some}`));
  parts.push(...late(now, "captions", (some) => `${some} to be described`));
  const next = catalog?.spaces?.find(({ state, kind }) => state === "building" && kind === "embed");
  if (next) parts.push(`${next.pack} is being built: ${count(next.vectors)} of ${count(catalog.photos ?? 0)}`);
  if (totals?.dead) parts.push(`${count(totals.dead)} could not be read`);
  if (catalog?.scan_error) parts.push(`folders incomplete: ${catalog.scan_error}`);

  const busy = Boolean(totals?.pending) || catalog?.scanning;
  let mood = busy ? "work" : "well";
  if (catalog?.scan_error || catalog?.paused) mood = "wait";
  if (sick.size) mood = [...sick.values()].every(Boolean) ? "wait" : "bad";
  const text = parts.join(" · ") || "nothing is known of the library yet";
  say(mood, text[0].toUpperCase() + text.slice(1));

  bar.hidden = !totals?.pending;
  if (totals?.pending) bar.value = totals.indexed / (totals.indexed + totals.pending);
}
