import { readdirSync, rmdirSync, unlinkSync } from 'node:fs';
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
  readonly output: OutputFormat;
  readonly force?: true;
  readonly kubeProxy?: true;
}

/**
 * `heddle cleanup`: removes every pin below the bpf file system, filters of devices, and the control
 * socket. A link that only its pin kept ends with it, and so do the programs and maps.
 */
export async function cleanup({ bpffs, socket, output, force, kubeProxy }: Options): Promise<void> {
  if (kubeProxy) return cleanupKubeProxy(output, force ?? false);
  const runs = isUnixListening(nodePlatform(), socket);
  if (!force && runs) {
    throw new Failure(
      exitCodes.busy,
      `clean up: an agent runs (it answers on ${socket}); stop it first, or say --force to pull the datapath from under it`,
    );
  }
  const kind = linkStatus(nodePlatform(), socket)?.kind;
  if (kind !== undefined && kind !== 'socket') {
    throw new Failure(
      exitCodes.failed,
      `clean up: a ${kind} and no socket is at ${socket}, so it is not removed (name the control socket with --socket, or remove it yourself)`,
    );
  }
  if (runs) await release(socket);
  // A second agent with another socket works with the same pins as well as one with this socket.
  using _pins = force ? undefined : unusedPins(bpffs);
  const removed = removeFilters();
  removeTree(`${bpffs}/heddle`, removed);
  // A socket that an agent still listens on is that agent's to remove.
  const isUsed = kind === 'socket' && isUnixListening(nodePlatform(), socket);
  if (!isUsed && remove(() => unlinkSync(socket))) removed.push(socket);
  if (output === 'json') {
    printJson({ removed });
    return;
  }
  for (const path of removed) printLine(`removed ${path}`);
  if (removed.length === 0) printLine('nothing to remove');
}

/** `heddle cleanup --kube-proxy`: removes what a kube-proxy left, and nothing of Heddle's. */
async function cleanupKubeProxy(output: OutputFormat, force: boolean): Promise<void> {
  const { removeLeftovers, runningKubeProxy, runTool } = await import('@heddle/deploy/kube-proxy');
  const sign = force ? undefined : await runningKubeProxy();
  if (sign !== undefined) {
    throw new Failure(
      exitCodes.busy,
      `clean up after kube-proxy: it still runs here (${sign}) and would write everything again; stop it first, or say --force`,
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

/** Has the agent let go of its programs: it would make again what is removed. */
async function release(socket: string): Promise<void> {
  const { ControlClient } = await import('@heddle/control');
  try {
    using client = await ControlClient.connect(socket);
    await client.request('release');
  } catch (error) {
    const { message } = error as Error;
    // An agent of an earlier version holds nothing, and repairs nothing.
    if (message.includes('no method is called')) return;
    const warning = `the agent did not let go of its programs (${message}); stop it, or it makes again what is removed`;
    process.stderr.write(`heddle: ${warning}\n`);
  }
}

/** Keeps agents from starting meanwhile. Throws PinsInUse when one runs. */
function unusedPins(bpffs: string): Disposable | undefined {
  const platform = nodePlatform();
  const folder = pinRoot(bpffs);
  return pathExists(platform, folder) ? new PinLock(platform, folder) : undefined;
}

/** Takes programs off devices that are filters there, as before Linux 6.6: no pin keeps those. */
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

/** A bpf file system holds directories and pins only. */
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

/** False when it was gone already. */
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
