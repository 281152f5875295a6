// Small components of the views.
import { html, useEffect, useRef, useState } from './vendor/preact-htm.js';

const nothing = '–'; // unknown or not measured

export const text = (v) => (v === null || v === undefined || v === '' ? nothing : String(v));

// Host names a pod by its host. Its id is the title, and the name of a pod that does not answer.
export const Host = ({ pod, pods }) => html`<span title=${pod}>${pods?.find((p) => p.pod === pod)?.host || pod}</span>`;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const short = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 2 });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: 'short', timeStyle: 'medium' });

export const time = (ms) => clock.format(ms);

// Moment shows the time since a moment.
export function Moment({ at }) {
  return html`<time datetime=${new Date(at).toISOString()} title=${day.format(at)}>${ago(Date.now() - at)}</time>`;
}

function ago(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
}

// Spark plots the last rates of a stream.
export function Spark({ series, label }) {
  if (!series || series.length < 2) return null;
  const most = Math.max(...series, 1), width = 80, height = 18;
  const points = series.map((v, i) => `${(i * width / (series.length - 1)).toFixed(1)},${(height - 1 - v * (height - 2) / most).toFixed(1)}`);
  return html`<svg class="spark" viewBox="0 0 ${width} ${height}" role="img" aria-label=${label}><polyline points=${points.join(' ')} /></svg>`;
}

export const videoText = (v) => (v ? [v.codec, v.width ? `${v.width}×${v.height}` : '', v.muted ? 'muted' : ''].filter(Boolean).join(' ') : nothing);
export const audioText = (a) => (a ? [a.codec, a.muted ? 'muted' : ''].filter(Boolean).join(' ') : nothing);

// Button runs an action after a confirmation. ask is the question; field is the label of an optional text input, whose
// value is passed to run.
export function Button({ label, ask, field, initial, danger, run }) {
  const dialog = useRef(), opener = useRef();
  const [result, setResult] = useState(''), [busy, setBusy] = useState(false), [value, setValue] = useState(initial || '');
  const close = () => {
    dialog.current.close();
    opener.current?.focus();
  };
  async function go() {
    setBusy(true);
    try {
      setResult(await run(value));
    } catch (e) {
      setResult('Failed: ' + e.message);
    }
    setBusy(false);
    close();
  }
  return html`<span class="act">
    <button type="button" ref=${opener} class=${danger ? 'danger' : ''} disabled=${busy} onClick=${() => { setResult(''); dialog.current.showModal(); }}>${label}</button>
    <span role="status" class="result">${result}</span>
    <dialog ref=${dialog} aria-label=${label}>
      <p>${ask}</p>
      ${field && html`<label>${field}<textarea rows="3" value=${value} onInput=${(e) => setValue(e.target.value)}></textarea></label>`}
      <p class="buttons">
        <button type="button" autofocus=${!field} onClick=${close}>Cancel</button>
        <button type="button" class=${danger ? 'danger' : ''} disabled=${busy} onClick=${go}>${label}</button>
      </p>
    </dialog>
  </span>`;
}

const darkScheme = matchMedia('(prefers-color-scheme: dark)');

function useDark() {
  const [dark, setDark] = useState(darkScheme.matches);
  useEffect(() => {
    const follow = () => setDark(darkScheme.matches);
    darkScheme.addEventListener('change', follow);
    return () => darkScheme.removeEventListener('change', follow);
  }, []);
  return dark;
}

const heightOf = (place) => (place.clientWidth > 480 ? 200 : 160); // px

// Plot shows lines over the last hour, and their current values as text for screen readers.
export function Plot({ title, unit, lines, history }) {
  const place = useRef(), plot = useRef(), dark = useDark();
  useEffect(() => {
    const css = getComputedStyle(document.documentElement);
    const ink = css.getPropertyValue('--soft'), grid = css.getPropertyValue('--line');
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
    plot.current = new uPlot({
      width: place.current.clientWidth || 300, height: heightOf(place.current), legend: { show: false }, cursor: { show: false },
      axes: [{ ...axis, space: 72, size: 26, values: (u, at) => at.map((t) => clock.format(t * 1000).replace(/:\d\d(?=\D*$)/, '')) }, { ...axis, size: 52, values: (u, at) => at.map((v) => short.format(v)) }],
      scales: { y: { range: (u, low, high) => [0, Math.max(1, high * 1.1)] } },
      series: [{}, ...lines.map((l, i) => ({ label: l.label, stroke: (dark ? ['#7db2ff', '#ffb86b', '#7fd99a'] : ['#1f5fbf', '#a85b00', '#1d7a3e'])[i], width: 1.5, spanGaps: false }))],
    }, [[], ...lines.map(() => [])], place.current);
    const fit = new ResizeObserver(() => place.current && plot.current.setSize({ width: place.current.clientWidth, height: heightOf(place.current) }));
    fit.observe(place.current);
    return () => {
      fit.disconnect();
      plot.current.destroy();
    };
  }, [dark]);
  useEffect(() => {
    if (!history) return;
    const n = history.series[lines[0].key]?.length || 0;
    const at = Array.from({ length: n }, (_, i) => (history.end - (n - 1 - i) * history.step) / 1000);
    plot.current.setData([at, ...lines.map((l) => (history.series[l.key] || []).map((v) => (v === null ? null : v * (l.times || 1))))]);
  }, [history, dark]);
  const last = (l) => {
    const known = (history?.series[l.key] || []).filter((v) => v !== null);
    return known.length ? known[known.length - 1] * (l.times || 1) : null;
  };
  return html`<figure class="plot">
    <figcaption>${title} <small>${unit}</small></figcaption>
    <div ref=${place} aria-hidden="true"></div>
    <p class="legend">${lines.map((l, i) => html`<span key=${l.key} class=${'line' + i}>${l.label} <b>${text(last(l))}</b></span>`)}</p>
  </figure>`;
}
