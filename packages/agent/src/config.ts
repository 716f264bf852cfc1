import { defaultNat, type FlowTimeouts, longestTimeout } from '@heddle/datapath/flow-options';
import { type LogLevel, withoutCredentials } from '@heddle/sys';
import * as v from 'valibot';
import { parseDocument } from 'yaml';
import { nodePortEntryProblem } from './node-port-addresses.ts';
import { parseListenAddress } from './server/listen-address.ts';
import { formatPortRange, parsePortRange } from './snat-ports.ts';

/** A configuration that can't be used. The message names the place, the field, the value and what to write instead. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Entries that the kernel maps are made for. A map's memory is bounded by its size. */
export interface MapSizes {
  /** Addresses and ports at which services are reached (frontends), at the start. */
  readonly services: number;
  /** The largest number of them: the map grows as they come. */
  readonly servicesMax: number;
  /** Distinct backends. */
  readonly backends: number;
  /** Places in the runs of all services together, with room for runs that are being replaced. */
  readonly slots: number;
  /** Clients that session affinity remembers; the least recently used one goes first. */
  readonly affinity: number;
  /** Flows that are translated on the node's devices. */
  readonly flows: number;
}

/**
 * What the agent runs with. What may be absent has a default that depends on the machine, or on
 * where objects come from.
 */
export interface Config {
  /** Absent: objects come from the API server. */
  readonly manifests?: string | undefined;
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  /** URLs, tried before what the kubeconfig or the cluster names. */
  readonly apiServers: readonly string[];
  /** Where health is served, or `off`. */
  readonly healthAddress?: string | undefined;
  /** Where metrics are served, or `off`. */
  readonly metricsAddress?: string | undefined;
  readonly node?: string | undefined;
  readonly cgroup?: string | undefined;
  readonly bpffs: string;
  readonly socket: string;
  readonly logLevel: LogLevel;
  /** Where traffic enters from outside: `auto`, `none`, or names of devices with commas between. */
  readonly devices: string;
  /** Where packets that only turn round on this node are translated early. */
  readonly xdp: 'off' | 'generic' | 'native' | 'best-effort';
  /** Devices of pods that are translated for packet by packet: `none`, or names as above. */
  readonly podDevices: string;
  /** How packets from outside get to backends of other nodes, unless a service says. */
  readonly forwarding: 'snat' | 'dsr' | 'hybrid';
  /** Ports of the node that stand for clients outside, `first-last`; see `parsePortRange`. */
  readonly snatPorts: string;
  /** Where NodePorts and hostPorts are served: ranges and names of devices; none: the Node object says. */
  readonly nodePortAddresses: readonly string[];
  /** The clients that loadBalancerSourceRanges restrict. */
  readonly sourceRanges: 'everywhere' | 'external';
  /** `serve` when an externalIP may be an address of a node. */
  readonly externalIPs: 'serve' | 'protect';
  readonly sizes: MapSizes;
  readonly timeouts: FlowTimeouts;
  readonly options: { readonly terminateTcp: boolean };
}

/** Where the control socket is unless the configuration says otherwise. */
export const defaultSocket = '/run/heddle/agent.sock';
/** Where health and metrics are served in a cluster unless the configuration says otherwise; kube-proxy's ports. */
export const defaultHealthAddress = ':10256';
export const defaultMetricsAddress = '127.0.0.1:10249';
/** Ports that stand for clients unless the configuration says otherwise. */
export const defaultSnatPorts = formatPortRange(defaultNat.ports);
/** Where pins go unless the configuration says otherwise. */
export const defaultBpffs = '/sys/fs/bpf';

// The kernel counts entries in a u32.
const largestMap = 0xffffffff;
const sunPathLength = 107;

const path = (remedy: string) =>
  v.pipe(v.string(remedy), v.regex(/^[^\0]+$/, remedy), v.maxLength(4000, remedy));

const absolutePath = (remedy: string) =>
  v.pipe(v.string(remedy), v.regex(/^\/[^\0]*$/, remedy), v.maxLength(4000, remedy));

const count = (most: number, remedy: string, fallback: number, about: string) =>
  v.pipe(
    v.optional(
      v.pipe(v.number(remedy), v.integer(remedy), v.minValue(1, remedy), v.maxValue(most, remedy)),
      fallback,
    ),
    v.description(about),
  );

const size = (fallback: number, about: string) =>
  count(largestMap, `write a whole number from 1 to ${largestMap}`, fallback, about);

const timeout = (name: keyof FlowTimeouts, about: string) => {
  const remedy = `write a whole number of seconds from 1 to ${longestTimeout}`;
  const whole = `Seconds without a packet until ${about}`;
  return count(longestTimeout, remedy, defaultNat.timeouts[name], whole);
};

const nodeRemedy =
  'write the name of this machine’s Node object (lower-case letters, digits, - and .)';
const devicesRemedy =
  'write auto, none, or names of devices with commas between (* stands for anything)';
const xdpRemedy = 'write off, generic, native or best-effort';
const podDevicesRemedy =
  'write none, or names of devices with commas between (* stands for anything)';
const forwardingRemedy = 'write snat, dsr or hybrid';
const portsRemedy = 'write the first and the last port, e.g. 1024-29999, of 1024 to 65535';
const nodePortsRemedy = 'write a list such as [192.0.2.0/24, eth0]';
const rangesRemedy = 'write everywhere or external';
const externalIPsRemedy = 'write serve or protect';
const levelRemedy = 'write debug, info, warn or error';
const yesNoRemedy = 'write true or false';

const listenRemedy =
  'write an IP address and a port (127.0.0.1:10249, [::1]:10249), :PORT for all addresses, or off';
const listenAddress = v.pipe(
  v.string(listenRemedy),
  v.check((text) => text === 'off' || parseListenAddress(text) !== undefined, listenRemedy),
);

const urlRemedy = 'write a URL such as https://192.0.2.1:6443';
const urlsRemedy = 'write a list of URLs such as [https://192.0.2.1:6443]';

const deviceNames = (remedy: string) =>
  v.pipe(
    v.string(remedy),
    v.regex(/^[^\s,/]+(\s*,\s*[^\s,/]+)*$/, remedy),
    v.maxLength(1000, remedy),
  );

const schema = v.strictObject({
  manifests: v.pipe(
    v.optional(path('give the folder with the manifests, e.g. --manifests examples/hello')),
    v.description(
      'Folder of manifests (YAML or JSON) that the agent reads and watches. Default: none; objects come from the API server.',
    ),
  ),
  kubeconfig: v.pipe(
    v.optional(path('write the path of a kubeconfig')),
    v.description(
      'Kubeconfig that says how to reach the API server. Default: that of the pod it runs in, else $KUBECONFIG, else ~/.kube/config.',
    ),
  ),
  context: v.pipe(
    v.optional(path('write the name of a context')),
    v.description('Context of the kubeconfig. Default: its current one.'),
  ),
  apiServers: v.pipe(
    v.optional(
      v.array(v.pipe(v.string(urlRemedy), v.regex(/^https?:\/\/[^/\s]+/, urlRemedy)), urlsRemedy),
      [],
    ),
    v.description(
      'URLs of API servers, tried first and in turn. In place of kube-proxy one is needed, as the service address works once Heddle does.',
    ),
  ),
  healthAddress: v.pipe(
    v.optional(listenAddress),
    v.description(
      `Address and port for /healthz, /livez and /readyz, or off. Default: ${defaultHealthAddress}; off with a folder of manifests.`,
    ),
  ),
  metricsAddress: v.pipe(
    v.optional(listenAddress),
    v.description(
      `Address and port for /metrics, or off. Default: ${defaultMetricsAddress}; off with a folder of manifests.`,
    ),
  ),
  node: v.pipe(
    v.optional(
      v.pipe(
        v.string(nodeRemedy),
        v.regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, nodeRemedy),
        v.maxLength(253, nodeRemedy),
      ),
    ),
    v.description('Name of this node’s Node object. Default: the host name in lower case.'),
  ),
  cgroup: v.pipe(
    v.optional(absolutePath('write the absolute path of a cgroup v2 directory')),
    v.description(
      'The cgroup v2 directory whose processes get service addresses translated. Default: the root of the cgroup2 mount.',
    ),
  ),
  bpffs: v.pipe(
    v.optional(absolutePath('write an absolute path'), defaultBpffs),
    v.description(
      'Directory for pinned maps and links; a BPF file system is mounted there when it is on none.',
    ),
  ),
  socket: v.pipe(
    v.optional(
      v.pipe(
        absolutePath('write an absolute path'),
        v.maxLength(
          sunPathLength,
          `write a path of at most ${sunPathLength} bytes, the limit for unix sockets`,
        ),
      ),
      defaultSocket,
    ),
    v.description('Path of the control socket, which the other commands talk to.'),
  ),
  logLevel: v.pipe(
    v.optional(v.picklist(['debug', 'info', 'warn', 'error'], levelRemedy), 'info'),
    v.description('Least severe level that is logged: debug, info, warn or error.'),
  ),
  devices: v.pipe(
    v.optional(deviceNames(devicesRemedy), 'auto'),
    v.description(
      'Devices at which traffic enters from outside for NodePorts, load balancers and external IPs: auto (those that a default route leads out of), none, or names such as eth0,bond* with commas between.',
    ),
  ),
  xdp: v.pipe(
    v.optional(v.picklist(['off', 'generic', 'native', 'best-effort'], xdpRemedy), 'off'),
    v.description(
      'Translate packets that enter by one of these devices and leave by the same one early, by XDP: native (in the device’s driver), best-effort (where the driver can), generic (without the driver, for trying it out), or off.',
    ),
  ),
  podDevices: v.pipe(
    v.optional(
      v.pipe(
        deviceNames(podDevicesRemedy),
        v.check((text) => text !== 'auto', podDevicesRemedy),
      ),
      'none',
    ),
    v.description(
      'Devices of pods whose processes are not in the cgroup, such as those in virtual machines: none, or names such as veth*,cni0 with commas between. What they send to services is translated there, packet by packet.',
    ),
  ),
  forwarding: v.pipe(
    v.optional(v.picklist(['snat', 'dsr', 'hybrid'], forwardingRemedy), 'snat'),
    v.description(
      'How packets from outside get to backends of other nodes: snat (from this node’s address, and the replies come back through it), dsr (unchanged, in an IP-in-IP tunnel; the backend’s node answers the client itself) or hybrid (dsr for TCP, else snat). The annotation heddle.io/forwarding says it for one service.',
    ),
  ),
  snatPorts: v.pipe(
    v.optional(
      v.pipe(
        v.string(portsRemedy),
        v.check((text) => parsePortRange(text) !== undefined, portsRemedy),
      ),
      defaultSnatPorts,
    ),
    v.description(
      'Ports of this node that stand for clients outside towards pods of other nodes: so many connections to each backend at a time. Neither NodePorts nor ports that the node’s own sockets choose (net.ipv4.ip_local_port_range).',
    ),
  ),
  nodePortAddresses: v.pipe(
    v.optional(
      v.array(
        v.pipe(
          v.string(nodePortsRemedy),
          v.check(
            (entry) => nodePortEntryProblem(entry) === undefined,
            ({ input }) => nodePortEntryProblem(input)!,
          ),
        ),
        nodePortsRemedy,
      ),
      [],
    ),
    v.description(
      'Addresses of the node at which NodePorts and hostPorts are served: ranges such as 192.0.2.0/24, and names of devices such as eth0 or bond*. Loopback always is. Default: the InternalIPs and ExternalIPs of the Node object, or all addresses of the devices where it has none.',
    ),
  ),
  sourceRanges: v.pipe(
    v.optional(v.picklist(['everywhere', 'external'], rangesRemedy), 'everywhere'),
    v.description(
      'Which clients loadBalancerSourceRanges restrict: everywhere (all, also pods and processes of the nodes, by their addresses) or external (only those that enter a node from outside the cluster).',
    ),
  ),
  externalIPs: v.pipe(
    v.optional(v.picklist(['serve', 'protect'], externalIPsRemedy), 'serve'),
    v.description(
      'Whether a service may have an address of a node as externalIP: serve (as kube-proxy does) or protect (it is refused, because anyone who may write a Service may write any externalIP). The address of the API server, a ClusterIP and the address of a pod are refused always.',
    ),
  ),
  sizes: v.pipe(
    v.optional(
      v.strictObject(
        {
          services: size(
            65536,
            'Entries for service addresses at the start: each frontend (address, port and protocol) takes one.',
          ),
          servicesMax: size(
            262144,
            'Entries for service addresses that the map grows to. Of them one service may have a quarter, one namespace a half; older services come first.',
          ),
          backends: size(
            131072,
            'Entries for backends: each address and port of a service takes one.',
          ),
          slots: size(
            262144,
            'Places in the backend lists of all services, with room for lists being replaced.',
          ),
          affinity: size(
            65536,
            'Clients that session affinity remembers; the least recently used one goes first.',
          ),
          flows: size(
            65536,
            'Connections from outside that are translated on this node at a time; 136 bytes each.',
          ),
        },
        'write a mapping with the fields services, servicesMax, backends, slots, affinity, flows',
      ),
      {},
    ),
    v.description('Sizes of the kernel maps.'),
  ),
  timeouts: v.pipe(
    v.optional(
      v.strictObject(
        {
          tcpHandshake: timeout(
            'tcpHandshake',
            'a TCP connection that is not made yet is forgotten.',
          ),
          tcpEstablished: timeout(
            'tcpEstablished',
            'an open TCP connection is forgotten; RFC 5382 asks for 7440 or more.',
          ),
          tcpHalfClosed: timeout(
            'tcpHalfClosed',
            'a TCP connection that one side has closed is forgotten.',
          ),
          tcpClosed: timeout(
            'tcpClosed',
            'one that both have closed is, while the backend keeps its port (TIME-WAIT) or waits for the last acknowledgement.',
          ),
          tcpReset: timeout(
            'tcpReset',
            'one that both have closed is, once the backend has forgotten it; or one that was reset.',
          ),
          udpUnanswered: timeout(
            'udpUnanswered',
            'a UDP flow without an answer is forgotten; RFC 4787 asks for 120 or more.',
          ),
          udp: timeout('udp', 'an answered UDP flow is forgotten; RFC 4787 recommends 300.'),
          sctpHandshake: timeout(
            'sctpHandshake',
            'an SCTP association without an answer is forgotten.',
          ),
          sctp: timeout('sctp', 'an answered SCTP association is forgotten.'),
        },
        `write a mapping with the fields ${Object.keys(defaultNat.timeouts).join(', ')}`,
      ),
      {},
    ),
    v.description('When connections from outside are forgotten.'),
  ),
  options: v.pipe(
    v.optional(
      v.strictObject(
        {
          terminateTcp: v.pipe(
            v.optional(v.boolean(yesNoRemedy), false),
            v.description(
              'Close TCP connections to a backend that is gone (UDP sockets always are told).',
            ),
          ),
        },
        'write a mapping with the field terminateTcp',
      ),
      {},
    ),
    v.description('Behaviour that is a matter of choice.'),
  ),
});

/** A field of the configuration file, for help texts and documents. */
export interface ConfigField {
  /** Dotted path, e.g. `sizes.services`. */
  readonly name: string;
  readonly about: string;
  /** Absent: none, or it depends on the machine (then `about` says so). */
  readonly fallback?: string | number | boolean;
}

/** All fields with their documentation, in the order of the schema. */
export function configFields(): ConfigField[] {
  const fields: ConfigField[] = [];
  for (const [name, entry] of Object.entries(schema.entries)) {
    const about = v.getDescription(entry as v.GenericSchema) ?? '';
    if (name === 'sizes' || name === 'timeouts' || name === 'options') {
      const group = schema.entries[name].pipe[0].wrapped.entries;
      for (const [inner, leaf] of Object.entries(group)) {
        fields.push({
          name: `${name}.${inner}`,
          about: v.getDescription(leaf as v.GenericSchema) ?? '',
          fallback: v.getDefault(leaf) as number | boolean,
        });
      }
      continue;
    }
    const fallback = v.getDefault(entry as v.GenericSchema) as string | [] | undefined;
    fields.push(typeof fallback === 'string' ? { name, about, fallback } : { name, about });
  }
  return fields;
}

/** The sizes that nobody has set. */
export const defaultSizes: MapSizes = v.getDefaults(schema.entries.sizes.pipe[0].wrapped);
/** Likewise, seconds. */
export const defaultTimeouts: FlowTimeouts = defaultNat.timeouts;
/** The longest one that is taken, in seconds. */
export { longestTimeout } from '@heddle/datapath/flow-options';

/** Flags of the command line by the dotted name of the field that they set. */
export type ConfigFlags = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;

/**
 * The configuration from a YAML file (if any) and flags, which win. Throws ConfigError, whose
 * message names every field that can't be used.
 */
export function readConfig(file: { path: string; text: string } | undefined, flags: ConfigFlags) {
  const fromFile = file ? parseFile(file) : {};
  const input: Record<string, unknown> = { ...fromFile };
  for (const [name, value] of Object.entries(flags)) {
    if (value === undefined) continue;
    const [group, leaf] = name.split('.') as [string, string?];
    input[group] = leaf === undefined ? value : { ...asMapping(input[group]), [leaf]: value };
  }
  const result = v.safeParse(schema, input);
  if (result.success) return unmixed(result.output satisfies Config as Config);
  const sentences = result.issues.map((issue) => {
    const field = v.getDotPath(issue) ?? '';
    const where =
      flags[field] !== undefined ? 'read flags' : `read config${file ? ` ${file.path}` : ''}`;
    return `${where}: ${describe(issue, field)}`;
  });
  throw new ConfigError(sentences.join('\n'));
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

function parseFile(file: { path: string; text: string }): Record<string, unknown> {
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
    throw new ConfigError(`read config ${file.path}: ${(error as Error).message}`);
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

function describe(issue: v.BaseIssue<unknown>, field: string): string {
  if (issue.type === 'strict_object' && issue.expected === 'never') {
    const names = configFields().map(({ name }) => name);
    return `no field is called ${field}; remove it or use one of ${names.join(', ')}`;
  }
  return `${field} is ${shown(issue.input)}; ${issue.message}`;
}

function shown(value: unknown): string {
  const text = withoutCredentials(JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
