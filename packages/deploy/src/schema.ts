/** The part of JSON Schema that settings are described with, here and in the Helm chart. */
export interface Schema {
  readonly type: 'string' | 'integer' | 'array' | 'object' | readonly ('string' | 'integer')[];
  /** What to write, for messages. */
  readonly description?: string;
  readonly pattern?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | false;
  readonly required?: readonly string[];
}

/** What is wrong with a value: the place (dotted, empty for the value itself) and the cause. */
export interface Fault {
  readonly path: string;
  readonly cause: string;
}

/** The first thing in `value` that `schema` does not allow. */
export function findFault(value: unknown, schema: Schema, path = ''): Fault | undefined {
  const fault = (cause: string): Fault => ({ path, cause });
  const types = [schema.type].flat();
  if (!types.some((type) => isOf(type, value))) {
    return fault(`${shown(value)} is no ${types.join(' or ')}`);
  }
  const { enum: choices, pattern, minimum = -Infinity, maximum = Infinity } = schema;
  if (typeof value === 'string') {
    if (choices && !choices.includes(value)) return fault(`${shown(value)} is not known`);
    if (pattern !== undefined && !new RegExp(pattern).test(value)) {
      return fault(`${shown(value)} can't be used`);
    }
  }
  if (typeof value === 'number' && !(value >= minimum && value <= maximum)) {
    return fault(`${value} is out of range`);
  }
  const below = (name: string) => (path === '' ? name : `${path}.${name}`);
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      const found = findFault(item, schema.items!, below(`${i}`));
      if (found) return found;
    }
  } else if (typeof value === 'object') {
    const fields = value as Record<string, unknown>;
    for (const [name, inner] of Object.entries(fields)) {
      const of = schema.properties?.[name] ?? schema.additionalProperties;
      if (!of) return fault(`there is no field ${name}`);
      const found = findFault(inner, of, below(name));
      if (found) return found;
    }
    const missing = schema.required?.find((name) => fields[name] === undefined);
    if (missing !== undefined) return fault(`the field ${missing} is missing`);
  }
  return undefined;
}

function isOf(type: string, value: unknown): boolean {
  if (type === 'integer') return Number.isSafeInteger(value);
  if (type === 'array') return Array.isArray(value);
  if (type === 'object')
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  return typeof value === type;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
