// The live data: one EventSource, which is reopened when the view changes.

// The address of the page can contain a login, which fetch rejects.
const base = location.origin + location.pathname;
const minRetry = 1000, maxRetry = 15000; // ms

// open calls on(event, data) for every event of the view, and state("live" | "lost" | "login"). It returns a function
// that closes the feed.
export function open(params, on, state) {
  let source, timer, wait = minRetry, closed = false;
  const address = 'live?' + new URLSearchParams(params);

  function connect() {
    source = new EventSource(address);
    for (const name of ['hello', 'overview', 'history', 'failures', 'rows', 'ended', 'stream', 'session', 'problem']) {
      source.addEventListener(name, (e) => on(name, JSON.parse(e.data)));
    }
    source.onopen = () => {
      wait = minRetry;
      state('live');
    };
    source.onerror = retry; // the server ends the feed when its pod shuts down; EventSource does not retry after an error status
  }

  async function retry() {
    source.close();
    if (closed) return;
    state('lost');
    clearTimeout(timer);
    timer = setTimeout(connect, wait);
    wait = Math.min(2 * wait, maxRetry);
    try {
      const page = await fetch(base);
      if (page.status === 401 && !closed) state('login');
    } catch {
      // no server answers: the state is "lost" already
    }
  }

  connect();
  return () => {
    closed = true;
    clearTimeout(timer);
    source.close();
  };
}

// settings returns the settings in use as YAML.
export async function settings(signal) {
  const answer = await fetch(new URL('settings.yaml', base), { signal });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.text();
}

// act calls the REST API. It throws an Error with the server's message.
export async function act(path, body) {
  const answer = await fetch(new URL('../rest-api/' + path, base), {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
  });
  const text = await answer.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    // not every response is JSON; the status is checked below
  }
  if (!answer.ok) throw new Error(value?.message || `status ${answer.status}`);
  return value;
}
