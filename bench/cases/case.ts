import type { SiteName } from '../sites.ts';
import type { World } from '../world.ts';

/** One line of bench/out/latest.json. */
export interface Row {
  readonly case: string;
  /** The number of programmed services. */
  readonly size: number;
  readonly variant: string;
  /** The median in microseconds; null where the case measures no time. */
  readonly p50Us: number | null;
  /** Median of the ratios to the direct path, round by round; null where there is no direct path. */
  readonly ratioToDirect: number | null;
  /** The interquartile range of the values whose median is `ratioToDirect` (or `p50Us`). */
  readonly spread: number | null;
  readonly [more: string]: unknown;
}

/** A target of the project, and whether this run reaches it. */
export interface Verdict {
  readonly case: string;
  readonly size: number;
  readonly what: string;
  /** The condition as a text, e.g. `<= 1.03`. */
  readonly target: string;
  readonly measured: string;
  readonly met: boolean;
}

export interface Findings {
  readonly rows: readonly Row[];
  readonly verdicts: readonly Verdict[];
  /** Notes for the reader, e.g. why a variant is missing. */
  readonly notes: readonly string[];
}

export interface Case {
  readonly name: string;
  readonly about: string;
  /** Commands that it needs beyond Node.js. */
  readonly commands: readonly string[];
  /** Default: east-west. */
  readonly site?: SiteName;
  /** Numbers of services to measure at. */
  sizes(quick: boolean): readonly number[];
  measure(world: World, size: number, quick: boolean): Promise<Findings>;
}

export function verdict(
  what: Pick<Verdict, 'case' | 'size' | 'what'>,
  measured: number,
  bound: { readonly atMost: number } | { readonly atLeast: number },
  unit = '',
  digits = 2,
): Verdict {
  const isUpper = 'atMost' in bound;
  const limit = isUpper ? bound.atMost : bound.atLeast;
  return {
    ...what,
    target: `${isUpper ? '<=' : '>='} ${limit.toFixed(digits)}${unit}`,
    measured: `${measured.toFixed(digits)}${unit}`,
    met: isUpper ? measured <= limit : measured >= limit,
  };
}
