import { compactList, sharedText } from './memory.ts';
import type { PartProblems } from './part-problems.ts';
import type { Requirement, Selector } from './policy-records.ts';
import type { SelectorObject } from './policy-schema.ts';

/** Returns a selector, an empty one if it is absent, or undefined, with a sentence, if it can't be used. */
export function readSelector(
  field: string,
  selector: SelectorObject | null | undefined,
  problems: PartProblems,
  consequence: string,
): Selector | undefined {
  const requirements: Requirement[] = [];
  for (const [key, value] of Object.entries(selector?.matchLabels ?? {})) {
    requirements.push({ key: sharedText(key), operator: 'In', values: [sharedText(value)] });
  }
  for (const [i, { key, operator, values }] of (selector?.matchExpressions ?? []).entries()) {
    const at = `${field}.matchExpressions[${i}]`;
    const given = values ?? [];
    switch (operator) {
      case 'In':
      case 'NotIn':
        if (given.length === 0) {
          problems.add(`${at}.values`, values, `must have a value for ${operator}; ${consequence}`);
          return undefined;
        }
        break;
      case 'Exists':
      case 'DoesNotExist':
        if (given.length > 0) {
          problems.add(`${at}.values`, values, `must be empty for ${operator}; ${consequence}`);
          return undefined;
        }
        break;
      default:
        problems.add(
          `${at}.operator`,
          operator,
          `must be In, NotIn, Exists or DoesNotExist; ${consequence}`,
        );
        return undefined;
    }
    requirements.push({
      key: sharedText(key),
      operator,
      values: compactList(given.map(sharedText)),
    });
  }
  return compactList(requirements);
}
