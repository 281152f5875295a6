// Reports all traffic of the page's WebSockets. It must run before the SDK is loaded, which then opens its
// sockets with the class below.

/** Fires "frame" events with the detail {time, direction: "out"|"in"|"socket", name, size, message}. */
export const wire = new EventTarget();

const utf8 = new TextEncoder();

function report(direction, name, size = 0, message = undefined) {
  wire.dispatchEvent(new CustomEvent("frame", {detail: {time: new Date(), direction, name, size, message}}));
}

function reportFrame(direction, data) {
  if (typeof data !== "string") {
    report(direction, "binary", data.size ?? data.byteLength);
    return;
  }
  const size = utf8.encode(data).length;
  let message;
  try {
    message = JSON.parse(data);
  } catch {
    report(direction, "not JSON", size, data);
    return;
  }
  report(direction, String(message?.message), size, message);
}

window.WebSocket = class extends window.WebSocket {
  constructor(url, protocols) {
    super(url, protocols);
    this.addEventListener("open", () => report("socket", `open ${this.url}`));
    this.addEventListener("message", (e) => reportFrame("in", e.data));
    this.addEventListener("close", (e) => report("socket", `closed ${e.code} ${e.reason}`.trim()));
  }

  send(data) {
    reportFrame("out", data);
    super.send(data);
  }
};
