import type { ServiceEntry } from '@heddle/agent';
import { engineLabels } from './engine.ts';
import {
  type DemoEvent,
  type DemoState,
  recentAnswers,
  recentLatency,
  requestRates,
} from './state.ts';
import { fit, type Line, lineWidth, type Span, spread } from './text.ts';

export interface ViewSize {
  readonly columns: number;
  readonly rows: number;
}

export interface ViewOptions {
  /** True if the terminal has keys. */
  readonly keys: boolean;
}

const maxWidth = 110;
const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const sparks = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];
const blank: Line = [];

/** Returns the view: at most `rows` lines of at most `columns` columns. */
export function renderView(state: DemoState, size: ViewSize, { keys }: ViewOptions): Line[] {
  const width = Math.min(size.columns, maxWidth);
  const above = [
    title(state, width),
    [{ text: '─'.repeat(width), tone: 'dim' }] as Line,
    ...services(state, width),
    blank,
    ...backends(state, width),
    blank,
    ...requests(state, width),
    blank,
    ...latency(state),
    blank,
    heading('Last events'),
  ];
  const below = keys ? [blank, keyLine] : [];
  const room = size.rows - above.length - below.length;
  const events = state.events.slice(-Math.max(room, 1)).map(event);
  // A terminal that is too small doesn't show the last lines; the keys stay.
  const lines = [...above, ...events].slice(0, Math.max(0, size.rows - below.length));
  const gap: Line[] = Array(Math.max(0, size.rows - lines.length - below.length)).fill(blank);
  return [...lines, ...gap, ...below].slice(-size.rows).map((line) => fit(line, width));
}

function heading(text: string): Line {
  return [{ text: ` ${text}`, tone: 'bold' }];
}

function title({ agent, engine, page }: DemoState, width: number): Line {
  const where = engineLabels[engine];
  const pid = agent.pid === undefined ? '' : `, pid ${agent.pid}`;
  const adopted = agent.adopted ? ', maps and links adopted' : '';
  const phase: Span = {
    starting: { text: `agent starting${pid} `, tone: 'busy' } as const,
    running: { text: `agent running${pid}${adopted} `, tone: 'good' } as const,
    killed: { text: `agent killed, ${where} continues `, tone: 'bad' } as const,
  }[agent.phase];
  return spread(
    [
      { text: ' heddle  ', tone: 'title' },
      { text: page ?? `services in ${where}`, tone: page ? 'service' : 'dim' },
    ],
    [phase],
    width,
  );
}

function services({ services: entries }: DemoState, width: number): Line[] {
  const names = entries.map(({ key }) => `${key}  `);
  const nameWidth = Math.max(0, ...names.map((name) => name.length));
  const lines = entries.map((entry, i) => {
    const { active, draining } = entry.backends;
    const counts = `${active} ${active === 1 ? 'backend' : 'backends'}`;
    return spread(
      [
        { text: '   ● ', tone: statusTone(entry) },
        { text: names[i]!.padEnd(nameWidth) },
        { text: address(entry), tone: 'service' },
      ],
      [
        {
          text: entry.status === 'done' ? 'programmed' : statusText(entry),
          tone: statusTone(entry),
        },
        { text: `  ${counts}${draining > 0 ? `, ${draining} draining` : ''} ` },
      ],
      width,
    );
  });
  return [heading('Services'), ...(lines.length > 0 ? lines : [waiting('none yet')])];
}

function statusTone({ status }: ServiceEntry): 'good' | 'busy' | 'bad' {
  return status === 'done' ? 'good' : status === 'pending' ? 'busy' : 'bad';
}

function statusText({ status, reason }: ServiceEntry): string {
  return reason === undefined ? status : `${status}: ${reason}`;
}

function address({ frontends }: ServiceEntry): string {
  const [first] = frontends;
  if (!first) return '';
  return first.address.includes(':')
    ? `[${first.address}]:${first.port}`
    : `${first.address}:${first.port}`;
}

function backends(state: DemoState, width: number): Line[] {
  const { byBackend, all } = recentAnswers(state);
  const names = state.backends.map(({ endpoint }) => endpoint);
  const nameWidth = Math.max(16, ...names.map(({ length }) => length));
  const places = state.backends.map(({ node, path }) => `${node} ${path}`);
  const placeWidth = Math.max(15, ...places.map(({ length }) => length));
  const barWidth = Math.max(4, width - nameWidth - placeWidth - 18);
  const lines = state.backends.map(({ endpoint, phase }, i): Line => {
    const share = all > 0 ? (byBackend.get(endpoint) ?? 0) / all : 0;
    const drawn = bar(share, barWidth);
    return [
      { text: `   ${endpoint.padEnd(nameWidth)}  ` },
      { text: `${places[i]!.padEnd(placeWidth)}  `, tone: 'dim' },
      { text: drawn, tone: phase === 'serving' ? 'service' : 'dim' },
      { text: ' '.repeat(barWidth - drawn.length) },
      phase === 'serving'
        ? { text: percent(share).padStart(10) }
        : { text: phase.padStart(10), tone: 'busy' },
    ];
  });
  return [
    heading('Share of each backend'),
    ...(lines.length > 0 ? lines : [waiting('none: connections are refused at once')]),
  ];
}

function waiting(text: string): Line {
  return [{ text: `   ${text}`, tone: 'dim' }];
}

function requests(state: DemoState, width: number): Line[] {
  const rates = requestRates(state);
  const { requests: all, failed, refused } = state.totals;
  const rate = `   ${whole(rates.at(-1) ?? 0)}/s `;
  const totals: Span[] = [
    { text: `${whole(all)} in all   refused ` },
    { text: whole(refused), tone: refused > 0 ? 'busy' : 'good' },
    { text: '   failed ' },
    { text: whole(failed), tone: failed > 0 ? 'bad' : 'good' },
    { text: ' ' },
  ];
  const room = width - rate.length - lineWidth(totals) - 4;
  return [
    heading('Requests to the service, each on a new connection'),
    spread(
      [{ text: rate }, { text: sparkline(rates.slice(-Math.max(0, room))), tone: 'service' }],
      totals,
      width,
    ),
  ];
}

function latency(state: DemoState): Line[] {
  const [direct50, direct99] = quantiles(state, 'direct');
  const [service50, service99] = quantiles(state, 'service');
  const row = (name: string, tone: Span['tone'], p50: string, p99: string): Line => [
    { text: `   ${name.padEnd(24)}`, ...(tone ? { tone } : {}) },
    { text: `${p50.padStart(12)}${p99.padStart(12)}` },
  ];
  return [
    [
      { text: ` ${'Connect, request, close'.padEnd(26)}`, tone: 'bold' },
      { text: `${'p50'.padStart(12)}${'p99'.padStart(12)}`, tone: 'dim' },
    ],
    row('direct to a pod', 'direct', microseconds(direct50), microseconds(direct99)),
    row('through the service', 'service', microseconds(service50), microseconds(service99)),
    row('service / direct', undefined, ratio(service50, direct50), ratio(service99, direct99)),
  ];
}

function quantiles(state: DemoState, target: 'direct' | 'service') {
  return [recentLatency(state, target, 'p50Us'), recentLatency(state, target, 'p99Us')] as const;
}

function event({ timeMs, from, message, severe }: DemoEvent): Line {
  return [
    { text: `   ${clock(timeMs)}  `, tone: 'dim' },
    { text: from.padEnd(7), tone: from === 'agent' ? 'service' : 'busy' },
    severe ? { text: message, tone: 'bad' } : { text: message },
  ];
}

const keyLine: Line = [
  { text: ' ' },
  ...(
    [
      ['a', 'add a backend'],
      ['r', 'remove one'],
      ['k', 'kill -9 the agent'],
      ['q', 'quit'],
    ] as const
  ).flatMap(([key, does]): Span[] => [{ text: ` ${key} `, tone: 'key' }, { text: ` ${does}   ` }]),
];

/** Returns a bar for a fraction of `width` columns, in eighths of a column. */
export function bar(fraction: number, width: number): string {
  const units = Math.round(fraction * width * 8);
  return '█'.repeat(units >> 3) + eighths[units & 7]!;
}

/** Returns one character for each value, scaled from zero to the largest. */
export function sparkline(values: readonly number[]): string {
  const largest = Math.max(...values, 1);
  return values
    .map((value) => sparks[Math.floor((value / largest) * (sparks.length - 0.001))])
    .join('');
}

/** Returns the time of day in UTC. */
export function clock(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(11, 19);
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1).padStart(5)} %`;
}

export function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function microseconds(value: number | undefined | null): string {
  return value === undefined || value === null ? '-' : `${value.toFixed(1)} µs`;
}

export function ratio(value: number | undefined | null, base: number | undefined | null): string {
  return value && base ? (value / base).toFixed(2) : '-';
}
