import type { AgentStatus, EffectiveConfig } from '@heddle/agent';
import type { ControlSource } from '@heddle/control';
import { openControl } from '@heddle/inspect/open';
import { age, type Cell, formatFacts, formatTable, mebibytes, printJson } from '../print.ts';
import { printable } from '../printable.ts';
import type { ReadOptions } from '../read-options.ts';

/** `heddle status`: shows the state of the agent. */
export async function status({ output, ...source }: ReadOptions): Promise<void> {
  using client = await openControl(source);
  const facts = (await client.request('status')) as AgentStatus;
  if (output === 'json') {
    printJson(facts);
    return;
  }
  // A dump has no settings of its node.
  const wrong = source.fromDump === undefined ? await wrongSettings(client, facts) : [];
  process.stdout.write(describe(facts, client.nowMs, wrong));
}

/** Returns lines about settings of the node that lose packets, connections or rows. */
async function wrongSettings(client: ControlSource, status: AgentStatus): Promise<Line[]> {
  if (status.networkNamespace === undefined) return [];
  const config = (await client.request('config.get')) as EffectiveConfig;
  const { examineNode } = await import('./tune.ts');
  try {
    const findings = examineNode({ value: { status, config } });
    return findings
      .filter(({ state }) => state === 'wrong')
      .map(({ name, subject, found }): Line => {
        const what = [name, subject].filter(Boolean).join(' ');
        return ['tuning', { text: `${what}: ${found} (run heddle tune)`, style: 'yellow' }];
      });
  } catch (error) {
    return [['tuning', `unknown: ${(error as Error).message}`]];
  }
}

type Line = [name: string, text: Cell];

function describe(status: AgentStatus, nowMs: number, wrong: readonly Line[]): string {
  const lines = [
    ...agentLines(status, nowMs),
    ...integrityLines(status.integrity, nowMs),
    ...kernelLines(status),
    ...podLines(status),
    ...nodeLines(status),
    ...serverLines(status),
    ...countLines(status),
    ...status.warnings.map((text): Line => ['warning', { text, style: 'yellow' }]),
    ...wrong,
  ];
  const problems = status.source.problems.map(({ file, line, message }) => {
    const place = file === '' ? '' : `${file}${line > 0 ? `:${line}` : ''}: `;
    return `${printable(`${place}${message}`)}\n`;
  });
  const rest = problems.length > 0 ? `\n${problems.join('')}` : '';
  return `${formatFacts(lines)}\n${mapTable(status.datapath.maps)}${rest}`;
}

function agentLines(status: AgentStatus, nowMs: number): Line[] {
  const { rows, source, datapath, version, pid, started, node, addresses } = status;
  const detached = datapath.links.filter((link) => !link.attached).map((link) => link.hook);
  const memory = status.residentBytes ? `, ${mebibytes(status.residentBytes)}` : '';
  const services: Cell = isSynced(status)
    ? rowsCell(rows)
    : { text: unknownYet(status), style: 'yellow' };
  const hooks =
    detached.length === 0
      ? `${datapath.links.length} attached`
      : `not attached: ${detached.join(', ')}`;
  const start = datapath.adopted ? 'adopted the maps of an earlier agent' : 'fresh';
  const repaired = counted(datapath.repaired, 'entry', 'entries');
  return [
    ['agent', `${version}, process ${pid}, up ${age(started, nowMs)}${memory}`],
    ['node', `${node} (${addresses.join(', ') || 'no addresses'})`],
    sourceLine(source, nowMs),
    ['services', services],
    ['hooks', good(detached.length === 0, hooks)],
    ['start', `${start}, ${repaired} repaired, layout ${datapath.abi}`],
  ];
}

/** Returns lines about XDP, missing features of the kernel, and netfilter. */
function kernelLines({ datapath }: AgentStatus): Line[] {
  const lines: Line[] = [];
  for (const { device, mode, problem, isOptional } of datapath.xdp ?? []) {
    const text = `${mode} at ${device}${problem === undefined ? '' : `: ${problem}`}`;
    lines.push(['xdp', isOptional ? text : good(problem === undefined, text)]);
  }
  for (const { feature, since, instead } of datapath.missing) {
    lines.push(['kernel', `without ${feature} (Linux ${since} has it): ${instead}`]);
  }
  if (datapath.tracked && datapath.links.some(({ hook }) => hook.startsWith('node_'))) {
    const what = 'external packets to pods of this node pass its FORWARD rules';
    lines.push(['netfilter', `tracks connections: ${what}`]);
  }
  return lines;
}

/** Returns lines about the pod network, if Heddle is the network of the cluster. */
function podLines({ pods }: AgentStatus): Line[] {
  if (!pods) return [];
  const { count, mtu, addresses, notReady } = pods;
  const used = addresses.map((each) => `${each.used} of ${each.total} ${each.family} addresses`);
  const facts = [counted(count, 'pod', 'pods'), ...used, `MTU ${mtu}`].join(', ');
  return [['network', good(notReady === undefined, notReady ? `${facts}; ${notReady}` : facts)]];
}

/** Returns a line about the paths to other nodes, if Heddle is the network of the cluster. */
function nodeLines({ nodes }: AgentStatus): Line[] {
  if (!nodes) return [];
  const { direct, tunnel, mixed, none } = nodes.modes;
  const modes = [
    `${direct} direct`,
    `${tunnel} through a tunnel`,
    ...(mixed > 0 ? [`${mixed} by both`] : []),
    ...(none > 0 ? [`${none} unreachable (heddle node list)`] : []),
  ];
  const total = direct + tunnel + mixed + none;
  const facts =
    total === 0
      ? 'no other nodes'
      : `${counted(total, 'other node', 'other nodes')}: ${modes.join(', ')}`;
  const { tunnelProblem } = nodes;
  const text = tunnelProblem === undefined ? facts : `${facts}; no tunnels: ${tunnelProblem}`;
  return [['nodes', good(none === 0 && tunnelProblem === undefined, text)]];
}

/** Returns lines about the health and metrics servers, and health checks of services. */
function serverLines({ servers = [], healthChecks }: AgentStatus): Line[] {
  const lines = servers.map(
    ({ name, address, listening, problem }): Line => [
      name,
      good(listening, problem ?? `served on ${address}`),
    ],
  );
  const { listening = 0, failed = 0 } = healthChecks ?? {};
  if (listening + failed > 0) {
    const why = failed > 0 ? `, ${failed} not (heddle service get shows why)` : '';
    lines.push(['checks', good(failed === 0, `${listening} health check ports served${why}`)]);
  }
  return lines;
}

/** Returns lines about refused connections, dropped packets and closed sockets, if there were any. */
function countLines({ refusals, drops, datapath }: AgentStatus): Line[] {
  const lines: Line[] = [];
  const refused = refusals.filter(({ count }) => count > 0);
  if (refused.length > 0) {
    lines.push(['refused', refused.map(({ reason, count }) => `${count} ${reason}`).join(', ')]);
  }
  const dropped = drops.filter(({ count }) => count > 0);
  if (dropped.length > 0) {
    lines.push(['dropped', dropped.map(({ reason, count }) => `${count} (${reason})`).join(', ')]);
  }
  if (datapath.socketsDestroyed > 0) {
    lines.push([
      'sockets',
      `${datapath.socketsDestroyed} closed because their backend was removed`,
    ]);
  }
  return lines;
}

function mapTable(maps: AgentStatus['datapath']['maps']): string {
  return formatTable(
    ['MAP', 'ENTRIES', 'SIZE', 'USED'],
    maps.map(({ name, entries, maxEntries }) => {
      const share = maxEntries === 0 ? 0 : entries / maxEntries;
      const text = `${Math.ceil(share * 100)}%`;
      const used: Cell = share >= 0.8 ? { text, style: 'red' } : text;
      return [name, `${entries}`, `${maxEntries}`, used];
    }),
  );
}

/** Returns lines about changes of the kernel's state by other programs, if there were any. */
function integrityLines(integrity: AgentStatus['integrity'] | undefined, nowMs: number): Line[] {
  if (!integrity) return [];
  const { broken, since, reason, incidents, repairs, released } = integrity;
  const lines: Line[] = broken.map(({ kind, name, problem }) => {
    const why = reason === undefined ? '' : `; repair: ${reason}`;
    const time = since === undefined ? '' : ` for ${age(since, nowMs)}`;
    return ['broken', good(false, `${kind} ${name} ${problem}${time}${why}`)];
  });
  if (broken.length === 0 && since !== undefined) {
    lines.push([
      'broken',
      good(false, `the state of the programs in the kernel is unknown: ${reason}`),
    ]);
  }
  if (released) {
    lines.push(['released', good(false, 'heddle cleanup removed the programs; restart the agent')]);
  }
  const counts = Object.entries(incidents).filter(([, count]) => count > 0);
  if (counts.length > 0) {
    const kinds = counts.map(([kind, count]) => `${kind}s ${count}`).join(', ');
    const what = `other programs changed the kernel's state (${kinds}); ${counted(repairs, 'repair')}`;
    lines.push(['changed', { text: what, style: 'yellow' }]);
  }
  return lines;
}

function rowsCell({ done, pending, failed }: AgentStatus['rows']): Cell {
  return good(failed === 0, `${done} programmed, ${pending} pending, ${failed} failed`);
}

/** Returns true when the agent has read all objects; also for dumps of older versions, which lack the field. */
export function isSynced({ synced }: { readonly synced?: boolean }): boolean {
  return synced !== false;
}

/** Returns the line that replaces the rows while the objects are being read. */
export function unknownYet({ datapath }: AgentStatus): string {
  const served = datapath.maps.find(({ name }) => name === 'services')?.entries ?? 0;
  const kernel = served === 0 ? 'serves nothing' : `serves ${counted(served, 'frontend')}`;
  return `unknown yet, the objects are being read; the kernel ${kernel}`;
}

function good(holds: boolean, text: string): Cell {
  return { text, style: holds ? 'green' : 'red' };
}

/** Returns the source of the objects and its state. */
function sourceLine(source: AgentStatus['source'], nowMs: number): Line {
  const { kind, path, complete, problems, phase, since, lastEvent, reason, retryAt } = source;
  const name = kind === 'cluster' ? 'cluster' : 'manifests';
  // For a folder, the problems show why it can't be read.
  if (kind === 'cluster' && phase === 'disconnected') {
    const next = retryAt === undefined ? '' : ` (next try ${inFuture(retryAt, nowMs)})`;
    const what = `disconnected from ${path} for ${age(since, nowMs)}: ${reason}${next}`;
    return [name, good(false, complete ? `${what}; services stay programmed` : what)];
  }
  const news = kind === 'cluster' && lastEvent ? `, last event ${age(lastEvent, nowMs)} ago` : '';
  const isGood = complete && problems.length === 0;
  const read = complete ? 'read' : 'being read';
  return [name, good(isGood, `${path}: ${read}${news}, ${counted(problems.length, 'problem')}`)];
}

function inFuture(time: string, nowMs: number): string {
  const seconds = Math.ceil((Date.parse(time) - nowMs) / 1000);
  return seconds > 0 ? `in ${seconds}s` : 'now';
}

function counted(number: number, one: string, many = `${one}s`): string {
  return `${number === 0 ? 'no' : number} ${number === 1 ? one : many}`;
}
