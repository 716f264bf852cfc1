import type { Row } from './cases/case.ts';
import { count } from './report.ts';

// A picture of the ratios as SVG: a row for each variant, a column for each number of services, and
// in each cell a bar from 0 with the figure beside it. A line marks the direct path.

interface Panel {
  readonly case: string;
  readonly title: string;
  readonly hint: string;
}

const panels: readonly Panel[] = [
  {
    case: 'connect',
    title: 'Time to connect, ask and close, compared with a direct connection',
    hint: 'shorter is better; 1.00 = pod to pod without any rule or program',
  },
  {
    case: 'wrk',
    title: 'Requests per second with 2,000 clients, compared with direct connections',
    hint: 'longer is better; a new connection for each request',
  },
];

/** Variants in the order of the picture, with what they are called there. */
const variants: readonly { name: string; label: string; colour: string }[] = [
  { name: 'loopback', label: 'loopback (the limit)', colour: '#cbd5e1' },
  { name: 'direct', label: 'direct', colour: '#94a3b8' },
  { name: 'heddle service', label: 'service through Heddle', colour: '#0f766e' },
  { name: 'heddle any service', label: '… a different one each time', colour: '#2a9d8f' },
  { name: 'heddle direct', label: 'direct, Heddle attached', colour: '#99d5cd' },
  { name: 'nftables service', label: 'service through nftables', colour: '#b45309' },
  { name: 'nftables any service', label: '… a different one each time', colour: '#d98a3d' },
  { name: 'nftables direct', label: 'direct, nftables rules present', colour: '#f2c999' },
  { name: 'iptables service', label: 'service through iptables', colour: '#9f1239' },
  { name: 'iptables any service', label: '… a different one each time', colour: '#cc5068' },
  { name: 'iptables direct', label: 'direct, iptables rules present', colour: '#f0b3bf' },
];

const labelWidth = 216;
const cellWidth = 176;
const barWidth = 112;
const rowHeight = 22;
const headHeight = 74;
const margin = 24;
/** Ratios beyond it are drawn with a gap in their bar. */
const largestRatio = 1.75;
/** Length of the bar of 1.00. */
const directWidth = barWidth / largestRatio;
const font = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"';

/** Returns the chart; undefined when no case of it was measured. */
export function chart(rows: readonly Row[]): string | undefined {
  const shown = panels.filter((panel) => rows.some((row) => row.case === panel.case));
  if (shown.length === 0) return undefined;
  let y = margin;
  let columns = 0;
  const body: string[] = [];
  for (const panel of shown) {
    const own = rows.filter((row) => row.case === panel.case);
    const drawn = drawPanel(panel, own, y);
    body.push(...drawn.body);
    y += drawn.height + margin;
    columns = Math.max(columns, new Set(own.map(({ size }) => size)).size);
  }
  const width = Math.max(2 * margin + labelWidth + columns * cellWidth, 640);
  const caution =
    'Median of ratios taken round by round within one run on a shared machine; kube-proxy rules written by the benchmark.';
  body.push(text(margin, y, caution, 'fill="#64748b" font-size="11"'));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y + margin}" width="${width}" height="${y + margin}" role="img" ${font}>`,
    '<title>Heddle, kube-proxy with iptables and with nftables, compared with direct connections</title>',
    `<rect width="${width}" height="${y + margin}" fill="#ffffff"/>`,
    ...body,
    '</svg>',
    '',
  ].join('\n');
}

function drawPanel({ title, hint }: Panel, rows: readonly Row[], top: number) {
  const sizes = [...new Set(rows.map(({ size }) => size))].sort((a, b) => a - b);
  const present = variants.filter(({ name }) => rows.some(({ variant }) => variant === name));
  const body = [
    text(margin, top + 14, title, 'fill="#0f172a" font-size="16" font-weight="600"'),
    text(margin, top + 34, hint, 'fill="#64748b" font-size="12"'),
  ];
  const bottom = top + headHeight + present.length * rowHeight;
  present.forEach(({ label, name }, i) => {
    const y = top + headHeight + i * rowHeight + 15;
    const weight = name === 'heddle service' ? ' font-weight="600"' : '';
    body.push(
      text(
        margin + labelWidth - 12,
        y,
        label,
        `fill="#1e293b" font-size="12" text-anchor="end"${weight}`,
      ),
    );
  });
  sizes.forEach((size, column) => {
    const x = margin + labelWidth + column * cellWidth;
    const head = `${count(size)} services`;
    body.push(text(x, top + 60, head, 'fill="#1e293b" font-size="12" font-weight="600"'));
    present.forEach((variant, i) => {
      const row = rows.find((each) => each.size === size && each.variant === variant.name);
      const y = top + headHeight + i * rowHeight;
      body.push(...drawBar(x, y, variant.colour, row?.ratioToDirect ?? undefined));
    });
    const mark = x + directWidth;
    body.push(
      `<line x1="${mark}" x2="${mark}" y1="${top + headHeight - 4}" y2="${bottom}" stroke="#0f172a" stroke-width="1" stroke-dasharray="3 3"/>`,
    );
  });
  return { body, height: bottom - top };
}

function drawBar(x: number, y: number, colour: string, ratio: number | undefined): string[] {
  if (ratio === undefined) {
    return [
      text(
        x + directWidth + 6,
        y + 15,
        'not measured',
        'fill="#94a3b8" font-size="11" font-style="italic"',
      ),
    ];
  }
  const length = (Math.min(ratio, largestRatio) / largestRatio) * barWidth;
  const bar = `<rect x="${x}" y="${y + 3}" width="${length.toFixed(1)}" height="${rowHeight - 6}" rx="2" fill="${colour}"/>`;
  // Beside the line of the direct path, never across it.
  const figure = text(
    x + Math.max(length, directWidth) + 6,
    y + 15,
    ratio.toFixed(2),
    'fill="#1e293b" font-size="12" style="font-variant-numeric: tabular-nums"',
  );
  if (ratio <= largestRatio) return [bar, figure];
  const cut = x + length - 16;
  const gap = `<path d="M${cut} ${y + rowHeight - 1} l6 -${rowHeight - 2} h4 l-6 ${rowHeight - 2} z" fill="#ffffff"/>`;
  return [bar, gap, figure];
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x.toFixed(1)}" y="${y}" ${attributes}>${content}</text>`;
}
