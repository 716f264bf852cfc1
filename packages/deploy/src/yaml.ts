/**
 * The place of a Helm value, e.g. `.Values.image`. The code that makes objects can only put it
 * somewhere and can't compute with it, so the objects have the same form for all values.
 */
export class ChartValue {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }
}

/**
 * Items of a list that are there only if a setting is true, or a text that is not empty. In a chart, the condition is the place of
 * the setting, and Helm decides.
 */
export class OnlyIf {
  readonly condition: Yaml;
  readonly items: readonly Yaml[];

  constructor(condition: Yaml, items: readonly Yaml[]) {
    this.condition = condition;
    this.items = items;
  }
}

export type Yaml =
  | null
  | boolean
  | number
  | string
  | ChartValue
  | OnlyIf
  | readonly Yaml[]
  | { readonly [name: string]: Yaml | undefined };

/** Returns a value on one line: JSON, or a template that Helm replaces with JSON. */
export function inline(value: Yaml): string {
  return value instanceof ChartValue ? `{{ ${value.path} | toJson }}` : goJson(value);
}

/**
 * Returns JSON as Go's encoding/json, and so `toJson` in a Helm template, writes it: names in order, and
 * `<`, `>`, `&` and two line separators escaped.
 */
export function goJson(value: unknown): string {
  const sorted = (_: string, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner;
  return JSON.stringify(value, sorted).replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * Returns a value in which every condition that is known is decided: its items are in the list, or
 * not.
 */
export function decided<Value extends Yaml>(value: Value): Value {
  const inner = (each: Yaml): Yaml => {
    if (Array.isArray(each)) return (each as readonly Yaml[]).flatMap(items);
    if (!isBranch(each)) return each;
    return Object.fromEntries(
      Object.entries(each).map(([name, field]) => [
        name,
        field === undefined ? field : inner(field),
      ]),
    );
  };
  const items = (item: Yaml): readonly Yaml[] => {
    if (!(item instanceof OnlyIf)) return [inner(item)];
    const { condition } = item;
    if (condition instanceof ChartValue) return [new OnlyIf(condition, item.items.flatMap(items))];
    return condition ? item.items.flatMap(items) : [];
  };
  return inner(value) as Value;
}

/** Returns a mapping as a YAML document in block style, without fields that are undefined. */
export function writeYaml(value: { readonly [name: string]: Yaml | undefined }): string {
  return `${block(value, '').replace(/^\n/, '')}\n`;
}

/** Returns the text after `name:` or `-`, with the blank or line break before it. */
function block(value: Yaml, indent: string): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return ' []';
    return (value as readonly Yaml[]).map((item) => listItem(item, indent)).join('');
  }
  if (isBranch(value)) {
    const fields = Object.entries(value).filter(([, inner]) => inner !== undefined);
    if (fields.length === 0) return ' {}';
    return fields
      .map(([name, inner]) => {
        const deeper = Array.isArray(inner) || isBranch(inner!) || isLines(inner);
        return `\n${indent}${scalar(name)}:${block(inner!, deeper ? `${indent}  ` : indent)}`;
      })
      .join('');
  }
  if (isLines(value)) {
    const lines = value.slice(0, -1).split('\n');
    return ` |\n${lines.map((line) => `${indent}${line}`).join('\n')}`;
  }
  return ` ${typeof value === 'string' ? scalar(value) : inline(value)}`;
}

/** Returns the lines of an item of a list, each after its line break. */
function listItem(item: Yaml, indent: string): string {
  if (item instanceof OnlyIf) {
    const { condition, items } = item;
    if (!(condition instanceof ChartValue))
      throw new TypeError('write YAML: a condition is not decided');
    const lines = items.map((each) => listItem(each, indent)).join('');
    return `\n{{- if ${condition.path} }}${lines}\n{{- end }}`;
  }
  // A list or mapping begins on the line of its dash.
  return `\n${indent}- ${block(item, `${indent}  `).trimStart()}`;
}

function isBranch(value: Yaml): value is { readonly [name: string]: Yaml | undefined } {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof ChartValue) &&
    !(value instanceof OnlyIf)
  );
}

/** Returns true for text of whole printable lines, the first not indented: it is written as a block. */
function isLines(value: unknown): value is string {
  return typeof value === 'string' && /^[!-~][ -~]*\n([ -~]*[!-~][ -~]*\n)*$/.test(value);
}

/** Returns a text as a YAML scalar, without quotes if every reader takes it for text. */
function scalar(text: string): string {
  const isPlain =
    /^[A-Za-z/][\w./-]*$/.test(text) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(text);
  return isPlain ? text : goJson(text);
}
