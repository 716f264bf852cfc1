import { ctEntrySize, ctFactsSize, ctState, encodeCtEntry } from '@heddle/datapath/abi';
import { FlowRing } from '@heddle/hubble';
import { AgentNames, ConnectionSweep, passRecords } from '@heddle/hubble/sweep';
import { parseIp } from '@heddle/sys';
import { median, spread } from '../statistics.ts';
import { type Case, verdict } from './case.ts';
import { measureLatency } from './latency.ts';

// The costs of flow visibility: for connections of pods, and for the observer.

const site = 'pods-flows';

/** Compares the time of a variant with visibility and that of the same one without. */
function visibilityCase(
  name: string,
  about: string,
  kind: 'connect' | 'exchange',
  atMost: number,
  paths: readonly string[],
): Case {
  return {
    ...{ name, about, site, commands: [] },
    sizes: () => [10],
    async measure(world, size, quick) {
      const { variants } = await world.install(size);
      const wanted = variants.filter(({ aim }) => aim.kind !== 'any service');
      const rows = await measureLatency(world, wanted, {
        ...{ kind, case: name, size, rounds: quick ? 10 : 40 },
        ...{ blocks: 16, blockSize: kind === 'connect' ? 24 : 44 },
      });
      const ratio = (variant: string) =>
        rows.find((row) => row.variant === variant)!.ratioToDirect!;
      return {
        rows,
        verdicts: paths.map((path) =>
          verdict(
            { case: name, size, what: `${path}: with visibility / without` },
            ratio(`heddle visibility ${path}`) / ratio(`heddle ${path}`),
            { atMost },
            '',
            3,
          ),
        ),
        notes: [],
      };
    },
  };
}

const tableSize = 524_288;
const newFlows = 100_000;

/** A conntrack table in memory that is full, of which a sweep finds 100,000 entries new. */
class SweptTable {
  readonly flows = new Uint8Array(tableSize * ctEntrySize);
  readonly facts = new Uint8Array(tableSize * ctFactsSize).fill(1);
  readonly highWater = tableSize - 1;
  #next = 0;

  constructor() {
    for (let i = 0; i < tableSize / newFlows; i++) this.renew();
  }

  /** Gives as many entries as a second has new connections to others. */
  renew(): void {
    const backend = parseIp('10.244.1.9')!;
    const client = parseIp('10.244.2.0')!.slice();
    for (let i = 0; i < newFlows; i++) {
      const number = 1 + (this.#next++ % this.highWater);
      client[15] = i % 250;
      client[14] = i % 4;
      const clientPort = this.#next & 0xffff;
      encodeCtEntry(
        {
          ...{ client, frontend: backend, backend, clientPort, sourcePort: clientPort },
          ...{ frontendPort: 8080, backendPort: 8080, backendId: 0 },
          stateWord: (ctState.tcpEstablished << 16) | (1 + (this.#next >>> 16)),
        },
        this.flows,
        number * ctEntrySize,
      );
      // The service that the socket has asked for is unknown.
      this.facts.fill(0, number * ctFactsSize + 40, (number + 1) * ctFactsSize);
    }
  }
}

const sweepCase: Case = {
  name: 'visibility-sweep',
  about: 'CPU of the observer for 100,000 new connections a second in a full table',
  commands: [],
  sizes: () => [newFlows],
  async measure(_world, size, quick) {
    const table = new SweptTable();
    const sweep = new ConnectionSweep(tableSize);
    const names = new AgentNames('default', 'node');
    const ring = new FlowRing();
    const observe = (second: number) =>
      sweep.sweep(table, second, Number.MAX_SAFE_INTEGER, (change) =>
        passRecords(change, names, second * 1000, undefined, undefined, (record) =>
          ring.append(record),
        ),
      );
    const cpuMs: number[] = [];
    const idleMs: number[] = [];
    let lost = 0;
    const timed = (second: number): number => {
      const before = process.cpuUsage();
      lost += observe(second);
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000;
    };
    for (let round = -3; round < (quick ? 10 : 40); round++) {
      table.renew();
      const [busy, idle] = [timed(100 + 2 * round), timed(101 + 2 * round)];
      if (round < 0) continue;
      cpuMs.push(busy);
      idleMs.push(idle);
    }
    const what = { case: this.name, size };
    return {
      rows: [
        {
          ...{ case: this.name, size, variant: 'observer' },
          ...{ p50Us: (median(cpuMs) * 1000) / newFlows, ratioToDirect: null },
          ...{ spread: spread(cpuMs), cpuMs: median(cpuMs), idleMs: median(idleMs), lost },
        },
      ],
      verdicts: [
        verdict({ ...what, what: 'CPU of a core' }, median(cpuMs) / 10, { atMost: 15 }, ' %', 1),
        verdict({ ...what, what: 'lost' }, lost, { atMost: 0 }, '', 0),
      ],
      notes: [],
    };
  },
};

/** Connections of pods with the setting `visibility`, beside the same without; and the observer's sweep. */
export const visibilityCases: readonly Case[] = [
  visibilityCase(
    'visibility',
    'connect + request + close between pods of a node, with visibility beside without',
    'connect',
    1.02,
    ['direct', 'service'],
  ),
  visibilityCase(
    'visibility-exchange',
    'request + response on an open connection between pods, with visibility beside without',
    'exchange',
    1.01,
    ['direct'],
  ),
  sweepCase,
];
