// The tables of streams and sessions. The server sorts, filters and pages them.
import { html, useEffect, useState } from './vendor/preact-htm.js';
import { Host, Moment, Spark, audioText, text, videoText } from './parts.js';

export const pageSize = 50;

const streamLink = (s) => html`<a href=${'#/stream/' + encodeURIComponent(s.mediaSessionId)}>${s.name}</a>`;
export const sessionLink = (id) => html`<a href=${'#/session/' + encodeURIComponent(id)}>${id}</a>`;

const columns = {
  streams: [
    { key: 'name', label: 'Stream', sort: true, show: streamLink },
    { key: 'app', label: 'Application', sort: true, show: (s) => s.app },
    { key: 'pod', label: 'Pod', sort: true, show: (s, pods) => html`<${Host} pod=${s.pod} pods=${pods} />` },
    { key: 'status', label: 'Status', sort: true, show: (s) => s.status },
    { key: 'since', label: 'Duration', sort: true, show: (s) => html`<${Moment} at=${s.since} />` },
    { key: 'players', label: 'Players', sort: true, number: true, show: (s) => s.players },
    { key: 'video', label: 'Video', show: (s) => videoText(s.video) },
    { key: 'audio', label: 'Audio', show: (s) => audioText(s.audio) },
    { key: 'kbps', label: 'kbit/s', number: true, show: (s) => html`<${Spark} series=${s.series} label="video rate over time" /> ${text(s.kbps)}` },
    { key: 'lost', label: 'Lost', number: true, show: (s) => text(s.figures?.VIDEO_LOST) },
  ],
  sessions: [
    { key: 'session', label: 'Session', sort: true, show: (s) => sessionLink(s.session) },
    { key: 'app', label: 'Application', sort: true, show: (s) => s.app },
    { key: 'pod', label: 'Pod', sort: true, show: (s, pods) => html`<${Host} pod=${s.pod} pods=${pods} />` },
    { key: 'address', label: 'Address', show: (s) => s.address },
    { key: 'since', label: 'Duration', sort: true, show: (s) => html`<${Moment} at=${s.since} />` },
    { key: 'published', label: 'Publishing', number: true, show: (s) => s.published },
    { key: 'played', label: 'Playing', number: true, show: (s) => s.played },
    { key: 'client', label: 'Client', show: (s) => text(s.client) },
  ],
};

const idOf = (r) => r.mediaSessionId || r.session;

// Table shows a page. go changes search, order or page, which are part of the address, so that views can be linked.
export function Table({ view, params, data, ended, pods, go }) {
  const [search, setSearch] = useState(params.q || '');
  useEffect(() => setSearch(params.q || ''), [params.q]);
  useEffect(() => {
    if (search === (params.q || '')) return undefined;
    const timer = setTimeout(() => go({ ...params, q: search, offset: 0 }), 300);
    return () => clearTimeout(timer);
  }, [search]);
  const offset = Number(params.offset || 0), rows = data?.rows;
  const order = (c) => (params.sort === c.key ? (params.desc === '1' ? 'descending' : 'ascending') : 'none');
  const sort = (c) => go({ ...params, sort: c.key, desc: order(c) === 'ascending' ? '1' : '0', offset: 0 });
  const choose = (value) => { // narrow windows have no column heads to click
    const [key, desc] = value.split(' ');
    go({ ...params, sort: key, desc: desc ? '1' : '0', offset: 0 });
  };
  const last = Math.max(0, Math.ceil((data?.matched || 0) / pageSize) - 1) * pageSize;
  return html`<section aria-labelledby="title">
    <h1 id="title" tabindex="-1">${view === 'streams' ? 'Streams' : 'Sessions'}</h1>
    <div class="tools">
      <label>Search <input type="search" value=${search} onInput=${(e) => setSearch(e.target.value)} /></label>
      <label class="narrow">Sort <select value=${params.sort ? params.sort + (params.desc === '1' ? ' desc' : '') : ''} onChange=${(e) => choose(e.target.value)}>
        ${!params.sort && html`<option value="">as found</option>`}
        ${columns[view].filter((c) => c.sort).flatMap((c) => [html`<option value=${c.key}>${c.label} ▲</option>`, html`<option value=${c.key + ' desc'}>${c.label} ▼</option>`])}
      </select></label>
      <p role="status">${data ? (data.matched === data.total ? `${data.total} in total` : `${data.matched} of ${data.total}`) : 'Loading …'}</p>
    </div>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="title">
    <table>
      <thead><tr>${columns[view].map((c) => html`<th key=${c.key} scope="col" class=${c.number ? 'number' : ''} aria-sort=${c.sort ? order(c) : undefined}>
        ${c.sort ? html`<button type="button" onClick=${() => sort(c)}>${c.label}<span aria-hidden="true">${{ ascending: ' ▲', descending: ' ▼', none: '' }[order(c)]}</span></button>` : c.label}
      </th>`)}</tr></thead>
      <tbody>${rows?.map((r) => html`<tr key=${idOf(r)}>${columns[view].map((c) => html`<td key=${c.key} data-label=${c.label} class=${c.number ? 'number' : ''}>${c.show(r, pods)}</td>`)}</tr>`)}</tbody>
    </table>
    </div>
    ${rows && rows.length === 0 && html`<p class="empty">${params.q ? 'No matches.' : 'None.'}</p>`}
    <nav class="pages" aria-label="Pages">
      <button type="button" disabled=${offset === 0} onClick=${() => go({ ...params, offset: Math.max(0, offset - pageSize) })}>Previous</button>
      <span>${rows?.length ? `${offset + 1} to ${offset + rows.length}` : ''}</span>
      <button type="button" disabled=${offset >= last} onClick=${() => go({ ...params, offset: offset + pageSize })}>Next</button>
    </nav>
    ${view === 'streams' && html`<${Ended} ended=${ended} />`}
  </section>`;
}

const endedColumns = [
  { label: 'Stream', show: streamLink },
  { label: 'Application', show: (s) => s.app },
  { label: 'Status', show: (s) => s.status },
  { label: 'Info', show: (s) => text(s.info) },
  { label: 'Reason', show: (s) => html`<code class=${s.failed ? 'bad' : ''}>${s.reason}</code>` },
  { label: 'Ended', show: (s) => html`<${Moment} at=${s.at} /> ago` },
];

// Ended lists the streams that ended last.
function Ended({ ended }) {
  return html`<h2>Ended last</h2>
    ${!ended?.rows.length ? html`<p class="empty">${ended ? 'None.' : 'Loading …'}</p>` : html`<div class="scroll" tabindex="0" role="region" aria-label="Streams that ended last"><table class="ended">
      <thead><tr>${endedColumns.map((c) => html`<th key=${c.label} scope="col">${c.label}</th>`)}</tr></thead>
      <tbody>${ended.rows.map((s) => html`<tr key=${s.session + s.mediaSessionId}>${endedColumns.map((c) => html`<td key=${c.label} data-label=${c.label}>${c.show(s)}</td>`)}</tr>`)}</tbody>
    </table></div>`}`;
}
