"use strict";
// Loaded after journal.js and before the WCS SDK: lets a page resume its session as a client does that
// reconnects below the SDK, and keeps what the room API hands to the app.

const Socket = window.WebSocket;
let resumable;

/** A socket that asks for keepAlive. The SDK does not notice its replacement by another one. */
window.WebSocket = class {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;

  constructor(url) {
    resumable = this;
    this.url = url;
    this.connect(url, (data) => this.onmessage({data}));
    this.socket.onopen = (e) => this.onopen(e);
  }

  connect(url, receive) {
    const socket = new Socket(url);
    socket.onmessage = ({data}) => {
      const {message, data: args} = JSON.parse(data);
      if (message === "getUserData") this.token = args[0].authToken;
      receive(data, message);
    };
    socket.onclose = (e) => { if (this.socket === socket) this.onclose(e); };
    socket.onerror = (e) => { if (this.socket === socket) this.onerror(e); };
    this.socket = socket;
  }

  send(data) {
    const command = JSON.parse(data);
    if (command.message === "connection") {
      command.data[0].keepAlive = true;
      this.connection = command;
    }
    this.socket.send(JSON.stringify(command));
  }

  /** Loses the socket. */
  lose() {
    const lost = this.socket;
    this.socket = null;
    lost.close();
  }

  /** Resumes the session at another address. Resolves when the gateway has accepted it. */
  resume(url) {
    return new Promise((resolve) => {
      const connection = structuredClone(this.connection);
      connection.data[0].authToken = this.token;
      this.connect(url, (data, message) => {
        if (message === "getUserData") {
          resolve(this.token);
        } else {
          this.onmessage({data});
        }
      });
      this.socket.onopen = () => this.socket.send(JSON.stringify(connection));
    });
  }

  close() { this.socket.close(); }
  get readyState() { return this.socket ? this.socket.readyState : Socket.OPEN; }
};

let room;
const seen = [];

/** Joins a room under a login. Resolves when the app has received the room's state. */
function joinRoom(url, login, name) {
  const api = window.RoomApi || Flashphoner.roomApi;
  const sdk = window.RoomApi ? RoomApi.sdk : Flashphoner;
  sdk.init({});
  const saw = (event, participant) => {
    const streams = participant.getStreams().map((s) => s.streamName());
    seen.push([event, participant.name(), ...streams].join(" "));
    note({room: event});
  };
  return new Promise((resolve, reject) => {
    const session = api.connect({urlServer: url, username: login});
    session.on("FAILED", reject);
    session.on("ESTABLISHED", () => {
      room = session.join({name});
      room.on("STATE", (r) => {
        seen.push(["STATE", ...r.getParticipants().map((p) => p.name())].join(" "));
        resolve(true);
      });
      for (const event of ["JOINED", "LEFT", "PUBLISHED"]) room.on(event, (p) => saw(event, p));
      room.on("FAILED", (r, info) => seen.push("FAILED " + info));
      room.on("MESSAGE", (m) => {
        seen.push("MESSAGE " + m.from.name() + ": " + m.text);
        note({room: "MESSAGE"});
      });
    });
  });
}

/** Loses the page's socket. */
function loseSocket() { resumable.lose(); }

/** Resumes the session at another gateway. */
async function resumeAt(url) { await resumable.resume(url); }

/** Waits until this is the app's last callback, and returns all. */
function callbacksUntil(last) { return until(() => seen.at(-1) === last && seen); }

/** The members that the SDK knows, with their streams. */
function participants() {
  return room.getParticipants().map((p) => [p.name(), ...p.getStreams().map((s) => s.streamName())].join(" "));
}
