import {
  defaultsOf,
  findFault,
  isGroup,
  type Schema,
  type Setting,
  type SettingTable,
  settings,
  settingsOf,
} from '@heddle/agent/settings';
import type { Yaml } from './yaml.ts';

const quantities: Schema = {
  type: 'object',
  additionalProperties: {
    type: ['string', 'integer'],
    pattern: '^[0-9]+(\\.[0-9]+)?(m|k|Ki|[MGTPE]i?)?$',
    minimum: 0,
  },
};

/** Returns the schema of the resources of a container; the amounts are an example of them. */
const resources = (cpu: string, memory: string): Schema => ({
  type: 'object',
  properties: { requests: quantities, limits: quantities },
  additionalProperties: false,
  description: `write JSON, e.g. ${JSON.stringify({ requests: { cpu, memory } })}`,
});

const secretName: Schema = {
  type: 'string',
  pattern: '^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$',
  description: 'write the name of a Secret: lower-case letters, digits, - and .',
};

const word: Schema = { type: 'string', pattern: '^[^\\s]*$' };

/** The settings of the deployment itself, besides those of the agent. */
export const deploymentSettings = {
  image: {
    about: 'image to run, as deploy/Dockerfile builds it',
    fallbackText: 'heddle of this version',
    fallback: 'heddle:latest',
    schema: {
      type: 'string',
      pattern: '^[a-z0-9][A-Za-z0-9._:/@-]*$',
      description: 'write the name of an image, e.g. registry.example/heddle:1.0',
    },
  },
  namespace: {
    about: 'namespace of all objects, which must exist (in the chart: that of the release)',
    fallback: 'kube-system',
    // Helm sets the namespace of a release with `--namespace`.
    inChart: false,
    schema: {
      type: 'string',
      pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$',
      description: 'write the name of a namespace: lower-case letters, digits and -',
    },
  },
  nodeSelector: {
    about: 'labels of the nodes to run on',
    fallback: { 'kubernetes.io/os': 'linux' },
    schema: {
      type: 'object',
      additionalProperties: { type: 'string', pattern: '^[A-Za-z0-9._-]*$' },
      description: 'write label=value with commas between',
    },
  },
  tolerations: {
    about: 'taints to tolerate; by default all, like everything that makes a node work',
    fallback: [{ operator: 'Exists' }],
    schema: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          key: word,
          operator: { type: 'string', enum: ['Exists', 'Equal'] },
          value: word,
          effect: { type: 'string', enum: ['NoSchedule', 'PreferNoSchedule', 'NoExecute'] },
          tolerationSeconds: { type: 'integer' },
        },
        additionalProperties: false,
      },
      description: 'write a JSON list of tolerations, e.g. [{"operator":"Exists"}]',
    },
  },
  resources: {
    about: 'resource requests and limits of the agent',
    fallback: { requests: { cpu: '100m', memory: '128Mi' } },
    schema: resources('100m', '128Mi'),
  },
  observerResources: {
    about: 'resource requests and limits of the observer, with `visibility`',
    fallback: { requests: { cpu: '20m', memory: '128Mi' } },
    schema: resources('20m', '128Mi'),
  },
  observerTLSSecret: {
    about: 'Secret with tls.crt, tls.key and ca.crt, by which observers serve relays on port 4244',
    more: 'Clients need a certificate of ca.crt. Without the Secret, flows are served on the socket of the node only.',
    fallbackText: 'none',
    fallback: '',
    schema: secretName,
  },
  relayTLSSecret: {
    about:
      'Secret with tls.crt, tls.key and ca.crt, with which a relay asks the observers and is served',
    more: 'With it, `heddle relay` runs as the Deployment heddle-relay; it needs `visibility` and `observerTLSSecret`. The Service hubble-relay is for clients that have a certificate of ca.crt, and heddle-ui is the page, for those who may forward a port.',
    fallbackText: 'none',
    fallback: '',
    schema: secretName,
  },
  relayResources: {
    about: 'resource requests and limits of the relay',
    fallback: { requests: { cpu: '50m', memory: '192Mi' } },
    schema: resources('50m', '192Mi'),
  },
  updateStrategy: {
    about: 'how a new version reaches the nodes',
    more: 'Traffic continues meanwhile; changes to services wait for the new agent.',
    fallback: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } },
    schema: {
      type: 'object',
      properties: {
        type: { type: 'string', enum: ['RollingUpdate', 'OnDelete'] },
        rollingUpdate: {
          type: 'object',
          properties: {
            maxUnavailable: { type: ['string', 'integer'], pattern: '^[0-9]{1,3}%$', minimum: 1 },
          },
          required: ['maxUnavailable'],
          additionalProperties: false,
        },
      },
      required: ['type'],
      additionalProperties: false,
      description:
        'write JSON, e.g. {"type":"OnDelete"} or {"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":1}}',
    },
  },
  cgroup: {
    about: 'where the nodes have cgroup v2 mounted',
    fallback: '/sys/fs/cgroup',
    schema: { type: 'string', pattern: '^/[^\\s:]*$', description: 'write an absolute path' },
  },
  healthPort: {
    about: 'port of /healthz, /livez and /readyz on all addresses of the node; kube-proxy’s',
    fallback: 10256,
    schema: { type: 'integer', minimum: 1, maximum: 65535, description: 'write a port' },
  },
} as const satisfies Readonly<Record<string, Setting>>;

/** The values of all settings by name; those of a group are a mapping. */
export type Values = { readonly [Name in keyof typeof deploymentSettings]: Yaml } & {
  readonly [name: string]: Yaml;
};

/** Thrown for an invalid setting. The message names it, the value and the remedy. */
export class SettingError extends Error {
  override readonly name = 'SettingError';
}

/** Returns the settings of the agent that a deployment can set, out of a table of all. */
export function agentSettings(table: SettingTable = settings): SettingTable {
  const isInChart = (setting: Setting) => setting.inChart !== false;
  const entries = Object.entries(table).flatMap(
    ([name, entry]): [string, SettingTable[string]][] => {
      if (isGroup(entry)) {
        const fields = Object.entries(entry.fields).filter(([, setting]) => isInChart(setting));
        return fields.length === 0
          ? []
          : [[name, { ...entry, fields: Object.fromEntries(fields) }]];
      }
      if (!isInChart(entry)) return [];
      return [[name, { ...entry, fallback: entry.chartFallback ?? entry.fallback }]];
    },
  );
  return Object.fromEntries(entries);
}

/** Returns all settings of a deployment of this version. */
export function allSettings(version: string, table?: SettingTable): SettingTable {
  const image = { ...deploymentSettings.image, fallback: `heddle:${version}` };
  return { ...deploymentSettings, image, ...agentSettings(table) };
}

/**
 * Returns the values that `name=value` texts set; a later one overrides an earlier one. Lists are
 * separated by commas, labels are `a=b,c=d`, structures are JSON; `sizes.services=1000` sets one
 * field of a structure. Throws SettingError.
 */
export function readSettings(
  assignments: readonly string[],
  version: string,
  table?: SettingTable,
): Values {
  const all = allSettings(version, table);
  const values: Record<string, unknown> = defaultsOf(all);
  for (const assignment of assignments) {
    const equals = assignment.indexOf('=');
    if (equals < 1) {
      throw new SettingError(`set ${assignment}: there is no value; write name=value`);
    }
    const path = assignment.slice(0, equals);
    const [name, field] = path.split(/\.(.*)/s) as [string, string?];
    const entry = Object.hasOwn(all, name) ? all[name]! : undefined;
    const schema = entry && schemaOf(entry);
    const inner = field === undefined ? schema : schema?.properties?.[field];
    if (!schema || !inner) throw new SettingError(`set ${path}: ${unknownName(all, name, field)}`);
    const value = parseValue(assignment.slice(equals + 1), inner);
    const whole = field === undefined ? value : { ...(values[name] as object), [field]: value };
    const fault = findFault(whole, schema, name, 'check' in entry ? entry.check : undefined);
    if (fault) throw new SettingError(`set ${fault.path}: ${fault.cause}; ${fault.remedy}`);
    values[name] = isGroup(entry) ? { ...(values[name] as object), ...(whole as object) } : whole;
  }
  return values as Values;
}

/** Returns the schema of a setting; that of a group is a mapping of its fields. */
export function schemaOf(entry: SettingTable[string]): Schema {
  if (!isGroup(entry)) return entry.schema;
  const names = Object.keys(entry.fields);
  return {
    type: 'object',
    properties: Object.fromEntries(
      Object.entries(entry.fields).map(([name, { schema }]) => [name, schema]),
    ),
    additionalProperties: false,
    description: `write JSON with some of ${names.join(', ')}`,
  };
}

function unknownName(all: SettingTable, name: string, field: string | undefined): string {
  const fields = Object.entries(deploymentSettings as Readonly<Record<string, Setting>>).flatMap(
    ([each, { schema }]) => Object.keys(schema.properties ?? {}).map((inner) => `${each}.${inner}`),
  );
  const known = [...settingsOf(all).map((setting) => setting.name), ...fields];
  const missing =
    field === undefined || !Object.hasOwn(all, name)
      ? 'there is no such setting'
      : `${name} has no field ${field}`;
  return `${missing}; there are ${known.join(', ')}`;
}

/**
 * Parses the value of a setting. Text that can't be parsed stays text, which `findFault` refuses.
 */
function parseValue(value: string, schema: Schema): unknown {
  if (schema.type === 'integer') return /^\d{1,15}$/.test(value) ? Number(value) : value;
  if (schema.type === 'boolean') return /^(true|false)$/.test(value) ? value === 'true' : value;
  if (schema.type === 'string') return value;
  if (Array.isArray(schema.type)) return /^\d{1,15}$/.test(value) ? Number(value) : value;
  if (/^\s*[[{]/.test(value)) {
    try {
      return JSON.parse(value);
    } catch {
      return value;
    }
  }
  const words = value === '' ? [] : value.split(',');
  if (schema.items?.type === 'string') return words;
  const isLabels = schema.additionalProperties && schema.additionalProperties.type === 'string';
  if (!isLabels || !words.every((each) => each.includes('='))) return value;
  return Object.fromEntries(words.map((each) => each.split(/=(.*)/s).slice(0, 2)));
}
