import type { DatapathStatus } from '@heddle/datapath';

/** The part of a bound from which on a warning is due. */
export const warnFrom = 0.8;

/**
 * Returns warnings about maps of which 80 % or more is taken. `remedies`: the action against a full map, by the
 * name of the map.
 */
export function mapPressure(
  { maps }: Pick<DatapathStatus, 'maps'>,
  remedies: Readonly<Record<string, string>>,
): string[] {
  return maps
    .filter(({ entries, maxEntries }) => entries >= warnFrom * maxEntries)
    .map(({ name, entries, maxEntries }) => {
      const remedy = remedies[name] ?? 'its size is fixed: have fewer of what it holds';
      return `map ${name} has ${entries} of ${maxEntries} entries, ${percent(entries, maxEntries)} (${remedy})`;
    });
}

/** Returns `part` as a percentage of `whole`, rounded down: `83%`. */
export function percent(part: number, whole: number): string {
  return `${Math.floor((100 * part) / whole)}%`;
}
