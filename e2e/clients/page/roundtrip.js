"use strict";
// Loaded after the scripts of e2e/browser/page: publishes a stream, plays it in the same page, and reports
// to the test what the player decodes. Parameters: gateway, name, report.

(async () => {
  const query = new URLSearchParams(location.search);
  const report = (result) => fetch(query.get("report"), {method: "POST", mode: "no-cors", body: JSON.stringify({stream: query.get("name"), ...result})});
  const fail = (why) => report({failure: `${why}\n${journalText()}`});
  window.addEventListener("error", (e) => fail(e.message));
  window.addEventListener("unhandledrejection", (e) => fail(e.reason));
  setTimeout(() => fail("time is over"), 45_000); // less than the test waits
  try {
    const wantStatus = async (index, want) => {
      const {status, info} = await nextStatus(index);
      if (status !== want) throw new Error(`${status} ${info}, want ${want}`);
    };
    const session = await connect(query.get("gateway"), "defaultApp");
    const name = query.get("name");
    const publisher = start(session, "publish", {name, constraints: {audio: true, video: {width: 320, height: 240}}});
    await wantStatus(publisher, STREAM_STATUS.PUBLISHING);
    const player = start(session, "play", {name});
    await wantStatus(player, STREAM_STATUS.PLAYING);
    report(await playing(player, {audio: true, video: true}));
  } catch (error) {
    fail(error);
  }
})();
