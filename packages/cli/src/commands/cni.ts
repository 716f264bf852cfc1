import type { AttachmentEntry, CheckedAttachment, RemovedAttachment } from '@heddle/agent';
import { exitCodes } from '@heddle/control/failure';
import { openControl } from '@heddle/inspect/open';
import { age, type Cell, formatTable, printJson, printLine } from '../print.ts';
import type { ReadOptions } from '../read-options.ts';

/** Returns the name by which people know a pod, or that of its container. */
const podName = ({ namespace, name, containerId }: AttachmentEntry) =>
  name === '' ? containerId.slice(0, 13) : `${namespace}/${name}`;

/** Returns all items of a control method. */
async function itemsOf<Item>(
  source: Omit<ReadOptions, 'output'>,
  method: string,
  params = {},
): Promise<Item[]> {
  using client = await openControl(source);
  const items: Item[] = [];
  for await (const item of client.items<Item>(method, params)) items.push(item);
  return items;
}

/** `heddle cni list`: prints a line for each pod interface. */
export async function cniList({ output, ...source }: ReadOptions): Promise<void> {
  const attachments = await itemsOf<AttachmentEntry>(source, 'attachment.list');
  if (output === 'json') {
    printJson({ attachments });
    return;
  }
  if (attachments.length === 0) {
    printLine('no pod interfaces');
    return;
  }
  const header = ['POD', 'ADDRESSES', 'INTERFACE', 'IN POD', 'KIND', 'MTU', 'CONTAINER', 'AGE'];
  const rows = attachments.map((each) => [
    podName(each),
    each.addresses.join(','),
    each.interface,
    each.podInterface,
    each.kind,
    `${each.mtu}`,
    each.containerId.slice(0, 13),
    each.since === undefined ? '-' : age(each.since),
  ]);
  process.stdout.write(formatTable(header, rows));
}

/** `heddle cni check`: prints what differs at each pod interface. Something that differs is a failure. */
export async function cniCheck({ output, ...source }: ReadOptions): Promise<void> {
  const attachments = await itemsOf<CheckedAttachment>(source, 'attachment.check');
  if (attachments.some(({ problems }) => problems.length > 0)) process.exitCode = exitCodes.failed;
  if (output === 'json') {
    printJson({ attachments });
    return;
  }
  if (attachments.length === 0) {
    printLine('no pod interfaces');
    return;
  }
  const rows = attachments.map((each): Cell[] => [
    podName(each),
    each.interface,
    each.problems.length === 0
      ? { style: 'green', text: 'ok' }
      : { style: 'red', text: each.problems.join('; ') },
  ]);
  process.stdout.write(formatTable(['POD', 'INTERFACE', 'STATE'], rows));
}

/** `heddle cni gc`: removes the interfaces of pods that are gone, and prints them. */
export async function cniGc({
  output,
  dryRun = false,
  ...source
}: ReadOptions & { readonly dryRun?: boolean }): Promise<void> {
  const removed = await itemsOf<RemovedAttachment>(source, 'attachment.gc', { dryRun });
  if (output === 'json') {
    printJson({ removed, dryRun });
    return;
  }
  for (const each of removed) {
    const done = dryRun ? 'would remove' : 'removed';
    printLine(`${done} ${each.interface} of ${podName(each)}: ${each.reason}`);
  }
  if (removed.length === 0) printLine('nothing to remove');
}
