import type { AgentStatus, AttachmentEntry } from '@heddle/agent';
import type { ControlSource } from '@heddle/control';
import { exitCodes, Failure } from '@heddle/control/failure';
import { openControl } from '@heddle/inspect/open';
import { type PolicyWorld, policyKey } from '@heddle/policy';
import { age, type Cell, formatFacts, formatTable, printJson, printLine } from '../print.ts';
import type { ReadOptions } from '../read-options.ts';
import { clusterOfAgent } from './policy/cluster.ts';
import { fullName } from './service.ts';

interface Options extends ReadOptions {
  readonly namespace?: string;
}

/** The characters of a container id that tables show. */
const shownId = 13;

/** `heddle pod list`: prints a line for each pod interface of the node. */
export async function podList({ output, namespace, ...source }: Options): Promise<void> {
  using client = await openControl(source);
  const all = await attachments(client);
  const pods = all.filter((pod) => namespace === undefined || pod.namespace === namespace);
  if (output === 'json') printJson({ pods });
  else if (pods.length === 0) printLine(await whyNone(client, namespace));
  else {
    const header = ['POD', 'ADDRESSES', 'INTERFACE', 'CONTAINER', 'AGE'];
    const lines = pods.map((pod) => line(pod, client.nowMs));
    process.stdout.write(formatTable(header, lines));
  }
}

/** `heddle pod get`: prints everything about one pod. */
export async function podGet(which: string, { output, ...source }: Options): Promise<void> {
  using client = await openControl(source);
  const pods = (await attachments(client)).filter((pod) => isMeant(pod, which));
  if (pods.length === 0) {
    throw new Failure(
      exitCodes.failed,
      `find pod ${which}: this node has none (heddle pod list shows those there are)`,
    );
  }
  const { node, datapath, policies } = (await client.request('status')) as AgentStatus;
  const programs = datapath.links.filter(({ hook }) => hook === 'from_pod' || hook === 'to_pod');
  const world = policies && (await clusterOfAgent(client)).world;
  if (output === 'json') {
    printJson({
      ...{ node, programs },
      pods: world ? pods.map((pod) => ({ ...pod, policies: policiesOf(world, pod) })) : pods,
    });
    return;
  }
  pods.forEach((pod, i) => {
    if (i > 0) printLine();
    const facts = factsOf(pod, client.nowMs);
    facts.splice(1, 0, ['node', node]);
    facts.push(['programs', programsCell(programs)]);
    const selecting = world && policiesOf(world, pod);
    if (!selecting) facts.push(['policies', 'off (setting networkPolicy)']);
    else if (selecting.length === 0) facts.push(['policies', 'none']);
    for (const policy of selecting ?? []) facts.push(['policy', policy]);
    process.stdout.write(formatFacts(facts));
  });
}

/** Returns the keys of the policies that select a pod, in the order of precedence. */
function policiesOf(world: PolicyWorld, { namespace, name }: AttachmentEntry): readonly string[] {
  const pod = world.pods.get(`${namespace}/${name}`);
  return pod ? world.policiesOf(pod).map(policyKey) : [];
}

async function attachments(client: ControlSource): Promise<AttachmentEntry[]> {
  const all: AttachmentEntry[] = [];
  for await (const entry of client.items<AttachmentEntry>('attachment.list')) all.push(entry);
  return all.sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
}

function sortKey({ namespace, name, containerId, podInterface }: AttachmentEntry): string {
  return `${namespace}/${name}/${containerId}/${podInterface}`;
}

async function whyNone(client: ControlSource, namespace: string | undefined): Promise<string> {
  const { pods } = (await client.request('status')) as AgentStatus;
  if (!pods) return 'no pods: Heddle is not the network of the cluster (setting network)';
  return namespace === undefined ? 'no pods' : `no pods in namespace ${namespace}`;
}

function line(pod: AttachmentEntry, nowMs: number): Cell[] {
  return [
    nameOf(pod),
    pod.addresses.join(', '),
    pod.interface,
    pod.containerId.slice(0, shownId),
    pod.since === undefined ? '-' : age(pod.since, nowMs),
  ];
}

/** Returns the name of a pod; the name of its interface follows if it is not the usual one. */
function nameOf({ namespace, name, podInterface }: AttachmentEntry): string {
  const pod = name === '' ? '-' : `${namespace}/${name}`;
  return podInterface === 'eth0' ? pod : `${pod} ${podInterface}`;
}

function isMeant(pod: AttachmentEntry, which: string): boolean {
  const { namespace, name, addresses, containerId } = pod;
  const names = [`${namespace}/${name}`, pod.interface, containerId, ...addresses];
  return names.includes(which) || `${namespace}/${name}` === fullName(which);
}

/** Returns the programs at pod interfaces, and whether they are attached. */
function programsCell(programs: AgentStatus['datapath']['links']): Cell {
  const detached = programs.filter(({ attached }) => !attached).map(({ hook }) => hook);
  if (detached.length > 0) return { text: `not attached: ${detached.join(', ')}`, style: 'red' };
  return programs.map(({ hook }) => hook).join(', ') || 'unknown';
}

function factsOf(pod: AttachmentEntry, nowMs: number): [string, Cell][] {
  const facts: [string, Cell][] = [['pod', nameOf(pod)]];
  if (pod.podUid !== undefined) facts.push(['uid', pod.podUid]);
  for (const address of pod.addresses) facts.push(['address', address]);
  facts.push(
    ['interface', `${pod.interface} (index ${pod.ifindex}, ${pod.kind}, MTU ${pod.mtu})`],
    ['in the pod', pod.kind === 'veth' ? `${pod.podInterface} (${pod.mac})` : pod.podInterface],
    ['container', pod.containerId],
  );
  if (pod.since !== undefined) facts.push(['since', `${pod.since} (${age(pod.since, nowMs)})`]);
  return facts;
}
