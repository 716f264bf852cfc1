import { styleText } from 'node:util';

/** The emphasis of a piece of text. The terminal and the screenshot each map it to colours. */
export type Tone =
  | 'title'
  | 'bold'
  | 'dim'
  | 'good'
  | 'bad'
  | 'busy'
  | 'direct'
  | 'service'
  | 'key';

export interface Span {
  readonly text: string;
  readonly tone?: Tone;
}

/** One line of the view. Every character in it takes one column. */
export type Line = readonly Span[];

const styles = {
  title: ['bold', 'cyan'],
  bold: 'bold',
  dim: 'dim',
  good: 'green',
  bad: ['bold', 'red'],
  busy: 'yellow',
  direct: 'blue',
  service: 'cyan',
  key: 'inverse',
} as const;

export function lineWidth(line: Line): number {
  return line.reduce((sum, { text }) => sum + text.length, 0);
}

/** Returns the line, truncated with an ellipsis to `width` columns. */
export function fit(line: Line, width: number): Line {
  if (lineWidth(line) <= width) return line;
  const kept: Span[] = [];
  let room = width - 1;
  for (const span of line) {
    if (room <= 0) break;
    const text = span.text.slice(0, room);
    kept.push({ ...span, text });
    room -= text.length;
  }
  return width > 0 ? [...kept, { text: '…', tone: 'dim' }] : [];
}

/** Returns a line with `left` and `right` at its ends; `left` is truncated to fit. */
export function spread(left: Line, right: Line, width: number): Line {
  const room = Math.max(0, width - lineWidth(right) - 2);
  const cut = fit(left, room);
  const gap = Math.max(0, width - lineWidth(cut) - lineWidth(right));
  return fit([...cut, { text: ' '.repeat(gap) }, ...right], width);
}

export function plainText(line: Line): string {
  return line
    .map(({ text }) => text)
    .join('')
    .trimEnd();
}

/** Returns the line with escape sequences for a terminal, without a line end. */
export function terminalText(line: Line, colours: boolean): string {
  if (!colours) return plainText(line);
  return line
    .map(({ text, tone }) => {
      if (tone === undefined || text === '') return text;
      return styleText([styles[tone]].flat(), text, { validateStream: false });
    })
    .join('');
}
