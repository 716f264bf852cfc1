import { readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { findPodLinks, removeCni, removeNodeRoutes } from '@heddle/agent';
import { exitCodes, Failure } from '@heddle/control/failure';
import { filterPlace, PinLock, pinRoot } from '@heddle/datapath';
import { listLinks, NetlinkSocket, removeFilter } from '@heddle/netlink';
import { linkStatus, pathExists } from '@heddle/sys';
import { isUnixListening } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import { type OutputFormat, printJson, printLine } from '../print.ts';

interface Options {
  readonly bpffs: string;
  readonly socket: string;
  readonly cniBinDir: string;
  readonly cniConfigDir: string;
  readonly output: OutputFormat;
  readonly force?: true;
  readonly kubeProxy?: true;
  readonly pods?: true;
}

/**
 * `heddle cleanup`: removes the CNI plug-in with its configuration, all pins of Heddle in the BPF file
 * system, tc filters, and the control socket. Links whose only reference is their pin are detached, and
 * unused programs and maps are freed. The pods that Heddle has connected keep their interfaces, and the
 * node its routes to other nodes, unless `pods` is given; without such pods the routes go, too.
 */
export async function cleanup(options: Options): Promise<void> {
  const { bpffs, socket, output, force, kubeProxy } = options;
  if (kubeProxy) return cleanupKubeProxy(output, force ?? false);
  const runs = isUnixListening(nodePlatform(), socket);
  if (!force && runs) {
    throw new Failure(
      exitCodes.busy,
      `clean up: an agent runs (it responds at ${socket}); stop it first, or give --force to remove the programs while it runs`,
    );
  }
  const kind = linkStatus(nodePlatform(), socket)?.kind;
  if (kind !== undefined && kind !== 'socket') {
    throw new Failure(
      exitCodes.failed,
      `clean up: ${socket} is a ${kind} and not a socket, so it is not removed (name the control socket with --socket, or remove it yourself)`,
    );
  }
  if (runs) await release(socket);
  // An agent with another socket may use the same pins.
  using _pins = force ? undefined : unusedPins(bpffs);
  const { cniBinDir: binDir, cniConfigDir: configDir } = options;
  // First of all the runtime must connect no more pods by Heddle.
  const removed = removeCni(nodePlatform(), { binDir, configDir });
  const pods = findPodLinks(nodePlatform());
  const left = options.pods ? [] : pods.names;
  if (options.pods) {
    pods.remove();
    removed.push(...pods.names.map((name) => `interface ${name}`));
  }
  removed.push(...removeFilters());
  removeTree(`${bpffs}/heddle`, removed);
  if (left.length === 0) removed.push(...removeNodeRoutes(nodePlatform()));
  // A socket that an agent still listens on is removed by that agent.
  const isUsed = kind === 'socket' && isUnixListening(nodePlatform(), socket);
  if (!isUsed && remove(() => unlinkSync(socket))) removed.push(socket);
  if (output === 'json') {
    printJson({ removed, left });
    return;
  }
  for (const path of removed) printLine(`removed ${path}`);
  for (const name of left) printLine(`left    ${name}`);
  if (left.length > 0) {
    printLine(
      `${left.length} pods keep their interfaces, without masquerading and tunnels; --pods removes them`,
    );
  }
  if (removed.length === 0) printLine('nothing to remove');
}

/**
 * `heddle cleanup --kube-proxy`: removes the rules and interfaces that kube-proxy left, and nothing
 * of Heddle.
 */
async function cleanupKubeProxy(output: OutputFormat, force: boolean): Promise<void> {
  const { removeLeftovers, runningKubeProxy, runTool } = await import('@heddle/deploy/kube-proxy');
  const sign = force ? undefined : await runningKubeProxy();
  if (sign !== undefined) {
    throw new Failure(
      exitCodes.busy,
      `clean up after kube-proxy: it still runs here (${sign}) and would write everything again; stop it first, or give --force`,
    );
  }
  const removal = await removeLeftovers(runTool);
  if (removal.failed.length > 0) process.exitCode = exitCodes.failed;
  if (output === 'json') {
    printJson(removal);
    return;
  }
  for (const [outcome, sentences] of Object.entries(removal) as [string, string[]][]) {
    for (const sentence of sentences) printLine(`${outcome.padEnd(7)}  ${sentence}`);
  }
  if (removal.removed.length + removal.failed.length === 0) printLine('nothing to remove');
}

/** Makes the agent release its programs, because it would attach them again after the removal. */
async function release(socket: string): Promise<void> {
  const { ControlClient } = await import('@heddle/control');
  try {
    using client = await ControlClient.connect(socket);
    await client.request('release');
  } catch (error) {
    const { message } = error as Error;
    // An agent of an earlier version has no such method and attaches nothing again.
    if (message.includes('no method is called')) return;
    const warning = `the agent did not release its programs (${message}); stop it, or it attaches them again`;
    process.stderr.write(`heddle: ${warning}\n`);
  }
}

/** Locks the pins so that no agent starts meanwhile. Throws PinsInUse if an agent runs. */
function unusedPins(bpffs: string): Disposable | undefined {
  const platform = nodePlatform();
  const folder = pinRoot(bpffs);
  return pathExists(platform, folder) ? new PinLock(platform, folder) : undefined;
}

/** Removes tc filters, which attach programs before Linux 6.6 and have no pins. */
function removeFilters(): string[] {
  const removed: string[] = [];
  using socket = new NetlinkSocket(nodePlatform());
  for (const { index: link, name } of listLinks(socket)) {
    for (const direction of ['ingress', 'egress'] as const) {
      if (!removeFilter(socket, { link, direction, ...filterPlace })) continue;
      removed.push(`filter at ${direction} of ${name}`);
    }
  }
  return removed;
}

/** Removes a directory of a BPF file system, which contains only directories and pins. */
function removeTree(path: string, removed: string[]): void {
  let entries: { name: string; isDirectory(): boolean }[];
  try {
    entries = readdirSync(path, { withFileTypes: true });
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  for (const entry of entries) {
    const inner = `${path}/${entry.name}`;
    if (entry.isDirectory()) removeTree(inner, removed);
    else if (remove(() => unlinkSync(inner))) removed.push(inner);
  }
  if (remove(() => rmdirSync(path))) removed.push(path);
}

/** Runs `step`; returns false if the file did not exist. */
function remove(step: () => void): boolean {
  try {
    step();
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
