// The overview, and the pages of a stream and of a session.
import { html, useEffect, useState } from './vendor/preact-htm.js';
import { act, settings } from './feed.js';
import { Button, Host, Moment, Plot, audioText, text, time, videoText } from './parts.js';
import { sessionLink } from './tables.js';

export function Overview({ overview, history, failures }) {
  const t = overview?.totals;
  const minute = (key) => {
    const last = (history?.series[key] || []).slice(-6).filter((v) => v !== null);
    return last.length ? last.reduce((a, b) => a + b, 0) : null;
  };
  const columns = podColumns.filter((c) => !c.spliced || t?.spliced > 0);
  const failed = failures?.rows.length > 0;
  const list = html`<h2>Failures in the last hour</h2><${Failures} failures=${failures} />`;
  return html`<section aria-labelledby="title">
    <h1 id="title" tabindex="-1">Overview</h1>
    <${Trouble} pods=${overview?.pods} silent=${history?.silent} />
    <dl class="figures">
      <div><dt>Sessions</dt><dd>${text(t?.sessions)}</dd></div>
      ${t?.spliced > 0 && html`<div><dt>Spliced sessions</dt><dd>${t.spliced}</dd></div>`}
      <div><dt>Streams</dt><dd>${text(t?.published)}</dd></div>
      <div><dt>Players</dt><dd>${text(t?.played)}</dd></div>
      <div><dt>Publishes per minute</dt><dd>${text(minute('publishes'))}</dd></div>
      <div><dt>Plays per minute</dt><dd>${text(minute('plays'))}</dd></div>
      <div class=${minute('failed') > 0 ? 'bad' : ''}><dt>Failures per minute</dt><dd>${text(minute('failed'))}</dd></div>
    </dl>
    ${failed && list}
    <h2>Last hour</h2>
    <div class="plots">
      <${Plot} title="Sessions" unit="" history=${history} lines=${[{ key: 'sessions', label: 'sessions' }]} />
      <${Plot} title="Streams" unit="" history=${history} lines=${[{ key: 'published', label: 'published' }, { key: 'played', label: 'played' }]} />
      <${Plot} title="Started" unit="per minute" history=${history} lines=${[{ key: 'publishes', label: 'publishes', times: 6 }, { key: 'plays', label: 'plays', times: 6 }]} />
      <${Plot} title="Failed" unit="per minute" history=${history} lines=${[{ key: 'failed', label: 'all', times: 6 }, { key: 'noMedia', label: 'no media connection', times: 6 }]} />
      <${Plot} title="LiveKit calls" unit="ms, at most" history=${history} lines=${[{ key: 'sfuP50', label: 'p50' }, { key: 'sfuP95', label: 'p95' }]} />
      <${Plot} title="Redis calls" unit="ms, at most" history=${history} lines=${[{ key: 'redisP50', label: 'p50' }, { key: 'redisP95', label: 'p95' }]} />
    </div>
    ${!failed && list}
    ${overview?.sides?.length > 0 && html`<h2>Applications with another server</h2><${Sides} sides=${overview.sides} />`}
    <h2>Pods</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Pods"><table class="pods">
      <thead><tr>${columns.map((c) => html`<th key=${c.label} scope="col" class=${c.number ? 'number' : ''}>${c.label}</th>`)}</tr></thead>
      <tbody>${overview?.pods.map((p) => html`<tr key=${p.pod}>${columns.map((c) => html`<td key=${c.label} data-label=${c.label} class=${c.number ? 'number' : ''}>${c.always || p.state !== 'silent' ? c.show(p) : text(null)}</td>`)}</tr>`)}</tbody>
    </table></div>
  </section>`;
}

const server = (upstream) => upstream || 'the gateway';

const sideColumns = [
  { label: 'Application', show: (s) => text(s.app) },
  { label: 'Served by', show: (s) => server(s.upstream) },
  { label: 'Sessions', number: true, show: (s) => s.sessions },
  { label: 'Linked sessions', number: true, linked: true, show: (s) => (s.upstream ? s.linked : text(null)) },
  { label: 'Streams', number: true, show: (s) => s.published },
  { label: 'Players', number: true, show: (s) => s.played },
];

// Sides shows what the gateway and other servers serve of the same applications.
export function Sides({ sides }) {
  const upstreams = [...new Set(sides.map((s) => s.upstream))].filter(Boolean).sort();
  const commands = commandsOf(sides, ['', ...upstreams]);
  const columns = [
    { label: 'Application', show: (r) => text(r.app) },
    { label: 'Command', show: (r) => html`<code>${r.name}</code>` },
    ...['', ...upstreams].map((u) => ({ label: 'By ' + server(u), number: true, show: (r) => r.counts[u] ?? 0 })),
  ];
  return html`<${Grid} label="Applications with another server" rows=${sides}
      columns=${sideColumns.filter((c) => !c.linked || sides.some((s) => s.linked > 0))} />
    <h2>Their commands since the pods' starts</h2>
    <${Grid} label="Commands by server" rows=${commands} columns=${columns} />
    <p class="empty"><a href="docs/migrate-from-wcs.md">What still needs the other server</a></p>`;
}

// commandsOf returns a row for each command of an application, those that the other servers get most first.
function commandsOf(sides, servers) {
  const rows = new Map();
  for (const s of sides) {
    for (const c of s.commands) {
      const at = s.app + ' ' + c.name;
      if (!rows.has(at)) rows.set(at, { app: s.app, name: c.name, counts: {} });
      rows.get(at).counts[s.upstream] = c.count;
    }
  }
  const there = (r) => servers.reduce((sum, u) => sum + (u ? r.counts[u] ?? 0 : 0), 0);
  return [...rows.values()].sort((a, b) => a.app.localeCompare(b.app) || there(b) - there(a) || (b.counts[''] ?? 0) - (a.counts[''] ?? 0));
}

function Grid({ label, rows, columns }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${label}><table>
    <thead><tr>${columns.map((c) => html`<th key=${c.label} scope="col" class=${c.number ? 'number' : ''}>${c.label}</th>`)}</tr></thead>
    <tbody>${rows.map((r) => html`<tr>${columns.map((c) => html`<td key=${c.label} data-label=${c.label} class=${c.number ? 'number' : ''}>${c.show(r)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

const podColumns = [
  { label: 'Host', always: true, show: (p) => html`${p.host || text(null)}${p.self ? ' (serves this page)' : ''}` },
  { label: 'State', always: true, show: (p) => html`<span class=${'state ' + p.state}>${p.state}</span>` },
  { label: 'Health', show: (p) => health(p) },
  { label: 'Load', number: true, show: (p) => html`<span class=${p.load >= 90 ? 'state silent' : p.load >= 75 ? 'state draining' : ''}>${p.load} %</span>` },
  { label: 'Uptime', show: (p) => html`<${Moment} at=${p.started} />` },
  { label: 'Version', show: (p) => text(p.version) },
  { label: 'Sessions', number: true, show: (p) => p.sessions },
  { label: 'Spliced', number: true, spliced: true, show: (p) => p.spliced },
  { label: 'Streams', number: true, show: (p) => p.published },
  { label: 'Players', number: true, show: (p) => p.played },
  { label: 'Pod', always: true, show: (p) => html`<code>${p.pod}</code>` },
];

function health(p) {
  if (!p.health) return 'not examined yet';
  const faults = p.health.filter((f) => f.level === 'fault').length, warnings = p.health.length - faults;
  if (faults > 0) return html`<span class="state silent">${faults === 1 ? '1 fault' : faults + ' faults'}</span>`;
  if (warnings > 0) return html`<span class="state draining">${warnings === 1 ? '1 warning' : warnings + ' warnings'}</span>`;
  return html`<span class="state ready">ok</span>`;
}

// Trouble lists what is wrong, the worst first. Pods with the same finding share a line.
function Trouble({ pods, silent }) {
  if (!pods) return null;
  const lines = [], add = (level, key, what, hint, host) => {
    const same = lines.find((l) => l.key === key);
    if (same) same.hosts.push(host);
    else lines.push({ level, key, what, hint, hosts: [host] });
  };
  for (const p of pods) {
    if (p.state === 'silent') add('fault', 'silent', 'No answer from pods, whose figures are missing', '', p.pod);
    if (p.state === 'draining') add('warning', 'draining', 'Pods shut down', '', p.host || p.pod);
    for (const f of p.health || []) add(f.level, JSON.stringify(f), `${f.check}: ${f.text}`, f.hint, p.host || p.pod);
  }
  for (const pod of silent || []) {
    if (!pods.some((p) => p.pod === pod && p.state === 'silent')) add('fault', 'silent', 'No answer from pods, whose figures are missing', '', pod);
  }
  if (lines.length === 0) {
    const examined = pods.filter((p) => p.health).length;
    return html`<p class="trouble fine" role="status">${examined === pods.length ? 'All pods are in order.' : `${examined} of ${pods.length} pods have examined what they need; these are in order.`}</p>`;
  }
  lines.sort((a, b) => (a.level === b.level ? 0 : a.level === 'fault' ? -1 : 1));
  return html`<ul class="trouble" aria-label="What is wrong">${lines.map((l) => html`<li key=${l.key} class=${l.level}>
    <b>${l.level}</b> ${l.what} ${l.hint && html`<span class="hint">${l.hint}.</span>`} <span class="hosts">${l.hosts.length > 3 ? `${l.hosts.length} pods` : l.hosts.join(', ')}</span></li>`)}</ul>`;
}

const causes = { client: 'client', upstream: 'LiveKit, Redis or backend', internal: 'this server', operator: 'operator' };

const failureColumns = [
  { label: 'Reason', show: (f) => html`<code>${f.reason}</code>` },
  { label: 'Stream', show: (f) => f.kind },
  { label: 'Application', show: (f) => f.app },
  { label: 'Caused by', show: (f) => causes[f.class] || f.class },
  { label: 'Count', number: true, show: (f) => f.count },
  { label: 'Last client', show: (f) => f.address },
  { label: 'Last', show: (f) => html`<${Moment} at=${f.at} /> ago` },
];

// Failures lists the reasons with their last clients.
function Failures({ failures }) {
  if (!failures?.rows.length) return html`<p class="empty">None.</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Failures in the last hour"><table class="failures">
    <thead><tr>${failureColumns.map((c) => html`<th key=${c.label} scope="col" class=${c.number ? 'number' : ''}>${c.label}</th>`)}</tr></thead>
    <tbody>${failures.rows.map((f) => html`<tr key=${[f.kind, f.reason, f.app].join(' ')}>${failureColumns.map((c) => html`<td key=${c.label} data-label=${c.label} class=${c.number ? 'number' : ''}>${c.show(f)}</td>`)}</tr>`)}</tbody>
  </table></div>
  ${failures.more > 0 && html`<p class="empty">${failures.more} less frequent ones are not shown.</p>`}
  <p class="empty"><a href="docs/metrics.md">What the reasons mean</a>, <a href="docs/runbook.md">what to do</a></p>`;
}

// Settings shows the settings in use, without secrets.
export function Settings() {
  const [shown, setShown] = useState('');
  useEffect(() => {
    const gone = new AbortController();
    settings(gone.signal).then(setShown, (e) => gone.signal.aborted || setShown('Failed: ' + e.message));
    return () => gone.abort();
  }, []);
  return html`<section aria-labelledby="title">
    <h1 id="title" tabindex="-1">Settings</h1>
    <p class="empty">In use in the pod that serves this page; secrets are ***. <a href="docs/configuration.md">What they mean</a></p>
    <pre class="scroll" tabindex="0" role="region" aria-label="Settings">${shown || 'Loading …'}</pre>
  </section>`;
}

const Gone = ({ what }) => html`<section aria-labelledby="title"><h1 id="title" tabindex="-1">${what}</h1><p class="empty">It has ended.</p></section>`;

// EndedStream shows why a stream ended.
function EndedStream({ data }) {
  return html`<section aria-labelledby="title">
    <h1 id="title" tabindex="-1">Stream ${data.name}</h1>
    <p class="empty">It has ended${data.name ? '' : ', and no pod knows it any more'}.</p>
    ${data.status && html`<dl class="details">
      <dt>Last status</dt><dd>${data.status}</dd>
      <dt>Info</dt><dd>${text(data.info)}</dd>
      <dt>Reason</dt><dd><a href="docs/metrics.md#reasons"><code>${data.reason}</code></a></dd>
      ${data.class !== 'ok' && html`<dt>Caused by</dt><dd>${causes[data.class] || data.class}</dd>`}
      <dt>Ended</dt><dd><${Moment} at=${data.at} /> ago</dd>
      <dt>Publisher</dt><dd>${data.session}</dd>
      <dt>Application</dt><dd>${data.app}</dd>
      <dt>Media ID</dt><dd>${data.mediaSessionId}</dd>
    </dl>`}
    ${data.name && html`<${Quality} data=${data} /><${Hooks} data=${data} />`}
  </section>`;
}

// Quality plots what the pod of a stream measured.
function Quality({ data }) {
  return html`<h2>Quality</h2>
    ${!data.quality ? html`<p class="empty">Not measured. <a href="docs/rates-and-snapshots.md">What measures it</a></p>` : html`<div class="plots">
      <${Plot} title="Video rate" unit="kbit/s" history=${data.quality} lines=${[{ key: 'kbps', label: 'kbit/s' }]} />
      <${Plot} title="Frames" unit="per second" history=${data.quality} lines=${[{ key: 'fps', label: 'frames' }]} />
      <${Plot} title="Packets lost" unit="in 10 s" history=${data.quality} lines=${[{ key: 'lost', label: 'packets' }]} />
    </div>`}`;
}

// Hooks lists the hooks that were called for a stream.
function Hooks({ data }) {
  return html`<h2>Hooks</h2>
    ${data.hooks.length === 0 ? html`<p class="empty">None called.</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Hooks"><table>
      <thead><tr><th scope="col">Hook</th><th scope="col" class="number">Calls</th><th scope="col">Last</th><th scope="col" class="number">Took, ms</th><th scope="col">Result</th></tr></thead>
      <tbody>${data.hooks.map((h) => html`<tr key=${h.method}><td data-label="Hook">${h.method}</td><td data-label="Calls" class="number">${h.count}</td>
        <td data-label="Last"><${Moment} at=${h.at} /> ago</td><td data-label="Took, ms" class="number">${h.took}</td>
        <td data-label="Result">${h.failed ? html`<span class="state silent">failed</span>` : 'ok'}</td></tr>`)}</tbody>
    </table></div>`}`;
}

const figureLabels = { VIDEO_FPS: 'Frames per second', VIDEO_LOST: 'Packets lost', VIDEO_NACK: 'Packets requested (NACK)', VIDEO_PLI: 'Key frames requested (PLI)' };

export function Stream({ id, data, pods }) {
  if (!data) return html`<section aria-labelledby="title"><h1 id="title" tabindex="-1">Stream</h1><p role="status">Loading …</p></section>`;
  if (data.gone) return html`<${EndedStream} data=${data} />`;
  const byPod = Object.entries(data.playersByPod);
  return html`<section aria-labelledby="title">
    <h1 id="title" tabindex="-1">Stream ${data.name}</h1>
    <dl class="details">
      <dt>Status</dt><dd>${data.status} for <${Moment} at=${data.since} /></dd>
      <dt>Publisher</dt><dd>${sessionLink(data.session)}</dd>
      <dt>Application</dt><dd>${data.app}</dd>
      <dt>Pod</dt><dd><${Host} pod=${data.pod} pods=${pods} /></dd>
      <dt>Media ID</dt><dd>${data.mediaSessionId}</dd>
      <dt>Video</dt><dd>${videoText(data.video)}</dd>
      <dt>Audio</dt><dd>${audioText(data.audio)}</dd>
      <dt>Video rate</dt><dd>${data.kbps === null ? text(null) : `${data.kbps} kbit/s`}</dd>
      ${Object.entries(figureLabels).filter(([k]) => data.figures?.[k] !== undefined).map(([k, label]) => html`<dt key=${k}>${label}</dt><dd>${data.figures[k]}</dd>`)}
      <dt>Players</dt><dd>${data.players}${byPod.map(([pod, n], i) => html`${i === 0 ? ': ' : ', '}${n} on <${Host} pod=${pod} pods=${pods} />`)}</dd>
    </dl>
    <p class="buttons">
      <${Button} label="End stream" danger ask=${`End the stream ${data.name}? Its publisher and its ${data.players} players are notified.`}
        run=${async () => { await act('stream/terminate', { mediaSessionId: id }); return 'Ended.'; }} />
      <${Button} label="Send event" field="Event (JSON)" initial=${'{"text": ""}'} ask=${`Send an event to the ${data.players} players of ${data.name}?`}
        run=${async (value) => { await act('stream/event/send', { mediaSessionId: id, payload: JSON.parse(value) }); return 'Sent.'; }} />
    </p>
    <${Picture} name=${data.name} />
    <${Quality} data=${data} />
    <h2>Players</h2>
    ${data.playersList.length === 0 ? html`<p class="empty">No players.</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Players"><table>
      <thead><tr>${['Session', 'Pod', 'Status', 'Duration'].map((h) => html`<th key=${h} scope="col">${h}</th>`)}</tr></thead>
      <tbody>${data.playersList.map((p) => html`<tr key=${p.mediaSessionId}><td data-label="Session">${sessionLink(p.session)}</td><td data-label="Pod"><${Host} pod=${p.pod} pods=${pods} /></td>
        <td data-label="Status">${p.status}</td><td data-label="Duration"><${Moment} at=${p.since} /></td></tr>`)}</tbody>
    </table></div>`}
    <${Hooks} data=${data} />
  </section>`;
}

// Picture shows a snapshot, taken on request.
function Picture({ name }) {
  const [shown, setShown] = useState(null), [result, setResult] = useState('');
  useEffect(() => () => shown && URL.revokeObjectURL(shown.address), [shown]);
  async function take() {
    setResult('Taking a snapshot …');
    try {
      const { data } = await act('stream/snapshot', { streamName: name });
      const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
      setShown({ address: URL.createObjectURL(new Blob([bytes], { type: 'image/png' })), at: Date.now() });
      setResult('');
    } catch (e) {
      setResult('Failed: ' + e.message);
    }
  }
  return html`<div class="picture">
    <p class="buttons"><button type="button" onClick=${take}>Take a snapshot</button> <span role="status">${result}</span></p>
    ${shown && html`<figure><img src=${shown.address} alt=${`Snapshot of the stream ${name}`} /><figcaption>at ${time(shown.at)}</figcaption></figure>`}
  </div>`;
}

export function Session({ id, data, pods }) {
  if (!data) return html`<section aria-labelledby="title"><h1 id="title" tabindex="-1">Session</h1><p role="status">Loading …</p></section>`;
  if (data.gone) return html`<${Gone} what="Session" />`;
  return html`<section aria-labelledby="title">
    <h1 id="title" tabindex="-1">Session of ${data.login || data.address}</h1>
    <dl class="details">
      <dt>ID</dt><dd>${data.session}</dd>
      <dt>Login</dt><dd>${text(data.login)}</dd>
      <dt>Application</dt><dd>${data.app}</dd>
      <dt>Address</dt><dd>${data.address}</dd>
      <dt>Pod</dt><dd><${Host} pod=${data.pod} pods=${pods} /></dd>
      <dt>Duration</dt><dd><${Moment} at=${data.since} />${data.detached ? ', detached (the client disconnected and can resume)' : ''}</dd>
      <dt>Client</dt><dd>${text(data.client)}</dd>
    </dl>
    <p class="buttons"><${Button} label="End session" danger ask=${`End the session of ${data.login || data.address} and its ${data.streams.length} streams?`}
      run=${async () => { await act('connection/terminate', { sessionId: id }); return 'Ended.'; }} /></p>
    <h2>Streams</h2>
    ${data.streams.length === 0 ? html`<p class="empty">None.</p>` : html`<ul>${data.streams.map((s) => html`<li key=${s.mediaSessionId}>
      ${s.published ? html`publishes <a href=${'#/stream/' + encodeURIComponent(s.mediaSessionId)}>${s.name}</a>` : `plays ${s.name}`}, ${s.status}</li>`)}</ul>`}
    <h2>Last messages</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Last messages"><table>
      <thead><tr><th scope="col">Time</th><th scope="col">Direction</th><th scope="col">Type</th><th scope="col" class="number">Bytes</th></tr></thead>
      <tbody>${data.messages.slice().reverse().map((m, i) => html`<tr key=${m.at + '-' + i}><td data-label="Time">${time(m.at)}</td>
        <td data-label="Direction">${m.dir === 'in' ? 'from the client' : 'to the client'}</td><td data-label="Type">${m.type}</td><td data-label="Bytes" class="number">${m.bytes}</td></tr>`)}</tbody>
    </table></div>
  </section>`;
}
