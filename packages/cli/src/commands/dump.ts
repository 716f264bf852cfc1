import { exitCodes, Failure } from '@heddle/control/failure';
import { entryCount, type NodePaths, nodeDump, pipeDump, writeDump } from '@heddle/inspect';
import { type OutputFormat, printJson, printLine } from '../print.ts';

interface Options extends NodePaths {
  readonly output: OutputFormat;
}

/** `heddle dump`: writes everything that a support case needs to one file, or with `-` to standard output. */
export async function dump(path: string, { output, ...places }: Options): Promise<void> {
  const isPiped = path === '-';
  if (isPiped && process.stdout.isTTY) {
    throw new Failure(
      exitCodes.usage,
      'dump to standard output: it is a terminal, and a dump is compressed (redirect it: heddle dump - > node1.dump)',
    );
  }
  // The summary must not mix with a dump on standard output.
  const print = isPiped ? (line: string) => process.stderr.write(`${line}\n`) : printLine;
  const made = await nodeDump(places, true, (map, entries) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[Kreading ${map}: ${entries}`);
  });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  if (isPiped) await pipeDump(process.stdout, made);
  else await writeDump(path, made);
  const maps = [...made.maps.values()].flatMap((map) =>
    map.pin === undefined ? [] : [{ name: map.pin, entries: entryCount(map), cut: map.cut }],
  );
  const agent = !('missing' in made.answers);
  if (output === 'json') {
    const facts = { file: path, created: made.head.created, agent, links: made.links.length, maps };
    if (isPiped) print(JSON.stringify(facts));
    else printJson(facts);
    return;
  }
  const entries = maps.reduce((sum, map) => sum + map.entries, 0);
  print(
    `wrote ${isPiped ? 'to standard output' : path}: ${maps.length} maps with ${entries} entries, ${made.links.length} links, ${made.namespaces.length} network namespaces`,
  );
  if ('missing' in made.answers) print(`without the agent: ${made.answers.missing}`);
  for (const { name, cut } of maps)
    if (cut) print(`map ${name} is incomplete: it has more entries than a dump takes`);
}
