import {
  type Config,
  defaultSizes,
  defaultSnatPorts,
  defaultTimeouts,
  longestTimeout,
  type MapSizes,
} from '@heddle/agent/config';
import { findFault, type Schema } from './schema.ts';

/** What a cluster may want to be different. */
export interface Settings {
  readonly namespace: string;
  readonly image: string;
  readonly apiServers: readonly string[];
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly tolerations: readonly Readonly<Record<string, string | number>>[];
  readonly logLevel: string;
  readonly devices: string;
  readonly xdp: string;
  readonly podDevices: string;
  readonly forwarding: 'snat' | 'dsr' | 'hybrid';
  readonly snatPorts: string;
  readonly nodePortAddresses: readonly string[];
  readonly sourceRanges: 'everywhere' | 'external';
  readonly externalIPs: Config['externalIPs'];
  readonly sizes: MapSizes;
  readonly timeouts: Config['timeouts'];
  readonly healthPort: number;
  readonly metricsAddress: string;
  readonly cgroup: string;
  readonly resources: {
    readonly requests?: Readonly<Record<string, string | number>>;
    readonly limits?: Readonly<Record<string, string | number>>;
  };
  readonly updateStrategy: {
    readonly type: string;
    readonly rollingUpdate?: { readonly maxUnavailable: string | number };
  };
}

/** A setting: what it means, what it is when nobody sets it, and what it may be. */
export interface Setting<T = unknown> {
  readonly about: string;
  readonly fallback: T;
  readonly schema: Schema;
}

const text = (pattern: string, description: string): Schema => ({
  type: 'string',
  pattern,
  description,
});

const quantities: Schema = {
  type: 'object',
  additionalProperties: {
    type: ['string', 'integer'],
    pattern: '^[0-9]+(\\.[0-9]+)?(m|k|Ki|[MGTPE]i?)?$',
    minimum: 0,
  },
};

const word: Schema = { type: 'string', pattern: '^[^\\s]*$' };

const mapSize: Schema = { type: 'integer', minimum: 1, maximum: 0xffffffff };
const sizeNames = Object.keys(defaultSizes);
const timeout: Schema = { type: 'integer', minimum: 1, maximum: longestTimeout };
const timeoutNames = Object.keys(defaultTimeouts);

/** All settings, in the order in which they are shown. */
export const settings: { readonly [Name in keyof Settings]: Setting<Settings[Name]> } = {
  image: {
    about: 'The image to run, as deploy/Dockerfile builds it.',
    // Set by `withVersion`.
    fallback: 'heddle:latest',
    schema: text(
      '^[a-z0-9][A-Za-z0-9._:/@-]*$',
      'write the name of an image, e.g. registry.example/heddle:1.0',
    ),
  },
  namespace: {
    about: 'Namespace for all of it, which must exist. (Helm: that of the release.)',
    fallback: 'kube-system',
    schema: text(
      '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$',
      'write the name of a namespace: lower-case letters, digits and -',
    ),
  },
  apiServers: {
    about:
      'Addresses of API servers that work without a service proxy, e.g. https://192.0.2.10:6443, in the order to try. To be set where Heddle replaces kube-proxy.',
    fallback: [],
    schema: {
      type: 'array',
      items: { type: 'string', pattern: '^https?://[^\\s/]+(/[^\\s]*)?$' },
      description: 'write URLs with commas between, e.g. https://192.0.2.10:6443',
    },
  },
  nodeSelector: {
    about: 'Labels of the nodes to run on.',
    fallback: { 'kubernetes.io/os': 'linux' },
    schema: {
      type: 'object',
      additionalProperties: { type: 'string', pattern: '^[A-Za-z0-9._-]*$' },
      description: 'write label=value with commas between',
    },
  },
  tolerations: {
    about: 'Taints to run in spite of; as a rule all, like everything that makes a node work.',
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
  logLevel: {
    about: 'Least severe level that is logged.',
    fallback: 'info',
    schema: {
      type: 'string',
      enum: ['debug', 'info', 'warn', 'error'],
      description: 'write debug, info, warn or error',
    },
  },
  devices: {
    about:
      'Devices of the nodes at which traffic enters from outside: auto (those that a default route leads out of), none (another proxy serves NodePorts and load balancers), or names such as eth0,bond* with commas between.',
    fallback: 'auto',
    schema: text(
      '^[^\\s,/]+(\\s*,\\s*[^\\s,/]+)*$',
      'write auto, none, or names of devices with commas between',
    ),
  },
  xdp: {
    about:
      'Translate packets that enter by such a device and leave by the same one early, by XDP: native (in its driver), best-effort (where its driver can), generic (without its driver), or off.',
    fallback: 'off',
    schema: {
      type: 'string',
      enum: ['off', 'generic', 'native', 'best-effort'],
      description: 'write off, generic, native or best-effort',
    },
  },
  podDevices: {
    about:
      'Devices of pods whose processes are not in the cgroup, such as those in virtual machines: none, or names such as veth*,cni0 with commas between. What they send to services is translated there.',
    fallback: 'none',
    schema: text(
      '^[^\\s,/]+(\\s*,\\s*[^\\s,/]+)*$',
      'write none, or names of devices with commas between',
    ),
  },
  forwarding: {
    about:
      'How packets from outside get to pods of other nodes: snat, dsr (in a tunnel; the pod’s node answers the client itself) or hybrid (dsr for TCP). docs/deployment.md says what dsr needs.',
    fallback: 'snat',
    schema: {
      type: 'string',
      enum: ['snat', 'dsr', 'hybrid'],
      description: 'write snat, dsr or hybrid',
    },
  },
  snatPorts: {
    about:
      'Ports of each node that stand for clients outside towards pods of other nodes: so many connections to each backend at a time. Neither NodePorts nor ports that the nodes’ own sockets choose.',
    fallback: defaultSnatPorts,
    schema: text('^[0-9]{4,5}-[0-9]{4,5}$', 'write the first and the last port, e.g. 1024-29999'),
  },
  nodePortAddresses: {
    about:
      'Addresses of the nodes at which NodePorts and hostPorts are served: ranges such as 192.0.2.0/24, or names of devices. None: the InternalIPs and ExternalIPs of each Node.',
    fallback: [],
    schema: {
      type: 'array',
      items: { type: 'string', pattern: '^([0-9a-fA-F.:]+/[0-9]{1,3}|[^\\s,/:]{1,15})$' },
      description: 'write ranges and names of devices with commas between, e.g. 192.0.2.0/24,eth1',
    },
  },
  sourceRanges: {
    about:
      'Which clients loadBalancerSourceRanges restrict: everywhere (also pods and processes of the nodes, by their addresses) or external (only those from outside the cluster).',
    fallback: 'everywhere',
    schema: {
      type: 'string',
      enum: ['everywhere', 'external'],
      description: 'write everywhere or external',
    },
  },
  externalIPs: {
    about:
      'Whether a service may have an address of a node as externalIP: serve (as kube-proxy does) or protect (it is refused).',
    fallback: 'serve',
    schema: {
      type: 'string',
      enum: ['serve', 'protect'],
      description: 'write serve or protect',
    },
  },
  sizes: {
    about: 'Entries of the kernel maps; docs/deployment.md says what a cluster needs.',
    fallback: defaultSizes,
    schema: {
      type: 'object',
      properties: Object.fromEntries(sizeNames.map((name) => [name, mapSize])),
      // Settings that were complete before the map could grow stay complete.
      required: sizeNames.filter((name) => name !== 'servicesMax'),
      additionalProperties: false,
      description: 'write whole numbers from 1 to 4294967295, e.g. --set sizes.services=131072',
    },
  },
  timeouts: {
    about:
      'Seconds without a packet until a connection from outside is forgotten; heddle config --fields explains them.',
    fallback: defaultTimeouts,
    schema: {
      type: 'object',
      properties: Object.fromEntries(timeoutNames.map((name) => [name, timeout])),
      required: timeoutNames,
      additionalProperties: false,
      description: `write whole numbers from 1 to ${longestTimeout}, e.g. --set timeouts.udp=60`,
    },
  },
  healthPort: {
    about: 'Port for /healthz, /livez and /readyz, on all addresses of the node; kube-proxy’s.',
    fallback: 10256,
    schema: { type: 'integer', minimum: 1, maximum: 65535, description: 'write a port' },
  },
  metricsAddress: {
    about:
      'Address and port for Prometheus metrics; kube-proxy’s. With :10249 they can be read from outside the node.',
    fallback: '127.0.0.1:10249',
    schema: text(
      '^(off|([0-9.]*|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5})$',
      'write address:port, [address]:port, :port or off',
    ),
  },
  cgroup: {
    about: 'Where the nodes have cgroup v2 mounted.',
    fallback: '/sys/fs/cgroup',
    schema: text('^/[^\\s:]*$', 'write an absolute path'),
  },
  resources: {
    about: 'Resource requests and limits of the agent.',
    fallback: { requests: { cpu: '20m', memory: '128Mi' } },
    schema: {
      type: 'object',
      properties: { requests: quantities, limits: quantities },
      additionalProperties: false,
      description: 'write JSON, e.g. {"requests":{"cpu":"20m","memory":"128Mi"}}',
    },
  },
  updateStrategy: {
    about:
      'How a new version gets to the nodes. Traffic goes on meanwhile; changes to services wait for the new agent.',
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
};

/** A setting that can't be used. The message names it, the value and what to write instead. */
export class SettingError extends Error {
  override readonly name = 'SettingError';
}

/** What nobody has set. */
export function defaultSettings(version: string): Settings {
  const fallbacks = Object.entries(settings).map(([name, { fallback }]) => [name, fallback]);
  return { ...Object.fromEntries(fallbacks), image: `heddle:${version}` } as Settings;
}

/**
 * Settings from `name=value` texts, the last of a name wins. Lists take commas, labels `a=b,c=d`,
 * everything structured JSON; one field of a structure is set as `sizes.services=1000`. Throws
 * SettingError.
 */
export function readSettings(assignments: readonly string[], version: string): Settings {
  const result: Record<string, unknown> = { ...defaultSettings(version) };
  for (const assignment of assignments) {
    const equals = assignment.indexOf('=');
    if (equals < 1) {
      throw new SettingError(`set ${assignment}: there is no value; write name=value`);
    }
    const path = assignment.slice(0, equals);
    const [name, field] = path.split(/\.(.*)/s) as [string, string?];
    const schema = (settings as Record<string, Setting | undefined>)[name]?.schema;
    const inner = field === undefined ? schema : schema?.properties?.[field];
    if (!schema || !inner) throw new SettingError(`set ${path}: ${unknownName(name, field)}`);
    const value = parseValue(assignment.slice(equals + 1), inner);
    const whole = field === undefined ? value : { ...(result[name] as object), [field]: value };
    const fault = findFault(whole, schema, name);
    if (fault) {
      throw new SettingError(`set ${fault.path}: ${fault.cause}; ${schema.description}`);
    }
    result[name] = whole;
  }
  return result as unknown as Settings;
}

function unknownName(name: string, field: string | undefined): string {
  const known = Object.entries(settings).flatMap(([each, { schema }]) => {
    const fields = schema.type === 'object' && Object.keys(schema.properties ?? {});
    return fields ? [each, ...fields.map((inner) => `${each}.${inner}`)] : [each];
  });
  const missing =
    field === undefined ? 'there is no such setting' : `${name} has no field ${field}`;
  return `${missing}; there are ${known.join(', ')}`;
}

/** The value that a text stands for; what can't be understood stays text, for `findFault` to refuse. */
function parseValue(value: string, schema: Schema): unknown {
  if (schema.type === 'integer') return /^\d{1,15}$/.test(value) ? Number(value) : value;
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
