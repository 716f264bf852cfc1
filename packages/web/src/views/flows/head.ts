import { formatCount, formatTime } from '../../parts/format.ts';

/** The numbers that the head of the table is about. */
export interface HeadNumbers {
  readonly isLive: boolean;
  readonly isNarrow: boolean;
  readonly matchedRate: number;
  readonly shownRate: number;
  readonly isExact: boolean;
  readonly loaded: number;
  readonly hasOlder: boolean;
  readonly from: number;
  readonly to: number;
  readonly now: number;
}

/** Returns the head of the table: a number, and the sentence that explains it. */
export function headText(numbers: HeadNumbers): { readonly number: string; readonly text: string } {
  const { isLive, isNarrow, matchedRate, shownRate, isExact, loaded, hasOlder } = numbers;
  if (!isLive) {
    const { from, to, now } = numbers;
    const range = `from ${formatTime(from, now)} to ${formatTime(to, now)}`;
    const more = hasOlder ? 'Scroll down for older ones.' : 'These are all that are kept.';
    return { number: `${formatCount(loaded)} flows`, text: `${range}. ${more}` };
  }
  const number = `${formatCount(matchedRate)} flows/s`;
  const shown = Math.round(shownRate);
  if (shown >= Math.round(matchedRate)) return { number, text: 'match. All are shown.' };
  const drops = isExact ? 'no drop is left out' : 'also of the drops';
  if (isNarrow) {
    const every = isExact ? ', every drop among them' : '';
    return { number, text: `match; ${shown} shown each second${every}` };
  }
  return {
    number,
    text: `match. ${isExact ? '' : 'About '}${shown} of them are shown each second, chosen evenly; ${drops}.`,
  };
}

/** Returns the paths of the head's chart: one bar of three units for each message. */
export function beatPaths(
  beats: readonly { readonly matched: number; readonly troubled: number }[],
): { readonly all: string; readonly trouble: string } {
  const top = Math.max(1, ...beats.map(({ matched }) => matched));
  const bar = (index: number, base: number, height: number) =>
    `M${index * 3} ${base}v${(-height).toFixed(1)}h2v${height.toFixed(1)}z`;
  return {
    all: beats.map(({ matched }, index) => bar(index, 19, (matched / top) * 19)).join(''),
    trouble: beats.map(({ troubled }, index) => (troubled > 0 ? bar(index, 22, 2.5) : '')).join(''),
  };
}
