/**
 * A place that a Helm value takes, e.g. `.Values.image`. Whoever makes objects only puts it
 * somewhere and cannot compute with it, so what holds for one value holds for all.
 */
export class ChartValue {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }
}

export type Yaml =
  | null
  | boolean
  | number
  | string
  | ChartValue
  | readonly Yaml[]
  | { readonly [name: string]: Yaml | undefined };

/** A value as one line: JSON, or what Helm makes JSON of. */
export function inline(value: Yaml): string {
  return value instanceof ChartValue ? `{{ ${value.path} | toJson }}` : goJson(value);
}

/**
 * JSON as Go's encoding/json writes it, which is what `toJson` of a Helm template gives: names in
 * order, and `<`, `>`, `&` and two line separators as escapes.
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

/** A mapping as YAML document in block style. Fields that are undefined are left out. */
export function writeYaml(value: { readonly [name: string]: Yaml | undefined }): string {
  return `${block(value, '').replace(/^\n/, '')}\n`;
}

/** What comes after `name:` or `-`, with the blank or line break before it. */
function block(value: Yaml, indent: string): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return ' []';
    const deeper = `${indent}  `;
    // A list or mapping begins on the line of its dash.
    const items = (value as readonly Yaml[]).map(
      (item) => `
${indent}- ${block(item, deeper).trimStart()}`,
    );
    return items.join('');
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

function isBranch(value: Yaml): value is { readonly [name: string]: Yaml | undefined } {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof ChartValue)
  );
}

/** Text of whole lines, all printable and the first not indented, is written as such. */
function isLines(value: unknown): value is string {
  return typeof value === 'string' && /^[!-~][ -~]*\n([ -~]*[!-~][ -~]*\n)*$/.test(value);
}

/** Words that no reader of YAML takes for anything but text stay as they are. */
function scalar(text: string): string {
  const isPlain =
    /^[A-Za-z/][\w./-]*$/.test(text) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(text);
  return isPlain ? text : goJson(text);
}
