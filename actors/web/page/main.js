// What is asked lives in the address, #q=a%20red%20boat&photo=7: reloading, going back and
// bookmarks work, and what leaves this machine is nothing, since a hash is never sent.

import { Connection } from "./connection.js";
import * as grid from "./grid.js";
import * as state from "./state.js";
import * as viewer from "./viewer.js";
import { count, photos } from "./words.js";

const TYPING_MS = 220;
const SLOW_MS = 250;
const RETRY_MS = 3_000;
const PAGE = 100;
const MOST = 500;
// below it faces are hardly ever of the same person, whatever the model
const LIKE = 0.25;

const DRAWN = ["three red circles", "a blue house in the snow", "a boat at sunset",
  "a striped yellow star", "two people on a beach", "a large heart"];
const SEEN = ["a dog on the beach", "snow on the mountains", "birthday cake with candles",
  "a red car", "people laughing at a table", "flowers in the garden"];

const $ = (id) => document.getElementById(id);
const field = $("query");
const summary = $("summary");
const trouble = $("trouble");
const welcome = $("welcome");
const more = $("more");

let profile = "";
let teller = ""; // the model that describes photos, if there is one
let wanted = null; // the search that the screen should show
let typing = 0;
let retrying = 0;

// ── the address ──

function address() {
  const given = new URLSearchParams(location.hash.slice(1));
  const face = given.get("face");
  return {
    query: (given.get("q") ?? "").trim(),
    face: face && /^\d{1,16}$/.test(face) ? Number(face) : undefined,
    photo: Number(given.get("photo")) || undefined,
  };
}

// What is searched for, as one word: two of the same are the same search.
const asked = ({ query, face }) => (face === undefined ? query : `face ${face}`);

function write({ query, face, photo }, { push }) {
  const parts = new URLSearchParams();
  if (face !== undefined) parts.set("face", face);
  else if (query) parts.set("q", query);
  if (photo) parts.set("photo", photo);
  const hash = parts.toString();
  const url = hash ? `#${hash}` : location.pathname;
  if (push) history.pushState({ photo: Boolean(photo) }, "", url);
  else history.replaceState(history.state, "", url);
  document.title = query ? `${query} · Obscura` : "Obscura";
}

// ── searching ──

function search({ query, face }, k = PAGE) {
  clearTimeout(retrying);
  if (wanted) connection.forget(wanted.id);
  if (!query && face === undefined) {
    wanted = null;
    showWelcome();
    return;
  }
  const continued = wanted && asked(wanted) === asked({ query, face }) && k > wanted.k;
  const now = { query, face, k, id: 0, hits: [], fresh: !continued, frame: 0 };
  wanted = now;
  trouble.hidden = true;
  welcome.hidden = true;
  setTimeout(() => {
    if (wanted === now && now.fresh) grid.fade();
  }, SLOW_MS);
  const request = face === undefined
    ? { type: "search", query, k }
    : { type: "faces_like", face, k, least: LIKE };
  now.id = connection.ask(request, (frame) => hear(now, frame));
}

function hear(now, frame) {
  if (wanted !== now) return;
  if (frame.type === "hit") {
    now.hits.push(frame.hit);
    now.frame ||= requestAnimationFrame(() => render(now));
    return;
  }
  cancelAnimationFrame(now.frame);
  if (frame.type === "error") {
    fail(now, frame.error);
    return;
  }
  render(now);
  grid.unfade();
  showModel(frame);
  const time = `${count(Math.max(1, Math.round(frame.seconds * 1000)))} ms`;
  const what = now.face === undefined ? "" : " with faces like this one";
  const lacking = (frame.degraded ?? "").split("; ").filter((each) => each && each !== "exact");
  const rest = lacking.length ? ` · ${lacking.join(" · ")}` : frame.unlooked ? ` · faces are still to be looked for in ${photos(frame.unlooked)}` : "";
  summary.textContent = (frame.count
    ? `${photos(frame.count)}${what}, best first · searched ${count(frame.indexed)} in ${time}`
    : `Nothing found${what} among ${photos(frame.indexed)}`) + (rest || (frame.count ? "" : "."));
  more.hidden = frame.count < now.k || now.k >= MOST;
  const { photo } = address();
  if (photo) viewer.show(grid.hits.findIndex((hit) => hit.content === photo));
}

function render(now) {
  now.frame = 0;
  if (wanted !== now) return;
  if (now.fresh) {
    grid.clear();
    scrollTo({ top: 0 });
    now.fresh = false;
  }
  const here = new Set(grid.hits.map((hit) => hit.content));
  grid.append(now.hits.filter((hit) => !here.has(hit.content)));
  now.hits = [];
}

function fail(now, error) {
  grid.clear();
  more.hidden = true;
  summary.textContent = "";
  const later = /_away$|_slow$|^busy$/.test(error.code);
  const message = error.message[0].toUpperCase() + error.message.slice(1);
  // what to do about it is done already
  const what = later ? `${message.split(";")[0]}. Trying again by itself` : message;
  $("trouble-text").textContent = `${what}.`;
  trouble.hidden = false;
  if (later) retrying = setTimeout(() => wanted === now && search(now, now.k), RETRY_MS);
}

function showWelcome() {
  grid.clear();
  summary.textContent = "";
  trouble.hidden = true;
  more.hidden = true;
  welcome.hidden = false;
}

function follow() {
  const { query, face, photo } = address();
  clearTimeout(typing);
  if (field.value.trim() !== query) field.value = query;
  document.title = query ? `${query} · Obscura` : "Obscura";
  if (!photo) viewer.close();
  if (asked({ query, face }) !== (wanted ? asked(wanted) : "")) search({ query, face });
  else if (photo) viewer.show(grid.hits.findIndex((hit) => hit.content === photo));
}

function submit(query, { push }) {
  clearTimeout(typing);
  if (query !== asked(address())) write({ query }, { push });
  if (!wanted || query !== asked(wanted)) search({ query });
}

// ── the other end ──

function showModel({ model, demo }) {
  $("demo").hidden = !demo;
  $("model").textContent = `model ${model} · profile ${profile}`;
}

function greet(hello) {
  profile = hello.profile;
  showModel(hello);
  $("roots").textContent = hello.roots.length ? `Searching in ${hello.roots.join(", ")}` : "";
  $("examples").replaceChildren(...(hello.demo ? DRAWN : SEEN).map((example) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = example;
    button.addEventListener("click", () => {
      field.value = example;
      submit(example, { push: true });
    });
    item.append(button);
    return item;
  }));
  connection.ask({ type: "subscribe", topic: "progress" }, (frame) => {
    if (frame.type !== "progress") return;
    state.show(frame);
    const spaces = frame.status.catalog?.spaces ?? [];
    teller = spaces.find(({ kind, state: now }) => kind === "caption" && now === "active")?.pack ?? "";
  });
  const { face } = address();
  const query = field.value.trim();
  if ((query || face !== undefined) && (!wanted || wanted.id === 0 || wanted.fresh)) {
    search({ query, face: query ? undefined : face });
  }
}

const connection = new Connection({
  hello: greet,
  lost(wait) {
    viewer.lost();
    if (wanted?.fresh) wanted.id = 0;
    clearTimeout(retrying);
    const seconds = Math.ceil(wait / 1000);
    state.hideBar();
    state.say("bad", `Connection lost. Trying again in ${seconds} s`);
  },
  locked() {
    state.hideBar();
    state.say("bad", "This session has ended. Open the page again with a fresh link");
  },
});

// ── hands ──

field.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => submit(field.value.trim(), { push: false }), TYPING_MS);
});
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit(field.value.trim(), { push: true });
});
$("again").addEventListener("click", () => {
  connection.retry();
  if (wanted) search(wanted, wanted.k);
});
more.addEventListener("click", () => search(wanted, Math.min(wanted.k + PAGE, MOST)));
$("grid").addEventListener("click", (event) => {
  const button = event.target.closest(".tile");
  if (!button) return;
  grid.focus([...$("grid").querySelectorAll(".tile")].indexOf(button));
  viewer.show(grid.position());
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("viewer").open) return;
  const arrows = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];
  if (event.key === "/" && document.activeElement !== field) {
    field.focus();
    field.select();
  } else if (event.key === "Escape" && document.activeElement !== field) {
    field.focus();
  } else if (event.key === "ArrowDown" && document.activeElement === field) {
    if (!grid.focus(0)) return;
  } else if (arrows.includes(event.key) && grid.position() >= 0) {
    if (!grid.move(event.key) && event.key === "ArrowUp") field.focus();
  } else {
    return;
  }
  event.preventDefault();
});
addEventListener("popstate", follow);

viewer.start({
  changed(content) {
    const now = address();
    if (content) {
      // one step back closes the photo, however many were turned over
      write({ ...now, photo: content }, { push: !now.photo });
    } else if (now.photo) {
      if (history.state?.photo) history.back();
      else write({ ...now, photo: undefined }, { push: false });
    }
  },
  faces: (content, listener) => connection.ask({ type: "faces", content }, listener),
  like(face) {
    // from the photo it was seen in, so that one step back leads to it
    write({ face }, { push: true });
    follow();
  },
  caption: (content, listener) => connection.ask({ type: "describe", content }, listener),
  teller: () => teller,
});

field.value = address().query;
if (field.value || address().face !== undefined) welcome.hidden = true;
