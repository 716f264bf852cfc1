import type { PolicyInput } from '@heddle/objects';
import {
  type Direction,
  judgeDirection,
  nearMisses,
  PolicyWorld,
  type Question,
} from '@heddle/policy';
import { type NearestRule, nearestRule } from '@heddle/policy-tools';
import { formatIp, type Platform, parseIp } from '@heddle/sys';
import { ControlError, textParam } from '../../control/protocol.ts';
import type { Params } from '../../feature.ts';
import { verdictRule } from './policy-view.ts';
import type { DenialReasons } from './status.ts';

const shownMisses = 3;

/** The age in milliseconds up to which changed objects are not read again: reading all of a large cluster takes a while. */
const worldMs = 2000;

/** The reasons why connections are denied, from the present objects. */
export class Denials {
  readonly #platform: Pick<Platform, 'monotonicNs'>;
  readonly #records: () => Iterable<PolicyInput> | undefined;
  #world: { readonly objects: PolicyWorld; readonly readMs: number } | undefined;
  #hasChanged = false;

  /** `records` returns undefined while not all objects have been read. */
  constructor(
    platform: Pick<Platform, 'monotonicNs'>,
    records: () => Iterable<PolicyInput> | undefined,
  ) {
    this.#platform = platform;
    this.#records = records;
  }

  /** Called when objects have changed. */
  changed(): void {
    this.#hasChanged = true;
  }

  /**
   * Answers `policy.explain` about a connection of `source` to `destination` with `protocol` and `port` (a number) in the
   * direction `direction`. Throws ControlError.
   */
  explain(params: Params): DenialReasons {
    const direction = directionOf(params);
    const question = questionOf(params);
    const world = this.#current();
    const { audited, ...enforced } = judgeDirection(world, question, direction);
    const isDenied = enforced.reason === 'default-deny';
    if (!isDenied) {
      const isAudited = audited?.reason === 'default-deny';
      return { isolatedBy: isAudited ? audited.isolatedBy : [], nearest: [] };
    }
    const misses = nearMisses(world, question, direction).slice(0, shownMisses);
    return {
      isolatedBy: enforced.isolatedBy,
      nearest: misses.map(({ rule, differs }) => ({ ...verdictRule(rule)!, differs })),
    };
  }

  /**
   * Answers `policy.nearest`, which has the parameters of `policy.explain`: the rule that comes nearest to allowing the
   * connection, with the text of its policy. Throws ControlError.
   */
  nearest(params: Params): NearestRule {
    return nearestRule(this.#current(), questionOf(params), directionOf(params));
  }

  #current(): PolicyWorld {
    const now = Number(this.#platform.monotonicNs() / 1_000_000n);
    const known = this.#world;
    if (known && (!this.#hasChanged || now - known.readMs < worldMs)) return known.objects;
    const records = this.#records();
    if (!records) {
      throw new ControlError(
        'not-found',
        'explain denial: the agent has not read all objects yet (ask again once heddle status shows that it has)',
      );
    }
    this.#hasChanged = false;
    this.#world = { objects: PolicyWorld.of(records), readMs: now };
    return this.#world.objects;
  }
}

function directionOf(params: Params): Direction {
  const direction = textParam(params, 'direction');
  if (direction === 'egress' || direction === 'ingress') return direction;
  throw badParam('direction', direction, 'egress or ingress');
}

function questionOf(params: Params): Question {
  const address = (name: string): string => {
    const text = textParam(params, name);
    const bytes = text === undefined ? undefined : parseIp(text);
    if (!bytes) throw badParam(name, text, 'an IP address');
    return formatIp(bytes);
  };
  const { port = 0 } = params;
  if (!Number.isInteger(port) || (port as number) < 0 || (port as number) > 65_535) {
    throw badParam('port', port, 'a number from 0 to 65535');
  }
  const protocol = (['TCP', 'UDP', 'SCTP'] as const).find(
    (each) => each === textParam(params, 'protocol'),
  );
  return {
    ...{ from: address('source'), to: address('destination') },
    ...(protocol ? { protocol, port: port as number } : { protocol: 'other', port: 0 }),
  };
}

function badParam(name: string, value: unknown, wanted: string): ControlError {
  return new ControlError(
    'bad-params',
    `explain denial: ${name} is ${JSON.stringify(value) ?? 'missing'} (write ${wanted})`,
  );
}
