import { withoutCredentials } from '@heddle/sys/internal';
import { parseDocument } from 'yaml';
import { findFault } from './settings/schema.ts';
import { isGroup, type SettingTable, settingsOf, type ValuesOf } from './settings/setting.ts';
import { type Config, settings } from './settings/table.ts';

export {
  type Config,
  defaultBpffs,
  defaultHealthAddress,
  defaultMetricsAddress,
  defaultSocket,
  type MapSizes,
} from './settings/table.ts';

/** A configuration that can't be used. The message names the place, the field, the value and what to write instead. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** A YAML file. */
export interface ConfigFile {
  readonly path: string;
  readonly text: string;
}

/** Flags of the command line by the dotted name of the setting that they set. */
export type ConfigFlags = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;

/**
 * Returns the configuration from a file (if any) and flags, which win. A field that is null is not
 * set. Throws ConfigError, whose message names every field that can't be used.
 */
export function readConfig(file: ConfigFile | undefined, flags: ConfigFlags): Config {
  return translated(unmixed(readTable(settings, file, flags)));
}

/** Returns the values of a table of settings, as `readConfig` does. Throws ConfigError. */
export function readTable<Table extends SettingTable>(
  table: Table,
  file: ConfigFile | undefined,
  flags: ConfigFlags,
): ValuesOf<Table> {
  const where = `read config${file ? ` ${file.path}` : ''}`;
  const fields = file ? parseFile(file) : {};
  const problems = misplaced(table, fields).map((problem) => `${where}: ${problem}`);
  const values: Record<string, unknown> = {};
  for (const { name, schema, check, fallback } of settingsOf(table)) {
    const [outer, inner] = name.split('.') as [string, string?];
    const written = inner === undefined ? fields[outer] : asMapping(fields[outer])[inner];
    const value = flags[name] ?? written ?? fallback;
    if (value === undefined) continue;
    const fault = findFault(value, schema, name, check);
    if (fault) {
      const source = flags[name] === undefined ? where : 'read flags';
      problems.push(`${source}: ${fault.path} is ${shown(fault.value)}; ${fault.remedy}`);
    }
    if (inner === undefined) values[outer] = value;
    else values[outer] = { ...asMapping(values[outer]), [inner]: value };
  }
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  return values as ValuesOf<Table>;
}

/** Returns what is wrong with the names of fields and with groups, in words. */
function misplaced(table: SettingTable, fields: Readonly<Record<string, unknown>>): string[] {
  const unknown = (name: string) => {
    const names = settingsOf(table).map((setting) => setting.name);
    return `no field is called ${name}; remove it or use one of ${names.join(', ')}`;
  };
  return Object.entries(fields).flatMap(([name, value]) => {
    if (!Object.hasOwn(table, name)) return unknown(name);
    const entry = table[name]!;
    if (!isGroup(entry) || value === null) return [];
    if (typeof value !== 'object' || Array.isArray(value)) {
      const names = Object.keys(entry.fields).join(', ');
      return `${name} is ${shown(value)}; write a mapping with the fields ${names}`;
    }
    return Object.keys(value)
      .filter((inner) => !Object.hasOwn(entry.fields, inner))
      .map((inner) => unknown(`${name}.${inner}`));
  });
}

/** Objects come from one place. */
function unmixed(config: Config): Config {
  if (config.manifests === undefined) return config;
  const extra = (['kubeconfig', 'context'] as const).find((name) => config[name] !== undefined);
  const named = extra ?? (config.apiServers.length > 0 ? 'apiServers' : undefined);
  if (named === undefined) return config;
  throw new ConfigError(
    `read config: both manifests and ${named} are given; objects come from a folder or from an API server: leave one out`,
  );
}

/** Services of pods must be translated somewhere. */
function translated(config: Config): Config {
  const { socketLB, network, podDevices } = config;
  if (socketLB === 'all' || network || podDevices !== 'none') return config;
  throw new ConfigError(
    'read config: with socketLB hostNamespaceOnly nothing translates the connections of pods to services; also set network: true, or podDevices to the interfaces of pods',
  );
}

function parseFile(file: ConfigFile): Record<string, unknown> {
  const document = parseDocument(file.text, { prettyErrors: true, logLevel: 'silent' });
  const [problem] = document.errors;
  if (problem) {
    const at = problem.linePos ? ` in line ${problem.linePos[0].line}` : '';
    const cause = problem.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, '');
    throw new ConfigError(`read config ${file.path}: not YAML${at}: ${cause}`);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw new ConfigError(`read config ${file.path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new ConfigError(
      `read config ${file.path}: the file holds ${Array.isArray(value) ? 'a list' : 'a single value'}; write a mapping of fields, e.g. "manifests: examples/hello"`,
    );
  }
  return value as Record<string, unknown>;
}

function asMapping(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function shown(value: unknown): string {
  const text = withoutCredentials(JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
