import type { FindAnswer, ValuesAnswer } from '../contract.ts';
import { keysWith, parseFilter, withWord, wordText } from '../filter/index.ts';
import { formatCount } from '../parts/format.ts';

/** A line below the field: a place to go to, a word of the filter, or the beginning of one. */
export interface FindItem {
  readonly group: string;
  readonly icon: string;
  readonly label: string;
  readonly detail: string;
  /** The hash route that Enter opens. */
  readonly route?: string;
  /** The filter that Enter, or with a route Shift and Enter, makes the present one. */
  readonly filter?: string;
  /** The text that Enter leaves in the field. */
  readonly text?: string;
}

const icons: Readonly<Record<FindAnswer['results'][number]['kind'], string>> = {
  workload: 'kind-Deployment',
  pod: 'kind-Pod',
  service: 'kind-Service',
  policy: 'icon-policy',
  address: 'kind-Outside',
  host: 'kind-Outside',
  node: 'kind-Node',
};
const groupNames: Readonly<Record<FindAnswer['results'][number]['kind'], string>> = {
  workload: 'Workloads and pods',
  pod: 'Workloads and pods',
  service: 'Services',
  policy: 'Policies',
  address: 'Outside',
  host: 'Outside',
  node: 'Nodes',
};

/** The last word of the field, split where its value is to be completed. */
export interface Completion {
  /** The field before the last word. */
  readonly before: string;
  readonly minus: string;
  readonly key: string;
  readonly prefix: string;
}

/** Returns the word at the end of the field that a key's values complete, or undefined. */
export function completionOf(text: string): Completion | undefined {
  const [, before = '', minus = '', key = '', prefix = ''] =
    /^(.*?(?:^|\s))(-?)([a-z]+(?:-[a-z]+)*):"?([^\s"]*)$/s.exec(text) ?? [];
  return key === '' ? undefined : { before, minus, key, prefix };
}

/** Everything that the lines are made from. */
export interface FindSources {
  readonly text: string;
  /** The present filter. */
  readonly filter: string;
  readonly found: FindAnswer['results'];
  readonly values: ValuesAnswer['values'];
  readonly saved: readonly string[];
}

/** Returns the lines below the field, in groups. */
export function findItems(sources: FindSources): FindItem[] {
  const { text, filter, found, values, saved } = sources;
  const completion = completionOf(text);
  if (completion) return valueItems(sources, completion, values);
  const places = found.map(
    ({ kind, name, detail, route, word }): FindItem => ({
      group: groupNames[kind],
      icon: icons[kind],
      label: name,
      detail,
      ...(route === undefined ? {} : { route }),
      filter: withWord(filter, word),
    }),
  );
  const last = /(?:^|\s)-?([a-z-]*)$/.exec(text)?.[1] ?? '';
  const keys = (last === '' ? [] : keysWith(last)).map(
    ({ name, values: wants }): FindItem => ({
      ...{ group: 'Keys of the filter', icon: 'view-flows', label: `${name}:`, detail: wants },
      text: `${text.slice(0, text.length - last.length)}${name}:`,
    }),
  );
  const kept = saved
    .filter((each) => each !== filter && each.includes(text.trim()))
    .map(
      (each): FindItem => ({
        ...{ group: 'Kept filters', icon: 'view-flows', label: each, detail: '', filter: each },
      }),
    );
  return [...places, ...wordItems(sources), ...keys.slice(0, 4), ...kept.slice(0, 6)];
}

/** Returns the line that uses the field as it is, if its words are right. */
function wordItems({ text, filter }: FindSources): FindItem[] {
  const { words } = parseFilter(text);
  if (words.length === 0 || words.some(({ error }) => error)) return [];
  const whole = words.reduce((sum, word) => withWord(sum, word.text), filter);
  const label = words.map((word) => word.text).join(' ');
  return [{ group: 'As a filter', icon: 'view-flows', label, detail: '', filter: whole }];
}

function valueItems(
  { filter }: FindSources,
  { before, minus, key }: Completion,
  values: ValuesAnswer['values'],
): FindItem[] {
  const { words } = parseFilter(before);
  const base = words.reduce((sum, word) => withWord(sum, word.text), filter);
  return values.map(({ value, count }) => {
    const label = `${minus}${wordText(key, value)}`;
    return {
      ...{ group: 'Values', icon: 'view-flows', label, detail: formatCount(count) },
      filter: withWord(base, label),
    };
  });
}

/** Returns the line that Enter takes before the reader moves: a place for a name, none for a word with a key. */
export function firstActive(items: readonly FindItem[]): number {
  return items[0]?.route === undefined ? -1 : 0;
}

/** Returns the parts of a label before, in and after the first occurrence of what was typed. */
export function markParts(label: string, text: string): readonly [string, string, string] {
  const word = text.trim();
  const at = word === '' ? -1 : label.toLowerCase().indexOf(word.toLowerCase());
  if (at < 0) return [label, '', ''];
  return [label.slice(0, at), label.slice(at, at + word.length), label.slice(at + word.length)];
}
