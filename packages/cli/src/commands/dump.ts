import { preflight } from '@heddle/agent/preflight';
import { LinuxBpf } from '@heddle/ebpf';
import { nodePlatform } from '@heddle/sys/node';
import { objects, version } from '../assets.ts';
import { ControlClient } from '../client.ts';
import { collect } from '../dump/collect.ts';
import { type Dump, entryCount } from '../dump/dump.ts';
import { readDump, writeDump } from '../dump/file.ts';
import { exitCodes, Failure } from '../failure.ts';
import { type OutputFormat, printJson, printLine } from '../print.ts';

interface Options {
  readonly socket: string;
  readonly bpffs: string;
  readonly output: OutputFormat;
}

/** `heddle dump`: all that a support case needs, in one file. */
export async function dump(path: string, { output, ...places }: Options): Promise<void> {
  const made = await nodeDump(places, (map, entries) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[Kreading ${map}: ${entries}`);
  });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  await writeDump(path, made);
  const maps = [...made.maps.values()].flatMap((map) =>
    map.pin === undefined ? [] : [{ name: map.pin, entries: entryCount(map), cut: map.cut }],
  );
  const agent = !('missing' in made.answers);
  if (output === 'json') {
    printJson({ file: path, created: made.head.created, agent, links: made.links.length, maps });
    return;
  }
  const entries = maps.reduce((sum, map) => sum + map.entries, 0);
  printLine(
    `wrote ${path}: ${maps.length} maps with ${entries} entries, ${made.links.length} links, ${made.namespaces.length} network namespaces`,
  );
  if ('missing' in made.answers) printLine(`without the agent: ${made.answers.missing}`);
  for (const { name, cut } of maps)
    if (cut) printLine(`map ${name} is not whole: it has more entries than a dump takes`);
}

/** A dump of this node, or the one in a file. */
export async function openDump(
  options: Pick<Options, 'socket' | 'bpffs'> & { readonly fromDump?: string },
): Promise<Dump> {
  return options.fromDump === undefined
    ? await nodeDump(options)
    : await readDump(options.fromDump);
}

async function nodeDump(
  { socket, bpffs }: Pick<Options, 'socket' | 'bpffs'>,
  onProgress?: (map: string, entries: number) => void,
): Promise<Dump> {
  const platform = nodePlatform();
  const missing = preflight(platform);
  if (missing !== undefined) throw new Failure(exitCodes.notPermitted, missing);
  const agent = await connect(socket);
  try {
    const bpf = new LinuxBpf(platform);
    return await collect({
      ...{ platform, bpf, bpffs, agent, objects },
      version: version(),
      ...(onProgress ? { onProgress } : {}),
    });
  } finally {
    if (!('missing' in agent)) agent[Symbol.dispose]();
  }
}

/** The agent, or why it doesn't answer: what is in the kernel is of use without it, too. */
async function connect(socket: string): Promise<ControlClient | { readonly missing: string }> {
  try {
    return await ControlClient.connect(socket);
  } catch (error) {
    if (error instanceof Failure && error.exitCode === exitCodes.unreachable) {
      return { missing: error.message };
    }
    throw error;
  }
}
