import * as v from 'valibot';
import { KubeconfigError } from './errors.ts';
import { parseYaml, YamlError } from './yaml.ts';

// In a kubeconfig, fields that are absent, null or empty have the same meaning.
const text = v.pipe(
  v.nullish(v.string(), ''),
  v.transform((value) => value || undefined),
);
const flag = v.nullish(v.boolean(), false);
const list = <const S extends v.GenericSchema>(item: S) => v.nullish(v.array(item), []);

const clusterSchema = v.object({
  server: text,
  'certificate-authority': text,
  'certificate-authority-data': text,
  'insecure-skip-tls-verify': flag,
  'tls-server-name': text,
  'proxy-url': text,
  extensions: list(v.object({ name: v.string(), extension: v.unknown() })),
});

const execSchema = v.object({
  apiVersion: v.string(),
  command: v.string(),
  args: list(v.string()),
  env: list(v.object({ name: v.string(), value: v.string() })),
  installHint: text,
  provideClusterInfo: flag,
  interactiveMode: text,
});

const userSchema = v.object({
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
  token: text,
  tokenFile: text,
  exec: v.nullish(execSchema),
  username: text,
  'auth-provider': v.nullish(v.unknown()),
  as: text,
});

const contextSchema = v.object({ cluster: text, user: text });

const fileSchema = v.object({
  'current-context': text,
  clusters: list(v.object({ name: v.string(), cluster: clusterSchema })),
  users: list(v.object({ name: v.string(), user: v.nullish(userSchema) })),
  contexts: list(v.object({ name: v.string(), context: contextSchema })),
});

export type ClusterEntry = v.InferOutput<typeof clusterSchema>;
export type UserEntry = v.InferOutput<typeof userSchema>;
export type ContextEntry = v.InferOutput<typeof contextSchema>;

/** An entry and its file, from which relative paths in it start. */
export interface FromFile<T> {
  readonly file: string;
  readonly entry: T;
}

/** One kubeconfig, or several that are merged. */
export interface Kubeconfig {
  readonly currentContext?: string;
  readonly clusters: ReadonlyMap<string, FromFile<ClusterEntry>>;
  readonly users: ReadonlyMap<string, FromFile<UserEntry>>;
  readonly contexts: ReadonlyMap<string, FromFile<ContextEntry>>;
}

/**
 * Reads the text of a kubeconfig (YAML or JSON). Throws KubeconfigError, which contains nothing of the text,
 * because the text has secrets.
 */
export function parseKubeconfig(source: string, file: string): Kubeconfig {
  const fail = (problem: string) => new KubeconfigError(`read kubeconfig ${file}: ${problem}`);
  let value: unknown;
  try {
    value = parseYaml(source);
  } catch (error) {
    if (!(error instanceof YamlError)) throw error;
    if (error.code === 'BAD_ALIAS') throw fail('its YAML aliases cannot be followed');
    throw fail(`line ${error.line + 1} is no YAML (${error.code})`);
  }
  // An empty file is an empty kubeconfig. A list is an object without these fields, but no kubeconfig.
  const parsed = v.safeParse(fileSchema, Array.isArray(value) ? undefined : (value ?? {}));
  if (!parsed.success) {
    const [issue] = parsed.issues;
    const path = v.getDotPath(issue);
    const expected = issue.expected === 'string' ? 'text' : issue.expected;
    throw fail(path === null ? 'it is no kubeconfig' : `${path} must be ${expected}`);
  }
  const { 'current-context': currentContext, clusters, users, contexts } = parsed.output;
  const empty = v.parse(userSchema, {});
  return {
    ...(currentContext !== undefined && { currentContext }),
    clusters: byName(clusters.map(({ name, cluster }) => [name, { file, entry: cluster }])),
    users: byName(users.map(({ name, user }) => [name, { file, entry: user ?? empty }])),
    contexts: byName(contexts.map(({ name, context }) => [name, { file, entry: context }])),
  };
}

/** Merges kubeconfigs. The first entry of a name is used. */
export function mergeKubeconfigs(all: readonly Kubeconfig[]): Kubeconfig {
  const currentContext = all.find((each) => each.currentContext !== undefined)?.currentContext;
  return {
    ...(currentContext !== undefined && { currentContext }),
    clusters: byName(all.flatMap((each) => [...each.clusters])),
    users: byName(all.flatMap((each) => [...each.users])),
    contexts: byName(all.flatMap((each) => [...each.contexts])),
  };
}

function byName<T>(entries: readonly (readonly [string, T])[]): Map<string, T> {
  const map = new Map<string, T>();
  for (const [name, entry] of entries) if (!map.has(name)) map.set(name, entry);
  return map;
}
