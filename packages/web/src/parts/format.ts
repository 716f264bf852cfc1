import { protocolName } from '../protocols.ts';

/** The blank between groups of digits and before units. */
const thin = '\u202f';

/** Returns a rate in three digits, e.g. `0.4`, `38`, `1.8k`. */
export function formatRate(rate: number): string {
  if (!(rate > 0)) return '0';
  if (rate < 0.1) return '< 0.1';
  const steps: readonly [number, string][] = [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ];
  const [size, unit] = steps.find(([limit]) => rate >= limit * 0.9995) ?? [1, ''];
  const value = rate / size;
  return `${value >= 9.95 ? Math.round(value) : trim(value.toFixed(1))}${unit}`;
}

/** Returns a whole number with its digits in groups of three. */
export function formatCount(count: number): string {
  return Math.round(count)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, thin);
}

/** Returns a number of bytes, e.g. `60 B`, `1.5 kB`. */
export function formatBytes(bytes: number): string {
  const text = formatRate(bytes);
  const unit = /[kMG]$/.exec(text)?.[0] ?? '';
  return `${text.slice(0, text.length - unit.length)}${thin}${unit}B`;
}

function trim(text: string): string {
  return text.replace(/\.0$/, '');
}

const two = (value: number) => String(value).padStart(2, '0');

/** Returns the local clock time, `14:10`, with the date before it when that is not the day of `now`. */
export function formatTime(at: number, now: number): string {
  const date = new Date(at);
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return isSameDay(date, new Date(now)) ? clock : `${formatDay(date)}, ${clock}`;
}

/** Returns the local clock time with seconds, `14:10:32`. */
export function formatSeconds(at: number): string {
  const date = new Date(at);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
}

/** Returns the local clock time with milliseconds, `14:10:32.416`. */
export function formatMilliseconds(at: number): string {
  return `${formatSeconds(at)}.${String(Math.floor(at) % 1000).padStart(3, '0')}`;
}

/** Returns a whole time with the offset from UTC, for tooltips. */
export function formatFull(at: number): string {
  const date = new Date(at);
  const offset = -date.getTimezoneOffset();
  const hours = `${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${formatDay(date)} ${date.getFullYear()}, ${formatSeconds(at)} UTC${offset < 0 ? '−' : '+'}${hours}`;
}

/** Returns a time span in words, e.g. `40 s`, `15 min`, `3 h`. */
export function formatSpan(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100 && minutes % 60 !== 0) return `${minutes} min`;
  return minutes < 2880 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} days`;
}

function formatDay(date: Date): string {
  const months = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
  return `${date.getDate()} ${months[date.getMonth()]}`;
}

function isSameDay(one: Date, other: Date): boolean {
  return one.toDateString() === other.toDateString();
}

/** Returns a noun with its number, e.g. `1 pod`, `3 pods`. */
export function formatNumber(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** Returns a protocol and port, `TCP 8443`; port 0 stands for none or several. */
export function formatPort(protocol: number, port: number): string {
  return port === 0 ? protocolName(protocol) : `${protocolName(protocol)} ${port}`;
}

/** Returns the name of one end of a link: NAMESPACE/NAME, or the name alone outside of namespaces. */
export function formatParty({ namespace, name }: { namespace: string; name: string }): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}
