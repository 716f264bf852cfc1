import type { ChangedLink } from '../../contract.ts';
import type { Rates } from '../../layout/structure.ts';

/** The meaning of a link's colour. */
export type Tone = 'forwarded' | 'dropped' | 'refused' | 'audit' | 'in' | 'out' | Change;
export type Change = ChangedLink['change'];

/** The colour token of each tone. */
export const toneTokens: Readonly<Record<Tone, string>> = {
  ...{ forwarded: 'thread', dropped: 'drop', refused: 'refuse', audit: 'audit' },
  ...{ in: 'accent', out: 'fresh', new: 'fresh', gone: 'ink-2', more: 'accent', less: 'accent' },
};

/** The sign of each change, which distinguishes them without colour. */
export const changeSigns: Readonly<Record<Change, string>> = {
  ...{ dropped: '✕', refused: '⊘', new: '+', gone: '−', more: '▲', less: '▼' },
};

const dashes: Partial<Record<Tone, string>> = {
  ...{ dropped: '7 4', refused: '2 3', audit: '8 3 2 3', gone: '1 4' },
};

/** The appearance of a drawn link; `thread` stands for the theme's opacity of forwarded links. */
export interface LinkLook {
  readonly tone: Tone;
  readonly width: number;
  readonly opacity: number | 'thread';
  readonly dash: string | undefined;
  readonly hasHead: boolean;
  /** Links with a higher order are drawn over the others. */
  readonly order: number;
}

/** The circumstances of a link beside its rates. */
export interface LinkPlace {
  readonly isInner: boolean;
  /** The relation to the chosen workload: from or to it, between others, or nothing is chosen. */
  readonly relation: 'in' | 'out' | 'other' | 'none';
  /** True for a map of closed cards, whose lines are thinner. */
  readonly isDense: boolean;
  /** True for a link that is not among the strongest. */
  readonly isWeak: boolean;
  /** In a comparison, the change of the link, or `same`. */
  readonly change?: Change | 'same';
}

/** Returns the verdict that a link shows: the worst of what happens to its packets. */
export function worstVerdict({ dropped, refused, audit }: Rates) {
  if (dropped > 0) return 'dropped' as const;
  if (refused > 0) return 'refused' as const;
  return audit > 0 ? ('audit' as const) : ('forwarded' as const);
}

/** Returns the appearance of a link. Its width has one meaning: connections per second, as a logarithm. */
export function linkLook(rates: Rates, place: LinkPlace): LinkLook {
  const { relation, isDense, isInner, isWeak, change } = place;
  const verdict = worstVerdict(rates);
  const isBad = verdict !== 'forwarded';
  const sum = rates.forwarded + rates.dropped + rates.refused;
  const plain = Math.min(6, 0.9 + Math.log10(1 + sum) * (isDense ? 0.62 : 1.05));
  const limited = isInner ? Math.min(plain, 2.2) : plain;
  if (change !== undefined) return comparedLook(limited, change);
  const isMine = relation === 'in' || relation === 'out';
  if (isBad) {
    const width = Math.max(1.8, Math.min(isInner ? 2.2 : 3, plain));
    const opacity = relation === 'other' ? 0.3 : 0.95;
    const order = 2 + Number(isMine);
    return { tone: verdict, width, opacity, dash: dashes[verdict], hasHead: true, order };
  }
  if (isMine) {
    const width = Math.max(1.4, limited * 0.9);
    return { tone: relation, width, opacity: 0.95, dash: undefined, hasHead: true, order: 1 };
  }
  const shown = isDense ? 0.5 : 'thread';
  return {
    tone: 'forwarded',
    width: limited,
    opacity: relation === 'other' ? 0.08 : isWeak ? 0.1 : shown,
    dash: undefined,
    hasHead: !isWeak && relation === 'none',
    order: 0,
  };
}

function comparedLook(width: number, change: Change | 'same'): LinkLook {
  if (change === 'same') {
    return { tone: 'forwarded', width, opacity: 0.1, dash: undefined, hasHead: false, order: 0 };
  }
  return { tone: change, width: 2.3, opacity: 1, dash: dashes[change], hasHead: true, order: 4 };
}
