// One published or played stream: its button, status, picture and figures.

import {Meter} from "./stats.js";
import {plainWords} from "./words.js";

const {STREAM_STATUS} = Flashphoner.constants;

/** Fires "change", and "failed" with the explanation as detail. */
export class StreamPanel extends EventTarget {
  /** @param {object} p panel, display, button, status: elements; direction of its media; the statuses up and down; verb on the button; start(stream) */
  constructor(p) {
    super();
    this.p = p;
    this.stream = null; // set from the click until the stream ended
    this.state = STREAM_STATUS.NEW;
    this.stopping = false;
    this.timer = 0; // updates the figures; set once the stream is up
  }

  render(sessionOpen) {
    const {button, status, verb, up} = this.p;
    button.textContent = this.stream ? "Stop" : verb;
    button.disabled = this.stopping || (!this.stream && !sessionOpen);
    status.textContent = this.state;
    status.dataset.state = this.state === up ? "up" : this.stream ? "wait" : this.state === STREAM_STATUS.FAILED ? "failed" : "";
  }

  open(session, options) {
    const stream = session.createStream({display: this.p.display, ...options});
    const follow = (status, then) => stream.on(status, () => {
      if (this.stream !== stream) return;
      this.state = status;
      then?.();
      this.dispatchEvent(new Event("change"));
    });
    follow(STREAM_STATUS.PENDING);
    follow(this.p.up, () => this.measure());
    follow(this.p.down, () => this.ended());
    follow(STREAM_STATUS.FAILED, () => {
      this.dispatchEvent(new CustomEvent("failed", {detail: `${this.p.verb} ${this.timer ? "ended" : "failed"}. ${failure(stream)}`}));
      this.ended();
    });
    this.stream = stream;
    this.state = STREAM_STATUS.PENDING;
    this.p.start(stream);
  }

  stop() {
    this.stopping = true;
    clearInterval(this.timer); // the SDK closes the connection before the gateway answers
    this.stream.stop();
  }

  sound(on) {
    if (!this.stream) return;
    if (on) this.stream.unmuteRemoteAudio(); else this.stream.muteRemoteAudio();
  }

  ended() {
    this.stream = null;
    this.stopping = false;
    clearInterval(this.timer);
    this.timer = 0;
    for (const figure of this.p.panel.querySelectorAll("[data-figure]")) figure.textContent = "–";
  }

  measure() {
    const meter = new Meter(this.p.direction);
    const stream = this.stream;
    const read = () => stream.getStats((stats) => {
      if (this.stream === stream) this.show({size: this.size(), ...meter.read(stats)});
    }, true);
    clearInterval(this.timer);
    this.timer = setInterval(read, 1000);
    read();
  }

  size() {
    const video = this.p.display.querySelector("video");
    return video?.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : "–";
  }

  show(figures) {
    for (const [name, text] of Object.entries(figures)) {
      this.p.panel.querySelector(`[data-figure="${name}"]`).textContent = text;
    }
  }
}

function failure(stream) {
  return plainWords(stream.getErrorInfo() || stream.getInfo()) || "The connection to the gateway was lost.";
}
