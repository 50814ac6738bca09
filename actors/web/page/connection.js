// One websocket that comes back.  Whoever asks gets an answer, an error, or is asked again by
// the page after the connection is back: nothing is kept here for a server that is away.

const FIRST_MS = 500;
const LONGEST_MS = 15_000;
const UNAUTHORIZED = 4401;

export class Connection {
  #socket = null;
  #wait = FIRST_MS;
  #timer = 0;
  #id = 0;
  #listeners = new Map();

  // on: { hello(frame), lost(milliseconds), locked() }
  constructor(on) {
    this.on = on;
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.#timer) this.retry();
    });
    this.#open();
  }

  get ready() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  // Say a request; every frame of its answer goes to `listener`.  Returns its id, 0 when away.
  ask(request, listener) {
    if (!this.ready) return 0;
    const id = ++this.#id;
    this.#listeners.set(id, listener);
    this.#socket.send(JSON.stringify({ ...request, id }));
    return id;
  }

  forget(id) {
    this.#listeners.delete(id);
  }

  retry() {
    if (this.#socket) return;
    clearTimeout(this.#timer);
    this.#wait = FIRST_MS;
    this.#open();
  }

  #open() {
    this.#timer = 0;
    const socket = new WebSocket(`ws://${location.host}/ws`);
    this.#socket = socket;
    socket.addEventListener("message", (event) => this.#hear(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => this.#closed(event.code));
    // without a session the server waits for a token, which a page does not have
    socket.addEventListener("open", () => socket.send('{"type":"status","id":0}'));
  }

  #hear(frame) {
    if (frame.type === "hello") {
      this.#wait = FIRST_MS;
      this.on.hello(frame);
      return;
    }
    const listener = this.#listeners.get(frame.id);
    if (!listener) return;
    const last = ["done", "error", "faces", "status", "unsubscribed"].includes(frame.type)
      || (frame.type === "caption" && frame.done);
    if (last) this.forget(frame.id);
    listener(frame);
  }

  #closed(code) {
    this.#socket = null;
    this.#listeners.clear();
    if (code === UNAUTHORIZED) {
      this.on.locked();
      return;
    }
    const wait = this.#wait * (0.8 + 0.4 * Math.random());
    this.#wait = Math.min(this.#wait * 2, LONGEST_MS);
    this.#timer = setTimeout(() => this.#open(), wait);
    this.on.lost(wait);
  }
}
