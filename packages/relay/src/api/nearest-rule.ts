import { ConnectError, createClient } from '@connectrpc/connect';
import {
  Denials,
  DropReason,
  type GetNearestRuleResponse,
  TrafficDirection,
} from '@heddle/hubble/messages';
import type { Explanation } from '@heddle/web/contract';
import type { PeerPool } from '../peers/pool.ts';
import type { LinkRow, RelayFlow } from '../traffic/model.ts';

/** The observers that know policies, and where problems with them are reported. */
export interface NearestSource {
  readonly pool: PeerPool;
  readonly log?: (message: string) => void;
}

type Nearest = Pick<Explanation, 'tests' | 'others' | 'source'>;

const none: Nearest = { tests: [], others: 0 };
/** An observer has this time to answer, in milliseconds. */
const answerMs = 2000;
const testsMax = 5;
const linesMax = 400;
const textMax = 400;

/**
 * Asks the observer that has reported a packet for the rule that comes nearest to allowing it. Without an answer there
 * are no tests: the page shows the rules that came with the flow.
 */
export async function nearestOf(
  { pool, log }: NearestSource,
  { verdict, reason, direction, protocol, port }: LinkRow,
  flow: RelayFlow | undefined,
): Promise<Nearest> {
  if (verdict !== 'dropped' || reason !== DropReason.POLICY_DENIED || !direction) return none;
  const [source, destination] = [flow?.from.address, flow?.to.address];
  if (!flow || !source || !destination) return none;
  const { node } = flow.flow;
  const transport = pool.connected.find(({ peer }) => peer.name === node)?.transport;
  if (!transport) return none;
  try {
    const isIngress = direction === 'ingress';
    const response = await createClient(Denials, transport).getNearestRule(
      {
        ...{ source, destination, protocol, port },
        direction: isIngress ? TrafficDirection.INGRESS : TrafficDirection.EGRESS,
      },
      { timeoutMs: answerMs },
    );
    return nearestFrom(response);
  } catch (error) {
    log?.(`the observer of ${node} explains no drop: ${ConnectError.from(error).message}`);
    return none;
  }
}

/** Reads an answer. What an observer sends is bounded here, too. */
function nearestFrom(response: GetNearestRuleResponse): Nearest {
  const { policy, lines, first, last, failing, others } = response;
  const tests = response.tests.slice(0, testsMax).flatMap(({ what, rule, here, fits }) => {
    const known = kinds.find((kind) => kind === what);
    return known ? [{ what: known, rule: short(rule), here: short(here), fits }] : [];
  });
  const isShown = lines.length > 0 && lines.length <= linesMax && last < lines.length;
  const source = {
    ...{ kind: short(policy), lines: lines.map(short), near: [first, last] as const },
    failing: failing.filter((line) => line < lines.length).slice(0, linesMax),
  };
  return { tests, others, ...(isShown ? { source } : {}) };
}

const kinds = ['direction', 'subject', 'peer', 'protocol', 'port'] as const;

function short(text: string): string {
  return text.slice(0, textMax);
}
