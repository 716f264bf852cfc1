import type { NodesAnswer } from '../../contract.ts';
import { formatNumber, formatTime } from '../../parts/format.ts';

type Node = NodesAnswer['nodes'][number];

/** The words for the states of nodes. */
export const stateWords: Readonly<Record<Node['state'], string>> = {
  connected: 'connected',
  unavailable: 'not reached',
  gone: 'gone',
  error: 'error',
};

/** Returns the table of a node that is nearest to being full. */
export function fullest(tables: Node['tables']): Node['tables'][number] | undefined {
  return [...tables].sort((one, other) => other.used / other.size - one.used / one.size)[0];
}

/** Returns sentences about which nodes send flows and what was lost. */
export function nodesSentence(nodes: readonly Node[], now: number): string {
  const connected = nodes.filter(({ state }) => state === 'connected').length;
  const missing = nodes.filter(({ state }) => state !== 'connected');
  const lost = nodes.filter(({ lost24h }) => lost24h > 0);
  const first = `${connected} of ${formatNumber(nodes.length, 'node')} send flows.`;
  const second = missing.map(
    ({ name, since, pods }) =>
      `${name} sends nothing since ${formatTime(since, now)}: its ${formatNumber(pods, 'pod')} are missing here.`,
  );
  const third = lost.map(({ name, lost24h, lastLost }) => {
    const time = lastLost === undefined ? '' : `, last at ${formatTime(lastLost, now)}`;
    return `${formatNumber(lost24h, 'flow')} were lost on ${name}${time}; counters of drops are exact all the same.`;
  });
  const last = third.length > 0 ? third : ['Nothing was lost in 24 h.'];
  return [first, ...second.slice(0, 5), ...last.slice(0, 5)].join(' ');
}
