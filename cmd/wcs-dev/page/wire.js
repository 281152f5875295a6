// Tells of everything that goes over the page's WebSockets. It has to run before the SDK is loaded,
// which then opens its sockets with the class below without knowing.

/** Fires "frame" events; detail is {time, direction: "out"|"in"|"socket", name, size, message}. */
export const wire = new EventTarget();

const utf8 = new TextEncoder();

function tell(direction, name, size = 0, message = undefined) {
  wire.dispatchEvent(new CustomEvent("frame", {detail: {time: new Date(), direction, name, size, message}}));
}

function tellFrame(direction, data) {
  if (typeof data !== "string") {
    tell(direction, "binary", data.size ?? data.byteLength);
    return;
  }
  const size = utf8.encode(data).length;
  let message;
  try {
    message = JSON.parse(data);
  } catch {
    tell(direction, "not JSON", size, data);
    return;
  }
  tell(direction, String(message?.message), size, message);
}

window.WebSocket = class extends window.WebSocket {
  constructor(url, protocols) {
    super(url, protocols);
    this.addEventListener("open", () => tell("socket", `open ${this.url}`));
    this.addEventListener("message", (e) => tellFrame("in", e.data));
    this.addEventListener("close", (e) => tell("socket", `closed ${e.code} ${e.reason}`.trim()));
  }

  send(data) {
    tellFrame("out", data);
    super.send(data);
  }
};
