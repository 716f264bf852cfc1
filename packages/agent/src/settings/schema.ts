/** The part of JSON Schema that settings are described with, also in the Helm chart. */
export interface Schema {
  readonly type: SchemaType | readonly SchemaType[];
  /** The advice for a value that can't be used. */
  readonly description?: string;
  readonly pattern?: string;
  readonly maxLength?: number;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | false;
  readonly required?: readonly string[];
}

type SchemaType = 'string' | 'integer' | 'boolean' | 'array' | 'object';

/** A part of a value that the schema does not allow. */
export interface Fault {
  /** The dotted path of the invalid part; empty for the value itself. */
  readonly path: string;
  /** The value at that path. */
  readonly value: unknown;
  readonly cause: string;
  /** The advice of the innermost schema that encloses the part. */
  readonly remedy: string;
}

/** Returns advice for a text that can't be used, or undefined for a valid text. */
export type Check = (text: string) => string | undefined;

/**
 * Returns the first fault of a value. `check` is asked for each text in the value, in place of the
 * pattern: it says what to write in the case at hand.
 */
export function findFault(
  value: unknown,
  schema: Schema,
  path = '',
  check?: Check,
  outerRemedy = '',
): Fault | undefined {
  const remedy = schema.description ?? outerRemedy;
  const fault = (cause: string, better = remedy): Fault => ({ path, value, cause, remedy: better });
  const types = [schema.type].flat();
  if (!types.some((type) => isOf(type, value))) {
    return fault(`${shown(value)} is no ${types.join(' or ')}`);
  }
  if (typeof value === 'string') return textFault(value, schema, fault, check);
  const { minimum = -Infinity, maximum = Infinity } = schema;
  if (typeof value === 'number' && !(value >= minimum && value <= maximum)) {
    return fault(`${value} is out of range`);
  }
  const below = (name: string) => (path === '' ? name : `${path}.${name}`);
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) {
      const found = findFault(item, schema.items!, below(`${i}`), check, remedy);
      if (found) return found;
    }
  } else if (typeof value === 'object') {
    const fields = value as Record<string, unknown>;
    for (const [name, inner] of Object.entries(fields)) {
      const of = schema.properties?.[name] ?? schema.additionalProperties;
      if (!of) return fault(`there is no field ${name}`);
      const found = findFault(inner, of, below(name), check, remedy);
      if (found) return found;
    }
    const missing = schema.required?.find((name) => fields[name] === undefined);
    if (missing !== undefined) return fault(`the field ${missing} is missing`);
  }
  return undefined;
}

function textFault(
  text: string,
  { enum: choices, pattern, maxLength = Infinity }: Schema,
  fault: (cause: string, remedy?: string) => Fault,
  check: Check | undefined,
): Fault | undefined {
  if (choices && !choices.includes(text)) return fault(`${shown(text)} is not known`);
  const better = check?.(text);
  const isWrong =
    better !== undefined || (pattern !== undefined && !new RegExp(pattern).test(text));
  if (isWrong || text.length > maxLength) return fault(`${shown(text)} can't be used`, better);
  return undefined;
}

function isOf(type: SchemaType, value: unknown): boolean {
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
