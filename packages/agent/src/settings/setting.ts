import type { Check, Schema } from './schema.ts';

/**
 * A setting. It is a field of the configuration file, a flag of `heddle agent` if it has one, and a
 * value of the Helm chart, under the name that it has in its table.
 */
export interface Setting<Value = unknown> {
  /** The purpose: a phrase that starts in lower case and has no full stop. */
  readonly about: string;
  /** Further sentences. */
  readonly more?: string;
  /** The values that it takes. `description` is the advice for other values. */
  readonly schema: Schema;
  /** Checks the rules that the schema can't express. */
  readonly check?: Check;
  /** The default value; undefined if it depends on the node. */
  readonly fallback: Value;
  /** The default value in words, if `fallback` does not show it. */
  readonly fallbackText?: string;
  /** The flag with the name of its argument, e.g. `--devices <names>`. */
  readonly flag?: string;
  /** False for a setting that the chart's DaemonSet sets itself. */
  readonly inChart?: false;
  /** The default value in the chart, if it is not `fallback`. */
  readonly chartFallback?: Value;
}

/** Settings that are fields of one mapping, e.g. `sizes`. */
export interface Group<
  Fields extends Readonly<Record<string, Setting>> = Readonly<Record<string, Setting>>,
> {
  readonly about: string;
  readonly fields: Fields;
}

/** Settings and groups by their names. */
export type SettingTable = Readonly<Record<string, Setting | Group>>;

/** The values of a table. Those without a fallback may be absent. */
export type ValuesOf<Table extends SettingTable> = {
  readonly [Name in keyof Table as undefined extends ValueOf<Table[Name]> ? never : Name]: ValueOf<
    Table[Name]
  >;
} & {
  readonly [Name in keyof Table as undefined extends ValueOf<Table[Name]> ? Name : never]?: ValueOf<
    Table[Name]
  >;
};

type ValueOf<Entry> =
  Entry extends Group<infer Fields>
    ? ValuesOf<Fields>
    : Entry extends Setting<infer Value>
      ? Value
      : never;

type Common = Pick<Setting, 'about' | 'more' | 'fallbackText' | 'flag' | 'inChart'>;

interface TextOptions extends Common, Pick<Setting, 'check'> {
  /** A regular expression for the text. */
  readonly pattern: string;
  readonly maxLength?: number;
  /** The advice for a text that can't be used. */
  readonly remedy: string;
}

/** Returns a setting that is text. Without a fallback it may be absent. */
export function text(options: TextOptions & { readonly fallback: string }): Setting<string>;
export function text(
  options: TextOptions & { readonly chartFallback?: string },
): Setting<string | undefined>;
export function text({
  pattern,
  maxLength = 4000,
  remedy,
  ...rest
}: TextOptions): Setting<string | undefined> {
  const schema: Schema = { type: 'string', pattern, maxLength, description: remedy };
  return { fallback: undefined, ...rest, schema };
}

/** Returns a setting that is one of some words. */
export function choice<const Choice extends string>(
  choices: readonly Choice[],
  options: Common & { readonly fallback: NoInfer<Choice> },
): Setting<Choice> {
  const description = `write ${inWords(choices)}`;
  return { ...options, schema: { type: 'string', enum: choices, description } };
}

interface CountOptions extends Common {
  readonly unit?: string;
}

/**
 * Returns a setting that is a whole number from 1 to `most`, of `unit` if that is given. Without a
 * fallback it may be absent.
 */
export function count(
  most: number,
  options: CountOptions & { readonly fallback: number },
): Setting<number>;
export function count(most: number, options: CountOptions): Setting<number | undefined>;
export function count(most: number, { unit, ...rest }: CountOptions): Setting<number | undefined> {
  const number = `a whole number${unit === undefined ? '' : ` of ${unit}`}`;
  const description = `write ${number} from 1 to ${most}`;
  const schema: Schema = { type: 'integer', minimum: 1, maximum: most, description };
  return { fallback: undefined, ...rest, schema };
}

/** Returns a setting that is a list of texts. The default is an empty list. */
export function list({
  pattern,
  maxLength = 4000,
  remedy,
  itemRemedy = remedy,
  ...rest
}: TextOptions & { readonly itemRemedy?: string }): Setting<readonly string[]> {
  const items: Schema = { type: 'string', pattern, maxLength, description: itemRemedy };
  return { ...rest, fallback: [], schema: { type: 'array', items, description: remedy } };
}

/** Returns a setting that is true or false. */
export function yesNo(options: Common, fallback = false): Setting<boolean> {
  const schema: Schema = { type: 'boolean', description: 'write true or false' };
  return { ...options, fallback, schema };
}

/** Settings that are fields of one mapping. */
export function group<const Fields extends Readonly<Record<string, Setting>>>(
  about: string,
  fields: Fields,
): Group<Fields> {
  return { about, fields };
}

/** A setting with its dotted name, e.g. `sizes.services`. */
export interface NamedSetting extends Setting {
  readonly name: string;
}

/** Returns all settings of a table with those of its groups, in order. */
export function settingsOf(table: SettingTable): NamedSetting[] {
  return Object.entries(table).flatMap(([name, entry]) =>
    isGroup(entry)
      ? Object.entries(entry.fields).map(([field, setting]) => ({
          ...setting,
          name: `${name}.${field}`,
        }))
      : [{ ...entry, name }],
  );
}

export function isGroup(entry: Setting | Group): entry is Group {
  return 'fields' in entry;
}

/** Returns `a, b or c`. */
function inWords(choices: readonly string[]): string {
  return choices.length === 1
    ? choices[0]!
    : `${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`;
}

/** Returns what a setting sets, in sentences. */
export function sentencesOf({ about, more }: Pick<Setting, 'about' | 'more'>): string {
  const first = `${about[0]!.toUpperCase()}${about.slice(1)}.`;
  return more === undefined ? first : `${first} ${more}`;
}

/** Returns the default of a setting in words. */
export function defaultText({ fallback, fallbackText }: Setting): string {
  if (fallbackText !== undefined) return fallbackText;
  if (Array.isArray(fallback)) return fallback.length === 0 ? 'none' : fallback.join(',');
  return `${fallback}`;
}

/** Returns the default values of a table. */
export function defaultsOf<Table extends SettingTable>(table: Table): ValuesOf<Table> {
  const defaults = Object.entries(table).map(([name, entry]) => [
    name,
    isGroup(entry) ? defaultsOf(entry.fields) : entry.fallback,
  ]);
  return Object.fromEntries(defaults);
}
