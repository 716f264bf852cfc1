import { targets } from '../catalog.ts';
import { median, spread } from '../statistics.ts';
import { quietCpu, type Variant, type World } from '../world.ts';
import { type Case, type Row, type Verdict, verdict } from './case.ts';

const name = 'wrk';
const connections = 2_000;

interface Sample {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly errors: number;
  /** Processor time of client and server together; other work on the machine hardly changes it. */
  readonly cpuUsPerRequest: number;
}

/** Many clients at once, a new connection for each request. */
export const wrk: Case = {
  name,
  about: `wrk with ${connections} connections and Connection: close, requests/s, ratio to the direct path`,
  commands: ['wrk', 'iptables-legacy-restore', 'nft'],
  sizes: (quick) => (quick ? [5_000] : [10, 5_000]),
  async measure(world, size, quick) {
    const installed = await world.install(size);
    const variants = installed.variants.filter(({ aim }) => aim.kind !== 'any service');
    const rounds = quick ? 2 : 9;
    const seconds = quick ? 1 : 2;
    const samples: Sample[][] = variants.map(() => []);
    let lost = 0;
    for (let round = 0; round < rounds + lost; round++) {
      const all: Sample[] = [];
      for (const variant of variants) all.push(await sample(world, variant, seconds));
      if (all.every(({ requests }) => requests > 0)) {
        for (const [v, each] of all.entries()) samples[v]!.push(each);
      } else if (++lost > rounds) {
        throw new Error(
          'in most rounds no request got through within seconds: the machine is too busy',
        );
      }
    }
    const rows = variants.map((variant, v) => rowOf(size, variant, samples[v]!, samples[0]!));
    const notes = [
      `${name} at ${size}: ${lost} rounds in which no request got through don't count`,
    ];
    return { rows, verdicts: verdicts(size, rows), notes: lost > 0 ? notes : [] };
  },
};

async function sample(world: World, variant: Variant, seconds: number): Promise<Sample> {
  const server = quietCpu(world.platform);
  await world.serve(server);
  const [{ address, port }] = targets(variant.aim, variant.site) as [
    { address: string; port: number },
  ];
  const before = world.cpuUs();
  const output = await world.run(variant, server === 0 ? 0 : server - 1, 'wrk', [
    ...['-t', '1', '-c', `${connections}`, '-d', `${seconds}s`, '--latency', '--timeout', '5s'],
    ...['-H', 'Connection: close', `http://${address}:${port}/`],
  ]);
  const measured = parse(output);
  return { ...measured, cpuUsPerRequest: (world.cpuUs() - before) / measured.requests };
}

/** Reads what wrk prints for people. */
function parse(output: string): Omit<Sample, 'cpuUsPerRequest'> {
  const field = (pattern: RegExp) => {
    const found = pattern.exec(output)?.[1];
    if (found === undefined) throw new Error(`read wrk's output: no ${pattern} in ${output}`);
    return found;
  };
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(
    output,
  );
  return {
    requests: Number(field(/(\d+) requests in /)),
    requestsPerSecond: Number(field(/Requests\/sec:\s+([\d.]+)/)),
    p50Us: microseconds(field(/\s50%\s+(\S+)/)),
    p99Us: microseconds(field(/\s99%\s+(\S+)/)),
    errors: errors ? errors.slice(1).reduce((sum, count) => sum + Number(count), 0) : 0,
  };
}

function microseconds(text: string): number {
  const [, number, unit] = /^([\d.]+)(us|ms|s|m)$/.exec(text)!;
  const factors: Readonly<Record<string, number>> = { us: 1, ms: 1e3, s: 1e6, m: 6e7 };
  return Number(number) * factors[unit!]!;
}

function rowOf(size: number, { name: variant }: Variant, samples: Sample[], base: Sample[]): Row {
  const ratios = samples.map((each, i) => each.requestsPerSecond / base[i]!.requestsPerSecond);
  return {
    ...{ case: name, size, variant },
    p50Us: median(samples.map(({ p50Us }) => p50Us)),
    ratioToDirect: median(ratios),
    spread: spread(ratios),
    requestsPerSecond: median(samples.map(({ requestsPerSecond }) => requestsPerSecond)),
    p99Us: median(samples.map(({ p99Us }) => p99Us)),
    cpuUsPerRequest: median(samples.map(({ cpuUsPerRequest }) => cpuUsPerRequest)),
    cpuRatioToDirect: median(
      samples.map(({ cpuUsPerRequest }, i) => cpuUsPerRequest / base[i]!.cpuUsPerRequest),
    ),
    p99RatioToDirect: median(samples.map(({ p99Us }, i) => p99Us / base[i]!.p99Us)),
    errors: samples.reduce((sum, { errors }) => sum + errors, 0),
    rounds: samples.length,
  };
}

function verdicts(size: number, rows: readonly Row[]): Verdict[] {
  const find = (variant: string) => rows.find((row) => row.variant === variant)!;
  const own = find('heddle service');
  const rate = own.ratioToDirect!;
  const tail = own.p99RatioToDirect as number;
  const peers = ['iptables', 'nftables'].flatMap((peer) => {
    const theirs = find(`${peer} service`).ratioToDirect!;
    return {
      ...{ case: name, size, what: `ahead of ${peer} (requests/s)` },
      ...{ target: `> ${theirs.toFixed(3)}`, measured: rate.toFixed(3), met: rate > theirs },
    };
  });
  return [
    verdict(
      { case: name, size, what: 'requests/s, service / direct' },
      rate,
      { atLeast: 0.97 },
      '',
      3,
    ),
    // The same 3 % for a time, where less is better.
    verdict({ case: name, size, what: 'p99, service / direct' }, tail, { atMost: 1 / 0.97 }, '', 3),
    verdict(
      { case: name, size, what: 'processor time per request, direct / service' },
      1 / (own.cpuRatioToDirect as number),
      { atLeast: 0.97 },
      '',
      3,
    ),
    ...peers,
  ];
}
