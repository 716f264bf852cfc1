import type { AgentStatus, DropEntry } from '@heddle/agent';
import { ControlClient, type ControlSource } from '@heddle/control';
import { openControl } from '@heddle/inspect/open';
import { formatTable, printJson, printLine, styled } from '../print.ts';
import type { ReadOptions } from '../read-options.ts';
import { type CountedRule, countedRules, policies } from './policy/list.ts';
import { DenialReasons, followInOrder, ruleText } from './policy/reasons.ts';
import { endpoint } from './service.ts';

/** `heddle drop list`: counts dropped packets and refused connections by reason, and denied ones by rule. */
export async function dropList({ output, ...source }: ReadOptions): Promise<void> {
  using client = await openControl(source);
  const { drops, refusals } = (await client.request('status')) as AgentStatus;
  const denied = await denyingRules(client);
  if (output === 'json') {
    const rules = denied.map(({ numbers: _, ...rule }) => rule);
    printJson({ drops, refusals, denied: rules });
    return;
  }
  const lines = [
    ...drops.map(({ reason, count }) => ['packet', reason, count] as const),
    ...refusals.map(({ reason, count }) => ['socket', reason, count] as const),
  ].filter(([, , count]) => count > 0);
  if (lines.length === 0) {
    printLine('nothing was dropped or refused');
    return;
  }
  lines.sort(([, , a], [, , b]) => b - a);
  process.stdout.write(
    formatTable(
      ['AT', 'REASON', 'COUNT'],
      lines.map(([at, reason, count]) => [at, reason, count.toLocaleString('en')]),
    ),
  );
  if (denied.length === 0) return;
  printLine('');
  process.stdout.write(
    formatTable(
      ['DENIED BY', 'CONNECTIONS'],
      denied.map((rule) => [ruleText(rule.direction, rule), rule.connections.toLocaleString('en')]),
    ),
  );
}

/** Returns the rules that have denied connections, those with the most first. */
async function denyingRules(control: ControlSource): Promise<CountedRule[]> {
  const audited = new Set<string>();
  for (const each of await policies(control)) if (each.audited) audited.add(each.policy);
  return (await countedRules(control))
    .filter(({ action, connections }) => action === 'deny' && connections > 0)
    .filter(({ policy }) => !audited.has(policy))
    .sort((a, b) => b.connections - a.connections);
}

/** `heddle drop watch`: prints a line for each dropped packet; as JSON, one object in each line. */
export async function dropWatch({
  socket,
  output,
}: Pick<ReadOptions, 'socket' | 'output'>): Promise<void> {
  using client = await ControlClient.connect(socket);
  using asking = await ControlClient.connect(socket);
  const reasons = new DenialReasons(asking);
  await followInOrder<DropEntry>(client, 'drops.follow', async (drop) => {
    const { policy } = drop;
    const isByDefault = policy !== undefined && policy.rule === undefined;
    const why = isByDefault ? await reasons.of({ ...drop, direction: policy.direction }) : [];
    if (output === 'json') printLine(JSON.stringify({ ...drop, ...(why.length > 0 && { why }) }));
    else printDrop(drop, why);
  });
}

function printDrop(drop: DropEntry, why: readonly string[]): void {
  const { policy, deniedBy, protocol, reason } = drop;
  const from = endpoint({ address: drop.source, port: drop.sourcePort });
  const to = endpoint({ address: drop.destination, port: drop.destinationPort });
  const by = policy && deniedBy ? `: ${ruleText(policy.direction, deniedBy)}` : '';
  const at = drop.pod === undefined ? '' : `  at pod ${drop.pod}`;
  printLine(`${protocol}  ${from} > ${to}  ${drop.length} bytes  ${reason}${by}${at}`);
  for (const sentence of why) printLine(`     ${styled('dim', sentence)}`);
}
