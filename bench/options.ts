import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { Case } from './cases/case.ts';
import { change } from './cases/change.ts';
import { clusterChange } from './cases/cluster-change.ts';
import { clusterChurn } from './cases/cluster-churn.ts';
import { clusterIdle } from './cases/cluster-idle.ts';
import { clusterScale } from './cases/cluster-scale.ts';
import { clusterStart } from './cases/cluster-start.ts';
import { coldStart } from './cases/cold-start.ts';
import { connect, outsideConnect } from './cases/connect.ts';
import { exchange, outsideExchange } from './cases/exchange.ts';
import { floods } from './cases/floods.ts';
import { machine } from './cases/machine.ts';
import { memory } from './cases/memory.ts';
import { packets } from './cases/packets.ts';
import { podsCases } from './cases/pods.ts';
import { policyCases } from './cases/policy.ts';
import { policyChange } from './cases/policy-change.ts';
import { ports } from './cases/ports.ts';
import { visibilityCases } from './cases/visibility.ts';
import { wrk } from './cases/wrk.ts';

/** In the order in which they are reported. */
export const allCases: readonly Case[] = [
  ...[connect, exchange, wrk, coldStart, change, memory],
  ...podsCases,
  ...[...policyCases, policyChange],
  ...visibilityCases,
  ...[outsideConnect, outsideExchange, packets, ports, floods],
  ...[clusterStart, clusterScale, clusterChange, clusterChurn, clusterIdle, machine],
];

export interface Options {
  readonly quick: boolean;
  readonly publish: boolean;
  /** The built program of another commit, which is measured beside this one. */
  readonly beside: string | undefined;
  readonly cases: readonly Case[];
}

/** An error in the arguments; the message names the remedy. */
export class UsageError extends Error {}

export const usage = `npm run bench -- [--quick] [--case NAME]... [--beside FILE] [--publish]

  --quick        fewer sizes and rounds: about 4 minutes instead of 50
  --case NAME    only this case; several may be given
  --beside FILE  measure dist/heddle.mjs of another commit beside this one, as the variant "other"
                 (connect, exchange, outside-connect, outside-exchange, packets, wrk)
  --publish      also write the chart to docs/bench.svg

Cases:
${allCases.map(({ name, about }) => `  ${name.padEnd(19)} ${about}`).join('\n')}

Example: npm run bench -- --quick --case connect`;

/** Throws UsageError. */
export function readOptions(args: readonly string[]): Options | 'help' {
  const { values } = parse(args);
  if (values.help) return 'help';
  const chosen = values.case ?? [];
  for (const name of chosen) {
    if (!allCases.some((each) => each.name === name)) {
      const names = allCases.map((each) => each.name).join(', ');
      throw new UsageError(`choose case ${name}: there are only ${names}`);
    }
  }
  const { beside } = values;
  if (beside !== undefined && !existsSync(beside)) {
    throw new UsageError(
      `measure ${beside} beside this build: there is no such file; run npm run build in a checkout of the other commit`,
    );
  }
  return {
    beside: beside === undefined ? undefined : resolve(beside),
    quick: values.quick,
    publish: values.publish,
    cases: chosen.length === 0 ? allCases : allCases.filter(({ name }) => chosen.includes(name)),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        quick: { type: 'boolean', default: false },
        publish: { type: 'boolean', default: false },
        beside: { type: 'string' },
        case: { type: 'string', multiple: true },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
