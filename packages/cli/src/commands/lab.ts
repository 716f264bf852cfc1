import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { exitCodes, Failure } from '@heddle/control/failure';
import type { Lab, LabHost } from '@heddle/lab';
import { formatTable, type OutputFormat, printJson, printLine } from '../print.ts';

interface Options {
  readonly name: string;
  readonly output: OutputFormat;
}

interface UpOptions extends Options {
  readonly nodes: number;
  readonly pods: number;
}

/** `heddle lab up`: creates a lab that stays after this command. */
export async function labUp({ name, nodes, pods, output }: UpOptions): Promise<void> {
  const { createLab, listLabs } = await import('@heddle/lab');
  if (listLabs().some((lab) => lab.name === name)) {
    throw new Failure(
      exitCodes.failed,
      `make lab ${name}: it is there already (heddle lab status shows it, heddle lab down --name ${name} removes it)`,
    );
  }
  const lab = createLab(await platform(), { name, nodes, podsPerNode: pods, keep: true });
  print(lab, output);
}

/** `heddle lab down`: removes a lab. */
export async function labDown({ name }: Options): Promise<void> {
  const { removeLab } = await import('@heddle/lab');
  if (!removeLab(await platform(), name)) throw await noLab(name);
  printLine(`removed lab ${name}`);
}

/** `heddle lab status`: prints nodes and pods with their addresses. */
export async function labStatus({ name, output }: Options): Promise<void> {
  print(await open(name), output);
}

/** `heddle lab exec`: runs a process in a pod or on a node and exits with its exit code. */
export async function labExec(
  placeName: string,
  words: readonly string[],
  { name }: Options,
): Promise<void> {
  const [command, ...args] = words[0] === '--' ? words.slice(1) : words;
  if (command === undefined) {
    throw new Failure(
      exitCodes.usage,
      `run command in ${placeName}: none is given (write it after --)`,
    );
  }
  const lab = await open(name);
  let place: LabHost;
  try {
    place = lab.host(placeName);
  } catch (error) {
    throw new Failure(exitCodes.failed, (error as Error).message, { cause: error });
  }
  let child: ChildProcess | undefined;
  // The terminal signals this process and the child, and the child decides whether to end. The
  // child runs before `spawn` returns, so the handlers are installed first.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => child?.kill(signal));
  }
  const started = place.spawn(command, args, { stdio: 'inherit' });
  child = started;
  process.exitCode = await new Promise<number>((resolve, reject) => {
    started.on('error', (error: NodeJS.ErrnoException) => {
      const cause = error.code === 'ENOENT' ? 'no such command' : error.message;
      reject(new Failure(exitCodes.failed, `run ${command} in ${placeName}: ${cause}`));
    });
    started.on('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
  });
}

async function open(name: string): Promise<Lab> {
  const { openLab } = await import('@heddle/lab');
  const lab = openLab(await platform(), name);
  if (!lab) throw await noLab(name);
  return lab;
}

async function noLab(name: string): Promise<Failure> {
  const { listLabs } = await import('@heddle/lab');
  const names = listLabs().map((lab) => lab.name);
  return new Failure(
    exitCodes.failed,
    names.length === 0
      ? `find lab ${name}: there is no lab (make one with heddle lab up)`
      : `find lab ${name}: there ${names.length === 1 ? 'is only' : 'are only'} ${names.join(', ')} (choose one with --name)`,
  );
}

async function platform() {
  const { preflight } = await import('@heddle/control/preflight');
  const missing = preflight();
  if (missing) throw new Failure(missing.exitCode, missing.message);
  const { nodePlatform } = await import('@heddle/sys/node');
  return nodePlatform();
}

function print(lab: Lab, output: OutputFormat): void {
  if (output === 'json') {
    const place = ({ name, addresses, netnsPath, cgroup }: LabHost) => ({
      name,
      addresses,
      netns: netnsPath,
      cgroup,
    });
    const nodes = lab.nodes.map((node) => ({
      ...place(node),
      bpffs: node.bpffs,
      pods: node.pods.map(place),
    }));
    printJson({ name: lab.name, nodes });
    return;
  }
  const rows = lab.nodes.flatMap((node) => [
    [node.name, 'node', node.addresses.v4, node.addresses.v6, node.cgroup],
    ...node.pods.map((pod) => [pod.name, 'pod', pod.addresses.v4, pod.addresses.v6, pod.cgroup]),
  ]);
  process.stdout.write(formatTable(['NAME', 'KIND', 'IPV4', 'IPV6', 'CGROUP'], rows));
}
