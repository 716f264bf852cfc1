import type { WhyEmpty } from '@heddle/web/contract';
import {
  type FilterWord,
  nearest,
  parseFilter,
  replaceWord,
  withoutWord,
} from '@heddle/web/filter';
import { valuesOf } from './find.ts';
import type { NodesState } from './nodes.ts';
import { rowsOf, type View, view } from './view.ts';

type Check = WhyEmpty['checks'][number];

/** Keys whose values are names of objects. */
const nameKeys = ['ns', 'from-ns', 'to-ns', 'with', 'from', 'to', 'svc', 'policy', 'node'];

/** Sentences about traffic that this version cannot observe. */
export const never: readonly string[] = [
  'Traffic of a pod with itself is not observed.',
  'Traffic between processes of one node that are no pods is not observed.',
];

/** Returns the checks of a view without links, in order, until and with the first that fails. */
export function whyEmpty(asked: View, nodes: NodesState): WhyEmpty {
  const checks: Check[] = [];
  for (const check of steps(asked, nodes)) {
    checks.push(check);
    if (!check.isOk) break;
  }
  return { checks, never };
}

function* steps(asked: View, nodes: NodesState): Generator<Check> {
  const { traffic, filter, from, to, now, canSee } = asked;
  yield { id: 'relay', isOk: true, text: 'The relay answers.' };
  const { seen, all } = nodes.count;
  yield {
    id: 'nodes',
    isOk: seen > 0,
    text:
      all === 0
        ? 'The relay knows no node (heddle relay --peer or --node).'
        : `${seen} of ${all} nodes send flows.`,
  };
  const isFlowing = [...traffic.nodes.values()].some(({ flows }) => flows > 0);
  yield {
    id: 'flows',
    isOk: isFlowing,
    text: isFlowing ? 'Flows arrive.' : 'No node has sent a flow yet.',
  };
  const isKept = to > traffic.keptSince;
  const since = new Date(traffic.keptSince).toISOString();
  yield {
    id: 'kept',
    isOk: isKept,
    text: isKept
      ? `The time is within what is kept, since ${since}.`
      : `Links are kept since ${since}; the chosen time is before that.`,
  };
  const day = { from: now - 86_399_000, to: now };
  const everything = view(traffic, parseFilter(''), day.from, day.to, canSee, now);
  for (const [index, word] of filter.words.entries()) {
    const check = nameCheck(word, index, everything, filter.text);
    if (check) yield check;
  }
  yield { id: 'names', isOk: true, text: 'All names of the filter were seen within 24 hours.' };
  yield* wordChecks(asked);
  const isInDay = rowsOf(view(traffic, filter, day.from, day.to, canSee, now)).length > 0;
  const text = isInDay
    ? 'Links match within 24 hours, but not in the chosen time.'
    : 'Nothing matches all words together.';
  yield { id: 'hidden', isOk: rowsOf(asked).some(({ last }) => last >= from), text };
}

function nameCheck(
  word: FilterWord,
  index: number,
  everything: View,
  text: string,
): Check | undefined {
  const { key, value, isExcluded, error } = word;
  if (error || isExcluded || !nameKeys.includes(key)) return undefined;
  const one = parseFilter(word.text);
  const { traffic, from, to, canSee, now } = everything;
  if (rowsOf(view(traffic, one, from, to, canSee, now)).length > 0) return undefined;
  const values = valuesOf(everything, key, '').values.map((each) => each.value);
  const near = nearest(value, values);
  return {
    id: 'names',
    isOk: false,
    text: `Nothing was seen with ${word.text} within 24 hours.`,
    ...(near === undefined
      ? {}
      : {
          remedy: {
            label: `Use ${key}:${near}`,
            filter: replaceWord(text, index, `${key}:${near}`),
          },
        }),
    values: values.slice(0, 12),
  };
}

/** Returns a check for the word without which the most links match. */
function* wordChecks(asked: View): Generator<Check> {
  const { traffic, filter, from, to, canSee, now } = asked;
  const candidates = filter.words.flatMap((word, index) => {
    if (word.error) return [];
    const rest = withoutWord(filter.text, index);
    const count = rowsOf(view(traffic, parseFilter(rest), from, to, canSee, now)).filter(
      (row) => row.last >= from,
    ).length;
    return count === 0 ? [] : [{ word, rest, count }];
  });
  candidates.sort((a, b) => b.count - a.count);
  const [best] = candidates;
  if (!best) {
    yield { id: 'words', isOk: true, text: 'No single word of the filter keeps everything out.' };
    return;
  }
  const { word, rest, count } = best;
  const seen = valuesOf(
    view(traffic, parseFilter(rest), from, to, canSee, now),
    word.key,
    '',
  ).values;
  yield {
    id: word.isExcluded ? 'hidden' : 'words',
    isOk: false,
    text: `Without ${word.text}, ${count} links match.`,
    remedy: { label: `Remove ${word.text}`, filter: rest },
    values: seen.slice(0, 12).map(({ value }) => value),
  };
}
