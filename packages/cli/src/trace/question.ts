import { formatIp, parseIp } from '@heddle/sys';
import type { Dump, DumpedNamespace } from '../dump/dump.ts';
import { exitCodes, Failure } from '../failure.ts';

/** What the user asks, as written. */
export interface Asked {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly at?: 'socket' | 'node';
}

/** The same with everything found. */
export interface Question {
  /** Address of who asks. */
  readonly source: string;
  /** Its network namespace; absent: it is not on this node. */
  readonly namespace?: DumpedNamespace;
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly at: 'socket' | 'node';
}

/** Finds who and what is meant. Throws Failure, which says what there is. */
export function understand(dump: Dump, asked: Asked): Question {
  const address = destination(dump, asked);
  const isV4 = !address.includes(':');
  const { namespace, source } = origin(dump, asked, isV4);
  const at = asked.at ?? (namespace ? 'socket' : 'node');
  if (at === 'socket' && !namespace) {
    throw new Failure(
      exitCodes.failed,
      `trace from ${asked.from}: no network namespace of this node has that address, so no socket of it is here (leave --at away, or run it on that node)`,
    );
  }
  const { port, protocol } = asked;
  return { source, ...(namespace ? { namespace } : {}), address, port, protocol, at };
}

function origin(
  { namespaces }: Dump,
  { from, at }: Asked,
  isV4: boolean,
): { source: string; namespace?: DumpedNamespace } {
  const parsed = parseIp(from);
  const address = parsed && formatIp(parsed);
  if (address !== undefined && address.includes(':') === isV4) {
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: the destination is of the other family`,
    );
  }
  const name = from.slice(from.lastIndexOf('/') + 1);
  const all = namespaces.filter(({ names, addresses }) =>
    address === undefined ? names.includes(name) : addresses.includes(address),
  );
  // Heddle serves the sockets of processes that it sees; an address elsewhere is a client outside.
  const served = all.filter(({ isServed, isNode }) => isServed || isNode);
  const isOutside = address !== undefined && at !== 'socket';
  const candidates = served.length > 0 || isOutside ? served : all;
  if (candidates.length > 1) {
    const which = candidates.map((each) => each.addresses[0] ?? `inode ${each.inode}`).join(', ');
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: ${candidates.length} network namespaces are known as that: ${which} (name the address)`,
    );
  }
  const [namespace] = candidates;
  if (!namespace && address === undefined) {
    const known = [...new Set(namespaces.flatMap(({ names }) => names))].sort();
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: no pod of that name has a process on this node (there are ${known.slice(0, 20).join(', ') || 'none'}; or name an IP address)`,
    );
  }
  const own = namespace?.addresses.find((each) => each.includes(':') !== isV4);
  const source = address ?? own;
  if (source === undefined) {
    throw new Failure(
      exitCodes.failed,
      `trace from ${from}: it has no ${isV4 ? 'IPv4' : 'IPv6'} address`,
    );
  }
  return { source, ...(namespace ? { namespace } : {}) };
}

/** The address that is meant: of a service the one that has the port, else its first. */
function destination({ answers }: Dump, { from, to, port, protocol, at }: Asked): string {
  const parsed = parseIp(to);
  if (parsed) return formatIp(parsed);
  if ('missing' in answers) {
    throw new Failure(
      exitCodes.failed,
      `trace to ${to}: services are known by name only with an agent (${answers.missing}); name an IP address`,
    );
  }
  const service = to.includes('/') ? to : `default/${to}`;
  const rows = answers.services.filter(
    ({ namespace, name, frontends }) => `${namespace}/${name}` === service && frontends.length > 0,
  );
  const fromBytes = parseIp(from);
  const family = fromBytes ? (formatIp(fromBytes).includes(':') ? 'v6' : 'v4') : undefined;
  const all = rows
    .flatMap((row) => row.frontends.map((frontend) => ({ ...frontend, protocol: row.protocol })))
    .filter(({ address }) => family === undefined || address.includes(':') === (family === 'v6'));
  const score = (each: (typeof all)[number]) =>
    (each.port === port ? 8 : 0) +
    (each.protocol.toLowerCase() === protocol ? 4 : 0) +
    ((each.kind === 'ClusterIP') === (at !== 'node') ? 2 : 0) +
    (each.address.includes(':') ? 0 : 1);
  const best = all.reduce<(typeof all)[number] | undefined>(
    (found, each) => (found && score(found) >= score(each) ? found : each),
    undefined,
  );
  if (!best) {
    throw new Failure(
      exitCodes.failed,
      `trace to ${to}: the agent has no address of a service ${service}${family ? ' of this family' : ''} (heddle service list shows those there are)`,
    );
  }
  return best.address;
}
