// The overview, and the pages of a stream and of a session.
import { html, useEffect, useState } from './vendor/preact-htm.js';
import { act } from './feed.js';
import { Button, Moment, Plot, Spark, audioText, text, time, videoText } from './parts.js';
import { sessionLink } from './tables.js';

export function Overview({ overview, history, failures }) {
  const t = overview?.totals;
  const minute = (key) => {
    const last = (history?.series[key] || []).slice(-6).filter((v) => v !== null);
    return last.length ? last.reduce((a, b) => a + b, 0) : null;
  };
  return html`<section aria-labelledby="title">
    <h1 id="title" tabindex="-1">Overview</h1>
    <dl class="figures">
      <div><dt>Sessions</dt><dd>${text(t?.sessions)}</dd></div>
      <div><dt>Streams</dt><dd>${text(t?.published)}</dd></div>
      <div><dt>Players</dt><dd>${text(t?.played)}</dd></div>
      <div><dt>Publishes per minute</dt><dd>${text(minute('publishes'))}</dd></div>
      <div><dt>Plays per minute</dt><dd>${text(minute('plays'))}</dd></div>
    </dl>
    <h2>Last hour</h2>
    <div class="plots">
      <${Plot} title="Sessions" unit="" history=${history} lines=${[{ key: 'sessions', label: 'sessions' }]} />
      <${Plot} title="Streams" unit="" history=${history} lines=${[{ key: 'published', label: 'published' }, { key: 'played', label: 'played' }]} />
      <${Plot} title="Started" unit="per minute" history=${history} lines=${[{ key: 'publishes', label: 'publishes', times: 6 }, { key: 'plays', label: 'plays', times: 6 }]} />
      <${Plot} title="Failed" unit="per minute" history=${history} lines=${[{ key: 'failed', label: 'all', times: 6 }, { key: 'noMedia', label: 'no media connection', times: 6 }]} />
      <${Plot} title="LiveKit calls" unit="ms, at most" history=${history} lines=${[{ key: 'sfuP50', label: 'median' }, { key: 'sfuP95', label: '95th percentile' }]} />
      <${Plot} title="Redis calls" unit="ms, at most" history=${history} lines=${[{ key: 'redisP50', label: 'median' }, { key: 'redisP95', label: '95th percentile' }]} />
    </div>
    <h2>Failures in the last hour</h2>
    <${Failures} failures=${failures} />
    <h2>Pods</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Pods"><table>
      <thead><tr>${['Pod', 'State', 'Version', 'Sessions', 'Streams', 'Players'].map((h, i) => html`<th key=${h} scope="col" class=${i > 2 ? 'number' : ''}>${h}</th>`)}</tr></thead>
      <tbody>${overview?.pods.map((p) => html`<tr key=${p.pod}>
        <td data-label="Pod">${p.pod}${p.self ? ' (serves this page)' : ''}</td><td data-label="State"><span class=${'state ' + p.state}>${p.state}</span></td>
        <td data-label="Version">${text(p.version)}</td>
        ${[['sessions', 'Sessions'], ['published', 'Streams'], ['played', 'Players']].map(([k, label]) => html`<td key=${k} data-label=${label} class="number">${p.state === 'silent' ? text(null) : p[k]}</td>`)}
      </tr>`)}</tbody>
    </table></div>
    ${history?.silent.length > 0 && html`<p>Not included: ${history.silent.join(', ')} (no answer).</p>`}
  </section>`;
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

// Failures lists the reasons of docs/metrics.md#reasons with their last clients.
function Failures({ failures }) {
  if (!failures?.rows.length) return html`<p class="empty">None.</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Failures in the last hour"><table class="failures">
    <thead><tr>${failureColumns.map((c) => html`<th key=${c.label} scope="col" class=${c.number ? 'number' : ''}>${c.label}</th>`)}</tr></thead>
    <tbody>${failures.rows.map((f) => html`<tr key=${[f.kind, f.reason, f.app].join(' ')}>${failureColumns.map((c) => html`<td key=${c.label} data-label=${c.label} class=${c.number ? 'number' : ''}>${c.show(f)}</td>`)}</tr>`)}</tbody>
  </table></div>
  ${failures.more > 0 && html`<p class="empty">${failures.more} less frequent ones are not shown.</p>`}`;
}

function Gone({ what }) {
  return html`<section aria-labelledby="title"><h1 id="title" tabindex="-1">${what}</h1><p class="empty">It has ended.</p></section>`;
}

export function Stream({ id, data }) {
  if (!data) return html`<section aria-labelledby="title"><h1 id="title" tabindex="-1">Stream</h1><p role="status">Loading …</p></section>`;
  if (data.gone) return html`<${Gone} what="Stream" />`;
  const pods = Object.entries(data.playersByPod);
  return html`<section aria-labelledby="title">
    <h1 id="title" tabindex="-1">Stream ${data.name}</h1>
    <dl class="details">
      <dt>Status</dt><dd>${data.status} for <${Moment} at=${data.since} /></dd>
      <dt>Publisher</dt><dd>${sessionLink(data.session)}</dd>
      <dt>Application</dt><dd>${data.app}</dd>
      <dt>Pod</dt><dd>${data.pod}</dd>
      <dt>Media ID</dt><dd>${data.mediaSessionId}</dd>
      <dt>Video</dt><dd>${videoText(data.video)}</dd>
      <dt>Audio</dt><dd>${audioText(data.audio)}</dd>
      <dt>Video rate</dt><dd>${data.kbps === null ? text(null) : html`${data.kbps} kbit/s <${Spark} series=${data.series} label="video rate over time" />`}</dd>
      ${Object.entries(data.figures || {}).filter(([k]) => !/RATE|WIDTH|HEIGHT/.test(k)).map(([k, v]) => html`<dt key=${k}>${k}</dt><dd>${v}</dd>`)}
      <dt>Players</dt><dd>${data.players}${pods.length > 0 ? ': ' + pods.map(([pod, n]) => `${n} on ${pod}`).join(', ') : ''}</dd>
    </dl>
    <p class="buttons">
      <${Button} label="End stream" danger ask=${`End the stream ${data.name}? Its publisher and its ${data.players} players are notified.`}
        run=${async () => { await act('stream/terminate', { mediaSessionId: id }); return 'Ended.'; }} />
      <${Button} label="Send event" field="Event (JSON)" initial=${'{"text": ""}'} ask=${`Send an event to the ${data.players} players of ${data.name}?`}
        run=${async (value) => { await act('stream/event/send', { mediaSessionId: id, payload: JSON.parse(value) }); return 'Sent.'; }} />
    </p>
    <${Picture} name=${data.name} />
    <h2>Players</h2>
    ${data.playersList.length === 0 ? html`<p class="empty">No players.</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Players"><table>
      <thead><tr>${['Session', 'Pod', 'Status', 'Duration'].map((h) => html`<th key=${h} scope="col">${h}</th>`)}</tr></thead>
      <tbody>${data.playersList.map((p) => html`<tr key=${p.mediaSessionId}><td data-label="Session">${sessionLink(p.session)}</td><td data-label="Pod">${p.pod}</td>
        <td data-label="Status">${p.status}</td><td data-label="Duration"><${Moment} at=${p.since} /></td></tr>`)}</tbody>
    </table></div>`}
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

export function Session({ id, data }) {
  if (!data) return html`<section aria-labelledby="title"><h1 id="title" tabindex="-1">Session</h1><p role="status">Loading …</p></section>`;
  if (data.gone) return html`<${Gone} what="Session" />`;
  return html`<section aria-labelledby="title">
    <h1 id="title" tabindex="-1">Session of ${data.login || data.address}</h1>
    <dl class="details">
      <dt>ID</dt><dd>${data.session}</dd>
      <dt>Login</dt><dd>${text(data.login)}</dd>
      <dt>Application</dt><dd>${data.app}</dd>
      <dt>Address</dt><dd>${data.address}</dd>
      <dt>Pod</dt><dd>${data.pod}</dd>
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
