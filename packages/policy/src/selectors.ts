import { type Labels, labelValue, type Requirement, type Selector } from '@heddle/objects';

/** Returns true if the labels fulfil all requirements of the selector, as Kubernetes defines them. */
export function matchesLabels(selector: Selector, labels: Labels): boolean {
  for (const requirement of selector) if (!fulfils(requirement, labels)) return false;
  return true;
}

function fulfils({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = labelValue(labels, key);
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      // As in Kubernetes, an object without the label fulfils NotIn.
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

/** Returns a text that is equal for selectors with the same requirements in whatever order. */
export function selectorKey(selector: Selector): string {
  return selector
    .map(({ key, operator, values }) => `${key} ${operator} ${values.toSorted().join(',')}`)
    .sort()
    .join('\n');
}
