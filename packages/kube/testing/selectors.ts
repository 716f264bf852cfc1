// Label selectors and field selectors of the Kubernetes API
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#api).

export type Labels = Readonly<Record<string, string>>;
export type LabelSelector = (labels: Labels) => boolean;

/** The fields of field selectors by kind of object. */
export type SelectableFields = Readonly<Record<string, string>>;
export type FieldSelector = (fields: SelectableFields) => boolean;

const everyKind = ['metadata.name', 'metadata.namespace'];
const selectable: Readonly<Record<string, readonly string[]>> = {
  Pod: [...everyKind, 'spec.nodeName', 'status.phase'],
};

/** A selector for which the server responds with 400 Bad Request. */
export class SelectorError extends Error {}

/** `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, joined with commas. */
export function parseLabelSelector(text: string): LabelSelector {
  const requirements = splitOutsideBrackets(text).map(parseLabelRequirement);
  return (labels) => requirements.every((matches) => matches(labels));
}

/** `metadata.name=x`, `metadata.namespace!=y`, joined with commas, for objects of a kind. */
export function parseFieldSelector(text: string, kind: string): FieldSelector {
  const known = selectable[kind] ?? everyKind;
  const requirements = splitOutsideBrackets(text).map((part) => {
    const match = /^([A-Za-z.]+)(!=|==?)(.*)$/.exec(part);
    const field = match?.[1];
    if (field === undefined || !known.includes(field)) {
      throw new SelectorError(`field label not supported: ${field ?? part}`);
    }
    const wanted = match![3];
    return match![2] === '!='
      ? (fields: SelectableFields) => fields[field] !== wanted
      : (fields: SelectableFields) => fields[field] === wanted;
  });
  return (fields) => requirements.every((matches) => matches(fields));
}

function splitOutsideBrackets(text: string): string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function parseLabelRequirement(text: string): LabelSelector {
  const set = /^([^\s!=()]+)\s+(in|notin)\s+\(([^()]*)\)$/.exec(text);
  if (set) {
    const key = set[1]!;
    const values = set[3]!.split(',').map((value) => value.trim());
    return set[2] === 'in'
      ? (labels) => labels[key] !== undefined && values.includes(labels[key])
      : (labels) => labels[key] === undefined || !values.includes(labels[key]);
  }
  const equality = /^([^\s!=()]+)\s*(!=|==?)\s*([^\s!=()]*)$/.exec(text);
  if (equality) {
    const [, key, operator, value] = equality as unknown as [string, string, string, string];
    return operator === '!='
      ? (labels) => labels[key] !== value
      : (labels) => labels[key] === value;
  }
  const existence = /^(!?)\s*([^\s!=()]+)$/.exec(text);
  if (!existence) throw new SelectorError(`unable to parse requirement: ${text}`);
  const key = existence[2]!;
  return existence[1] === '!'
    ? (labels) => labels[key] === undefined
    : (labels) => labels[key] !== undefined;
}
