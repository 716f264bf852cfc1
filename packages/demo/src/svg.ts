import type { Line, Span, Tone } from './text.ts';

const fontSize = 14;
/** A fixed-width character is 0.6 em wide in the fonts below; textLength adjusts others. */
const columnWidth = 8.4;
const rowHeight = 19;
const margin = 16;
const barHeight = 34;
const fonts =
  "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace";

const background = '#11151c';
const foreground = '#d5dae3';
const colours: Readonly<Record<Tone, string>> = {
  title: '#56d4dd',
  bold: '#ffffff',
  dim: '#7c8698',
  good: '#7bd88f',
  bad: '#ff6b7a',
  busy: '#f2c55c',
  direct: '#82aaff',
  service: '#56d4dd',
  key: background,
};
const boldTones: readonly (Tone | undefined)[] = ['title', 'bold', 'bad'];
const bars = '▏▎▍▌▋▊▉█';
const sparks = '▁▂▃▄▅▆▇';

/**
 * Returns an SVG picture of a terminal with `columns` columns that shows the lines, without
 * scripts.
 */
export function svgOf(lines: readonly Line[], columns: number, title: string): string {
  const width = Math.ceil(columns * columnWidth + 2 * margin);
  const height = barHeight + lines.length * rowHeight + margin;
  const buttons = ['#ff5f57', '#febc2e', '#28c840'].map(
    (colour, i) => `<circle cx="${margin + 6 + i * 20}" cy="17" r="6" fill="${colour}"/>`,
  );
  const rows = lines.map((line, row) => drawLine(line, barHeight + row * rowHeight));
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">
<title>${escaped(title)}</title>
<rect width="${width}" height="${height}" rx="8" fill="${background}"/>
${buttons.join('')}
<g font-family="${fonts}" font-size="${fontSize}" fill="${foreground}" xml:space="preserve">
${rows.filter((row) => row !== '').join('\n')}
</g>
</svg>
`;
}

function drawLine(line: Line, top: number): string {
  let column = 0;
  let drawn = '';
  for (const span of line) {
    drawn += drawSpan(span, column, top);
    column += span.text.length;
  }
  return drawn;
}

function drawSpan({ text, tone }: Span, column: number, top: number): string {
  if (text.trim() === '') return '';
  if (consistsOf(bars, text)) return drawBar(text, column, top, fill(tone));
  if (consistsOf(sparks, text)) return drawSparkline(text, column, top, fill(tone));
  const leading = text.length - text.trimStart().length;
  const shown = text.trim();
  const box =
    tone === 'key'
      ? `<rect x="${x(column)}" y="${top + 1}" width="${round(text.length * columnWidth)}" height="${rowHeight - 2}" rx="3" fill="${foreground}"/>`
      : '';
  const colour = tone === undefined ? '' : ` fill="${fill(tone)}"`;
  const weight = boldTones.includes(tone) ? ' font-weight="bold"' : '';
  return `${box}<text x="${x(column + leading)}" y="${top + 14}" textLength="${round(shown.length * columnWidth)}"${colour}${weight}>${escaped(shown)}</text>`;
}

function consistsOf(characters: string, text: string): boolean {
  return [...text].every((character) => characters.includes(character));
}

// Block characters have gaps in some fonts, so bars are drawn as rectangles.
const blockHeight = rowHeight - 5;

function drawBar(text: string, column: number, top: number, colour: string): string {
  const eighths = [...text].reduce((sum, block) => sum + bars.indexOf(block) + 1, 0);
  return rectangle(column, top + 2, (eighths / 8) * columnWidth, blockHeight, colour);
}

function drawSparkline(text: string, column: number, top: number, colour: string): string {
  return [...text]
    .map((spark, i) => {
      const tall = ((sparks.indexOf(spark) + 1) / 8) * blockHeight;
      return rectangle(column + i, top + 2 + blockHeight - tall, columnWidth - 1, tall, colour);
    })
    .join('');
}

function rectangle(column: number, y: number, wide: number, tall: number, colour: string): string {
  return `<rect x="${x(column)}" y="${round(y)}" width="${round(wide)}" height="${round(tall)}" fill="${colour}"/>`;
}

function fill(tone: Tone | undefined): string {
  return tone === undefined ? foreground : colours[tone];
}

function x(column: number): number {
  return round(margin + column * columnWidth);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
