"use strict";
// Actions of a WCS SDK user besides publishing and playing.

/** Opens a session by a load balancer's address; no gateway listens on url. Returns the session's index. */
async function connectByLB(url, appKey, lbUrl) {
  await Flashphoner.init({});
  const index = sessions.length;
  const session = Flashphoner.createSession({urlServer: url, lbUrl, appKey});
  sessions.push(session);
  for (const status of Object.values(SESSION_STATUS)) session.on(status, () => note({session: index, status, info: ""}));
  await sessionStatus(index, [SESSION_STATUS.ESTABLISHED, SESSION_STATUS.DISCONNECTED, SESSION_STATUS.FAILED]);
  return index;
}

/** Makes a publisher mute or unmute: method is the SDK's method. */
function mute(index, method) {
  streams[index][method]();
}

/** Makes a publisher send data to the players of its stream. */
function say(index, payload) {
  streams[index].sendData(payload);
}

/** Waits for n events of a stream's callback other than sizes, and returns all of them. */
async function streamEvents(index, n) {
  const all = () => journal.filter((e) => e.stream === index && e.event && e.event !== "resize");
  await until(() => all().length >= n);
  return all().map(({event, payload}) => ({type: event, payload}));
}

/** Starts and stops the session's debugging, waits until both are confirmed, and returns the number of messages received by then. */
async function debug(index) {
  sessions[index].startDebug();
  const told = (status) => until(() => journal.find((e) => e.message === "notifySessionDebugEvent" && e.args[0].status === status));
  await told("STARTED");
  sessions[index].submitBugReport({text: "no picture", type: "test"});
  sessions[index].stopDebug();
  await told("STOPPED");
  await until(() => journal.some((e) => e.session === index && e.status === SESSION_STATUS.DEBUG));
  return {
    pushed: journal.filter((e) => e.message === "pushLogs").length,
    came: journal.filter((e) => e.way === "in").map((e) => e.message),
  };
}

/** Makes a call, waits for its end, and returns its statuses. */
async function callSomebody(index) {
  const display = () => document.body.appendChild(document.createElement("div"));
  const statuses = [];
  const {CALL_STATUS} = Flashphoner.constants;
  const phone = sessions[index].createCall({
    callee: "1000", visibleName: "me", localVideoDisplay: display(), remoteVideoDisplay: display(), constraints: {audio: true, video: false},
  });
  for (const status of Object.values(CALL_STATUS)) {
    phone.on(status, () => {
      statuses.push(status);
      note({call: statuses.length, status});
    });
  }
  phone.call();
  await until(() => statuses.includes(CALL_STATUS.FAILED) || statuses.includes(CALL_STATUS.FINISH));
  return statuses;
}
