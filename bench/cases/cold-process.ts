// Measures an agent's start, up to the last programmed service, in a fresh process: no code is compiled
// yet, no map exists. `node cold-process.ts COUNT CGROUP BPFFS`, on a node; answers with ColdStart.
import { readFileSync } from 'node:fs';
import { defaultNat, openDatapath } from '@heddle/datapath';
import { LinuxBpf } from '@heddle/ebpf';
import { netnsCookie } from '@heddle/netlink';
import { type ObjectChange, readObject, type ServiceInput } from '@heddle/objects';
import { ServiceModel, type ServiceRow } from '@heddle/services';
import { type Operations, Reconciler, Table } from '@heddle/state';
import { nodePlatform } from '@heddle/sys/node';
import { keepProcessSmall } from '@heddle/sys/node/memory';
import { manifests, services } from '../catalog.ts';
import { nodeAddress } from '../sites.ts';

export interface ColdStart {
  /** From the first write to the maps until the last service is programmed. */
  readonly writeMs: number;
  /** Processor time during that time, of all threads: the most that a quiet machine would take. */
  readonly writeCpuMs: number;
  /** The time to load the programs, make the maps and attach the programs. */
  readonly openMs: number;
  /** The time to compute the rows from the objects. */
  readonly modelMs: number;
}

// The agent does the same at its start.
keepProcessSmall();
const [count, cgroup, bpffs] = process.argv.slice(2);
const platform = nodePlatform();
const objects = new URL('../objects/', import.meta.resolve('@heddle/datapath'));

const opened = performance.now();
const datapath = openDatapath({
  ...{ platform, bpf: new LinuxBpf(platform), cgroup: cgroup!, bpffs: bpffs! },
  objects: (name) => readFileSync(new URL(`${name}.o`, objects)),
  sizes: { services: 131072, backends: 131072, slots: 524288, affinity: 65536, flows: 65536 },
  netnsCookie: netnsCookie(platform),
  nat: defaultNat,
  options: { terminateTcp: false },
});
const openMs = performance.now() - opened;

const changes: ObjectChange<ServiceInput>[] = [];
for (const service of services(Number(count))) {
  for (const manifest of manifests(service)) {
    const read = readObject(manifest);
    if (!('record' in read)) throw new Error(`read ${service.name}: not served`);
    changes.push({ op: 'set', object: read.record });
  }
}
const modelled = performance.now();
const model = new ServiceModel({ nodeName: 'node1', ownAddresses: [nodeAddress] });
const rows = model.apply(changes);
const modelMs = performance.now() - modelled;

let left = Number(count);
let firstWrite: number | undefined;
let cpuBefore = process.cpuUsage();
const timed: Operations<ServiceRow> = {
  update(batch) {
    if (firstWrite === undefined) {
      cpuBefore = process.cpuUsage();
      firstWrite = performance.now();
    }
    return datapath.services.update(batch);
  },
  remove: (keys) => datapath.services.remove(keys),
  prune: (desired) => datapath.services.prune(desired),
};
const table = new Table<ServiceRow>();
const reconciler = new Reconciler(table, timed, platform, {
  onStatus(key, status) {
    if (status?.state === 'failed') throw new Error(`write ${key}: ${status.reason}`);
    if (status?.state === 'done') left--;
    if (left > 0) return;
    const writeMs = performance.now() - firstWrite!;
    const { user, system } = process.cpuUsage(cpuBefore);
    const writeCpuMs = (user + system) / 1000;
    process.send!({ writeMs, writeCpuMs, openMs, modelMs } satisfies ColdStart, () =>
      process.exit(0),
    );
  },
});
table.apply(rows);
reconciler.sync();
