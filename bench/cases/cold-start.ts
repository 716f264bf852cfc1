import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createLab, type Lab } from '@heddle/lab';
import { backendAddresses } from '../catalog.ts';
import { median, spread } from '../statistics.ts';
import { AgentProcess, sizeFlags, writeManifests } from '../variants/agent-process.ts';
import { answer } from '../world.ts';
import { type Case, type Row, verdict } from './case.ts';
import type { ColdStart } from './cold-process.ts';

const name = 'cold-start';
const script = fileURLToPath(new URL('./cold-process.ts', import.meta.url));
/** Milliseconds by number of services. */
const targets: Readonly<Record<number, number>> = { 5000: 50, 50000: 1_000 };

/** Measures the time from an empty datapath to all programmed services. Each run has a fresh node and process. */
export const coldStart: Case = {
  name,
  about: 'from the first map write to all services (of two endpoints each) programmed',
  commands: [],
  sizes: (quick) => (quick ? [5_000] : [5_000, 50_000]),
  async measure(world, size, quick) {
    const repetitions = quick ? 3 : size > 10_000 ? 5 : 9;
    const manifests = world.folder(`${name}-${size}`);
    writeManifests(`${manifests}/all`, size, 'east-west');
    const writes: ColdStart[] = [];
    const agents: number[] = [];
    for (let i = 0; i < repetitions; i++) {
      using lab = createLab(world.platform, { name: 'bench-cold' });
      writes.push(await writeAll(lab, size));
    }
    for (let i = 0; i < (quick ? 1 : 3); i++) {
      using lab = createLab(world.platform, { name: 'bench-cold' });
      const folder = `${manifests}/agent-${i}`;
      mkdirSync(folder);
      const agent = new AgentProcess(lab.nodes[0]!, folder, {
        manifests: `${manifests}/all`,
        ...sizeFlags(size, backendAddresses.length),
      });
      await agent.programmed(size);
      agents.push(agent.programmedAfterMs());
      await agent.stop();
    }
    const writeMs = writes.map((each) => each.writeMs);
    const rows: Row[] = [
      {
        ...row(size, 'heddle, first map write to all programmed', writeMs),
        writeCpuMs: median(writes.map(({ writeCpuMs }) => writeCpuMs)),
        openMs: median(writes.map(({ openMs }) => openMs)),
        modelMs: median(writes.map(({ modelMs }) => modelMs)),
      },
      row(size, 'heddle agent, start of the process to all programmed', agents),
    ];
    const what = { case: name, size, what: 'first map write to all programmed' };
    const atMost = targets[size]!;
    return { rows, verdicts: [verdict(what, median(writeMs), { atMost }, ' ms', 0)], notes: [] };
  },
};

async function writeAll(lab: Lab, count: number): Promise<ColdStart> {
  const node = lab.nodes[0]!;
  const child = node.spawn(process.execPath, [script, `${count}`, node.cgroup, node.bpffs], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  return (await answer(child)) as ColdStart;
}

function row(size: number, variant: string, milliseconds: readonly number[]): Row {
  return {
    ...{ case: name, size, variant },
    p50Us: median(milliseconds) * 1000,
    ratioToDirect: null,
    spread: spread(milliseconds) * 1000,
    repetitions: milliseconds.length,
  };
}
