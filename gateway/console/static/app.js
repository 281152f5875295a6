// The console's main component: it shows the view of the address, with live data from feed.js.
import { html, render, useEffect, useRef, useState } from './vendor/preact-htm.js';
import { open } from './feed.js';
import { Overview, Session, Settings, Stream } from './pages.js';
import { Moment } from './parts.js';
import { Table, pageSize } from './tables.js';

const loaded = document.querySelector('meta[name=assets]').content;

// currentView reads the view from the address: #/streams?q=… or #/stream/<id>.
function currentView() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [view, id] = path.split('/');
  const known = ['streams', 'sessions', 'stream', 'session', 'settings'].includes(view);
  return { view: known ? view : 'overview', id: id ? decodeURIComponent(id) : '', params: Object.fromEntries(new URLSearchParams(query)) };
}

function go(view, params) {
  const set = Object.entries(params).filter(([, v]) => v !== '' && v !== 0 && v !== undefined);
  location.hash = '#/' + view + (set.length ? '?' + new URLSearchParams(set) : '');
}

function App() {
  const [at, setAt] = useState(currentView());
  const [data, setData] = useState({}), [line, setLine] = useState({ state: 'lost', since: Date.now() });
  const moved = useRef(false);
  useEffect(() => {
    const follow = () => {
      moved.current = true;
      setAt(currentView());
    };
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  const key = JSON.stringify(at);
  useEffect(() => {
    setData((d) => ({ overview: d.overview, history: d.history, failures: d.failures, hello: d.hello }));
    const params = { view: at.view === 'settings' ? 'pods' : at.view };
    if (at.id) params.id = at.id;
    if (at.view === 'streams' || at.view === 'sessions') Object.assign(params, at.params, { limit: pageSize });
    return open(params, (event, value) => setData((d) => ({ ...d, [event]: value })), (state) => setLine((l) => (l.state === state ? l : { state, since: Date.now() })));
  }, [key]);
  useEffect(() => { // a new view focuses its title for screen readers; searching and paging keep the focus
    document.title = { overview: 'Overview', streams: 'Streams', sessions: 'Sessions', stream: 'Stream', session: 'Session', settings: 'Settings' }[at.view] + ' – WCS gateway';
    if (moved.current) document.getElementById('title')?.focus();
  }, [at.view, at.id]);
  const link = (view, label) => html`<a href=${'#/' + (view === 'overview' ? '' : view)} aria-current=${at.view === view ? 'page' : undefined}>${label}</a>`;
  return html`
    <a class="skip" href="#title" onClick=${(e) => { e.preventDefault(); document.getElementById('title')?.focus(); }}>Skip to content</a>
    <header>
      <span class="brand">WCS gateway</span>
      <nav aria-label="Views">${link('overview', 'Overview')}${link('streams', 'Streams')}${link('sessions', 'Sessions')}${link('settings', 'Settings')}<a href="docs/">Documents</a></nav>
      <span class="line" role="status"><${Line} line=${line} hello=${data.hello} /></span>
    </header>
    <main>
      ${data.hello && data.hello.assets !== loaded && html`<p class="note">The server has a different version of this page. <button type="button" onClick=${() => location.reload()}>Reload</button></p>`}
      ${data.problem && html`<p class="note" role="alert">${data.problem.text}</p>`}
      ${at.view === 'overview' && html`<${Overview} overview=${data.overview} history=${data.history} failures=${data.failures} />`}
      ${(at.view === 'streams' || at.view === 'sessions') && html`<${Table} key=${at.view} view=${at.view} params=${at.params}
        data=${data.rows?.view === at.view ? data.rows : null} ended=${data.ended} pods=${data.overview?.pods} go=${(params) => go(at.view, params)} />`}
      ${at.view === 'stream' && html`<${Stream} key=${at.id} id=${at.id} data=${data.stream} pods=${data.overview?.pods} />`}
      ${at.view === 'settings' && html`<${Settings} />`}
      ${at.view === 'session' && html`<${Session} key=${at.id} id=${at.id} data=${data.session} pods=${data.overview?.pods} />`}
    </main>`;
}

// Line shows whether the data are live.
function Line({ line, hello }) {
  switch (line.state) {
    case 'live':
      return html`<span class="state ready">live</span> ${hello ? `${hello.host}, ${hello.version}` : ''}`;
    case 'login':
      return html`<span class="state silent">not live</span> The server requires a new login. <button type="button" onClick=${() => location.reload()}>Log in</button>`;
    default:
      return html`<span class="state draining">not live</span> since <${Moment} at=${line.since} />, connecting …`;
  }
}

render(html`<${App} />`, document.getElementById('app'));
