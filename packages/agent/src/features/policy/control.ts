import type { PolicyInput } from '@heddle/objects';
import type { LimitedFeed } from '../../control/limited-feed.ts';
import { ControlError, textParam } from '../../control/protocol.ts';
import type { Methods } from '../../feature.ts';
import type { Page } from '../../status.ts';
import type { Verdict } from './datapath.ts';
import type { Denials } from './denials.ts';
import { type PolicyView, policyDetail, policyEntries, ruleEntry } from './policy-view.ts';
import type { PolicyEntry, PolicyRuleEntry } from './status.ts';

/** The largest number of policies or rules in a page. */
const rowsPerPage = 500;

/** The largest number of objects in a page; most have some 300 bytes. */
const objectsPerPage = 2000;

/** The methods where network policies are off. */
export const withoutPolicies: Methods = {
  'policy.list': () => ({ items: [] }),
  'policy.world': () => ({ items: [] }),
  'policy.rules': () => ({ items: [] }),
  'policy.get': () => {
    throw new ControlError('not-found', isOff('show network policy'));
  },
  'policy.explain': () => {
    throw new ControlError('not-found', isOff('explain denial'));
  },
  'policy.nearest': () => {
    throw new ControlError('not-found', isOff('show nearest rule'));
  },
  'policy.verdicts': () => {
    throw new ControlError('not-found', isOff('watch verdicts of network policies'));
  },
};

/** Returns the control methods about network policies. */
export function policyMethods(
  view: PolicyView,
  feed: LimitedFeed<Verdict>,
  denials: Denials,
): Methods {
  return {
    'policy.explain': (params) => denials.explain(params),
    'policy.nearest': (params) => denials.nearest(params),
    'policy.list': (params): Page<PolicyEntry> => {
      const after = textParam(params, 'after') ?? '';
      return pageOf(
        policyEntries(view),
        ({ policy }) => policy > after,
        ({ policy }) => policy,
      );
    },
    'policy.get': (params) => {
      const key = textParam(params, 'policy') ?? '';
      const detail = policyDetail(view, key);
      if (detail) return detail;
      const remedy = 'heddle policy list shows those that do';
      throw new ControlError(
        'not-found',
        `show network policy: no ${key} selects a pod of this node (${remedy})`,
      );
    },
    'policy.rules': (params): Page<PolicyRuleEntry> => {
      const after = Number(textParam(params, 'after') ?? -1);
      const entries = Array.from(view.datapath.rules(), (each) => ruleEntry(each.rule, each));
      return pageOf(
        entries,
        ({ number }) => number! > after,
        ({ number }) => `${number}`,
      );
    },
    'policy.world': (params): Page<PolicyInput> =>
      worldPage(view.model.records(), Number(textParam(params, 'after') ?? 0)),
    'policy.verdicts': (_params, follow) => {
      feed.follow(follow);
      return { following: true };
    },
  };
}

/** Returns the first items that come after the last page. `nameOf` returns `after` of the page behind an item. */
function pageOf<Item>(
  all: readonly Item[],
  isAfter: (item: Item) => boolean,
  nameOf: (item: Item) => string,
): Page<Item> {
  const left = all.filter(isAfter);
  const items = left.slice(0, rowsPerPage);
  return left.length > items.length ? { items, next: nameOf(items.at(-1)!) } : { items };
}

/**
 * Returns a page of the objects that verdicts depend on, behind the first `after`. A change between two pages may repeat
 * an object or leave it out.
 */
function worldPage(records: Iterable<PolicyInput>, after: number): Page<PolicyInput> {
  const items: PolicyInput[] = [];
  let position = 0;
  for (const record of records) {
    if (position++ < after) continue;
    if (items.length === objectsPerPage) return { items, next: `${after + items.length}` };
    items.push(record);
  }
  return { items };
}

function isOff(what: string): string {
  return `${what}: they are off (set networkPolicy to true where Heddle is the network of the cluster)`;
}
