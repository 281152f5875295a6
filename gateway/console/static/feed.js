// The live data: one EventSource, which is opened anew whenever the view changes.

// There may be a login in the address of the page, which fetch would refuse.
const base = location.origin + location.pathname;
const retryFirst = 1000, retryMost = 15000;

// open calls on(event, data) for every event of the view, and state("live" | "lost" | "login"). It returns how to close it.
export function open(params, on, state) {
  let source, timer, wait = retryFirst, closed = false;
  const address = 'live?' + new URLSearchParams(params);

  function connect() {
    source = new EventSource(address);
    for (const name of ['hello', 'overview', 'history', 'rows', 'stream', 'session', 'problem']) {
      source.addEventListener(name, (e) => on(name, JSON.parse(e.data)));
    }
    source.onopen = () => {
      wait = retryFirst;
      state('live');
    };
    source.onerror = again; // the server ends it when its pod shuts down; EventSource itself gives up after a refusal
  }

  async function again() {
    source.close();
    if (closed) return;
    state('lost');
    clearTimeout(timer);
    timer = setTimeout(connect, wait);
    wait = Math.min(2 * wait, retryMost);
    try {
      const page = await fetch(base);
      if (page.status === 401 && !closed) state('login');
    } catch {
      // nobody answers: that is what "lost" says
    }
  }

  connect();
  return () => {
    closed = true;
    clearTimeout(timer);
    source.close();
  };
}

// act has the REST API do something. It throws an Error with the server's words.
export async function act(path, body) {
  const answer = await fetch(new URL('../rest-api/' + path, base), {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  const text = await answer.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    // not every answer is JSON; the status tells
  }
  if (!answer.ok) throw new Error(value?.message || `the server answers ${answer.status}`);
  return value;
}
