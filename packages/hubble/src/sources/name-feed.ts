import type { AttachmentEntry, NameChanges, NameEntry, RemovedName } from '@heddle/agent';
import type { ControlSource } from '@heddle/control';
import type { NameBatch } from './agent-names.ts';

/** Reads names from an agent: everything at first, and then what has changed. */
export class NameFeed {
  /** The revision of the last answer of the agent. */
  #revision = '';

  /**
   * Returns what has changed since the last call; undefined while the agent has not read the objects itself. Throws
   * Failure.
   */
  async read(agent: ControlSource): Promise<NameBatch | undefined> {
    let since = this.#revision;
    let isFull = false;
    let items: (NameEntry | RemovedName)[] = [];
    for (;;) {
      const answer = (await agent.request('name.list', { since })) as NameChanges;
      if (!answer.isComplete) return undefined;
      if (answer.isFull) {
        isFull = true;
        items = [];
      }
      items.push(...answer.items);
      since = answer.revision;
      if (answer.hasMore) continue;
      this.#revision = since;
      return { isFull, items };
    }
  }
}

/** Returns the names of the interfaces of this node's pods by their indexes. Throws Failure. */
export async function readInterfaces(agent: ControlSource): Promise<Map<number, string>> {
  const interfaces = new Map<number, string>();
  for await (const each of agent.items<AttachmentEntry>('attachment.list')) {
    interfaces.set(each.ifindex, each.interface);
  }
  return interfaces;
}
